/** Upstream's options as the TOML Narthex reads: the same nesting, camelCase turned to kebab-case. */
import type { Json, Options } from "./types.ts";

export function kebab(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1-$2")
    .toLowerCase();
}

const isTable = (value: Json): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function literal(value: Json): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (isTable(value)) return `{ ${Object.entries(value).map(([key, item]) => `${kebab(key)} = ${literal(item)}`).join(", ")} }`;
  throw new Error(`no TOML for ${JSON.stringify(value)}`);
}

/** A name that an operator chooses, such as a path, keeps its spelling. */
function key(name: string): string {
  return /^[A-Za-z0-9]+$/.test(name) ? kebab(name) : JSON.stringify(name);
}

function table(path: string[], value: { [key: string]: Json }): string[] {
  const entries = Object.entries(value).filter(([, item]) => item !== null);
  const own = entries.filter(([, item]) => !isTable(item));
  const lines: string[] = [];
  if (path.length > 0 && own.length > 0) lines.push("", `[${path.join(".")}]`);
  for (const [name, item] of own) lines.push(`${key(name)} = ${literal(item)}`);
  for (const [name, item] of entries) if (isTable(item)) lines.push(...table([...path, key(name)], item));
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
