/**
 * Upstream's options as the TOML Narthex reads: the same nesting, camelCase turned to kebab-case. Names that an
 * operator chooses (fields) keep their spelling.
 */
import type { Json, Options } from "./types.ts";

export function kebab(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1-$2")
    .toLowerCase();
}

const RENAMED: { [option: string]: string } = { fieldName: "column", defaultValue: "default" };

/** Tables whose keys are names of fields, not of options. */
const NAMES = new Set(["fields", "additionalFields"]);

/** A key that TOML takes without quotes is written without them. */
const bare = (key: string) => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key));

const isTable = (value: Json): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `names` says whether the keys of tables are words of somebody's own, or else options. */
function literal(value: Json, names = true): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (isTable(value)) {
    const entries = Object.entries(value).filter(([, item]) => item !== null);
    return `{ ${entries.map(([key, item]) => `${names ? bare(key) : spelling(key)} = ${literal(item, names)}`).join(", ")} }`;
  }
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, names)).join(", ")}]`;
  throw new Error(`no TOML for ${JSON.stringify(value)}`);
}

/** A name that an operator chooses, such as a path, keeps its spelling. */
function spelling(name: string): string {
  return RENAMED[name] ?? (/^[A-Za-z0-9]+$/.test(name) ? kebab(name) : JSON.stringify(name));
}

function table(path: string[], value: { [key: string]: Json }, isOfNames = false): string[] {
  const entries = Object.entries(value).filter(([, item]) => item !== null);
  const spelled = (key: string) => (isOfNames ? bare(key) : spelling(key));
  // What a field is when nobody says is a value, also where it is an object.
  const isSection = ([key, item]: [string, Json]) => isTable(item) && key !== "defaultValue";
  const own = entries.filter((entry) => !isSection(entry));
  const lines: string[] = [];
  // A plugin is there because its section is, which may say nothing.
  const isPlugin = path.length === 2 && path[0] === "plugins";
  if (path.length > 0 && (own.length > 0 || isPlugin)) lines.push("", `[${path.join(".")}]`);
  const isOfOptions = ([key, item]: [string, Json]) => Array.isArray(item) && item.every(isTable) && key !== "defaultValue";
  for (const entry of own) lines.push(`${spelled(entry[0])} = ${literal(entry[1], !isOfOptions(entry))}`);
  for (const [key, item] of entries.filter(isSection)) {
    lines.push(...table([...path, spelled(key)], item as { [key: string]: Json }, !isOfNames && NAMES.has(key)));
  }
  return lines;
}

/** `extra` is merged over the translated options, in TOML's own spelling (`{ listen: "…" }`). */
export function toToml(options: Options, extra: Options = {}): string {
  const merged: Options = { ...options };
  for (const [key, value] of Object.entries(extra)) {
    const there = merged[key];
    merged[key] = there !== undefined && isTable(there) && isTable(value) ? { ...there, ...value } : value;
  }
  return `${table([], merged).join("\n").trim()}\n`;
}
