/** The parity page: what was compared, and how it came out, per endpoint, option, error code and database. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CELLS, cellNames } from "../cells.ts";
import type { Difference } from "./compare.ts";
import type { NormalExchange, NormalStep } from "./normalise.ts";
import { baseOf, type Scenario } from "./scenario.ts";
import type { Database } from "./types.ts";

const here = path.dirname(fileURLToPath(import.meta.url));
const inventory = path.resolve(here, "../inventory/endpoints.tsv");
const page = path.resolve(here, "../../docs/reference/parity.md");
/** What is compared apart. */
const COLUMNS = {
  SQLite: ({ scenario, database }: Outcome) => !scenario.secondary && database === "sqlite",
  PostgreSQL: ({ scenario, database }: Outcome) => !scenario.secondary && database === "postgres",
  "with a secondary storage": ({ scenario }: Outcome) => scenario.secondary,
};
type Column = keyof typeof COLUMNS;
const columns = Object.keys(COLUMNS) as Column[];
const HEAD = [`| | ${columns.join(" | ")} |`, `|-|${columns.map(() => "-|").join("")}`];

export interface Outcome {
  area: string;
  scenario: Scenario;
  database: Database;
  upstream: NormalStep[];
  differences: Difference[];
  failure?: string;
}

type State = "identical" | "different" | "missing";

export function endpointOf(step: NormalExchange, scenario: Scenario): string {
  const base = baseOf(scenario).pathname;
  const target = step.request.target.split("?")[0] ?? "";
  return `${step.request.method} ${target.startsWith(base) ? target.slice(base.length) : target}`;
}

interface Endpoint {
  area: string;
  name: string;
}

function endpoints(): Endpoint[] {
  const lines = fs.readFileSync(inventory, "utf8").split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const rows = lines.slice(1).map((line) => line.split("\t"));
  return rows
    .filter(([, , , kind]) => kind !== "server-only")
    .flatMap(([area = "", methods = "", route = ""]) => methods.split(",").map((method) => ({ area, name: `${method} ${route}` })));
}

/** `relevant` are the scenarios with an exchange that upstream decides; what a decision answers instead has a section of its own. */
function stateOf(relevant: Outcome[], concerns: (difference: Difference) => boolean): State {
  if (relevant.length === 0) return "missing";
  return relevant.some((outcome) => outcome.failure !== undefined || outcome.differences.some(concerns)) ? "different" : "identical";
}

function exchanges(outcome: Outcome, endpoint: string): NormalExchange[] {
  return outcome.upstream.filter((step): step is NormalExchange => step.kind === "exchange" && endpointOf(step, outcome.scenario) === endpoint);
}

export function writeParity(outcomes: Outcome[]): void {
  fs.mkdirSync(path.dirname(page), { recursive: true });
  fs.writeFileSync(page, parityPage(outcomes));
}

function parityPage(outcomes: Outcome[]): string {
  const of = (column: Column) => outcomes.filter(COLUMNS[column]);
  const row = (name: string, cell: (column: Column) => string | number) => `| ${name} | ${columns.map(cell).join(" | ")} |`;
  const endpointState = (endpoint: string, column: Column): State => {
    if (!CELLS[endpoint]) return "missing";
    const relevant = of(column).filter((outcome) => exchanges(outcome, endpoint).some((step) => !step.differs));
    return stateOf(relevant, (difference) => difference.endpoint === undefined || difference.endpoint === endpoint);
  };
  // A cell is as good as the scenarios that cover it; "–" where none of them is of the column.
  const cellState = (cell: string, column: Column): State | "–" => {
    const covering = outcomes.filter((outcome) => outcome.scenario.covers.includes(cell));
    const relevant = covering.filter(COLUMNS[column]);
    if (covering.length > 0 && relevant.length === 0) return "–";
    const endpoint = cell.split(/[#@]/)[0] ?? "";
    return stateOf(relevant, (difference) => difference.endpoint === undefined || difference.endpoint === endpoint);
  };
  const all = endpoints();
  // A plugin may replace an endpoint under the same name; the first in the inventory is the one compared.
  const implemented = all.filter((endpoint) => CELLS[endpoint.name] !== undefined && all.find(({ name }) => name === endpoint.name) === endpoint);
  const extra = Object.keys(CELLS).filter((name) => !all.some((endpoint) => endpoint.name === name));
  const inScope = [...implemented.map(({ name }) => name), ...extra];
  const cells = inScope.flatMap((endpoint) => cellNames(endpoint, CELLS[endpoint] ?? { options: [], codes: [], unreachable: {} }));
  const count = (column: Column, state: State) => cells.filter((cell) => cellState(cell, column) === state).length;
  const lines: string[] = [
    "# Parity with upstream",
    "",
    "Written by `npm test` in `conformance/`, which plays the same requests against upstream's own server and against",
    "Narthex and compares status, headers, cookies, body bytes and the rows left in every table, with a secondary storage",
    "its keys and values too. Do not edit.",
    "",
    "– stands where an option or a code has no scenario of that kind: one that upstream answers differently on the two",
    "databases, one that means nothing without a secondary storage, or one that has nothing to do with it.",
    "",
    `Compared with better-auth ${upstreamVersion()}.`,
    "",
    ...HEAD,
    ...(["identical", "different"] as State[]).map((state) => row(`endpoints ${state}`, (column) => inScope.filter((name) => endpointState(name, column) === state).length)),
    row("endpoints missing", (column) => all.filter((endpoint) => !implemented.includes(endpoint) || endpointState(endpoint.name, column) === "missing").length),
    ...(["identical", "different"] as State[]).map((state) => row(`options and error codes ${state}`, (column) => count(column, state))),
    row("scenarios", (column) => of(column).length),
    row("exchanges compared with upstream", (column) => counted(of(column), (step) => !step.differs)),
    row("exchanges that differ by decision, compared with what it says", (column) => counted(of(column), (step) => step.differs !== undefined)),
    "",
    "## Endpoints",
    "",
  ];
  for (const endpoint of inScope) {
    const { options, codes, unreachable } = CELLS[endpoint] ?? { options: [], codes: [], unreachable: {} };
    lines.push(`### ${endpoint}`, "", ...HEAD, row("the endpoint", (column) => endpointState(endpoint, column)));
    for (const option of options) lines.push(row(`option \`${option}\``, (column) => cellState(`${endpoint}@${option}`, column)));
    for (const code of codes) lines.push(row(`error \`${code}\``, (column) => cellState(`${endpoint}#${code}`, column)));
    lines.push("");
    const never = Object.entries(unreachable);
    if (never.length > 0) lines.push(...never.map(([code, why]) => `\`${code}\` cannot be provoked: ${why}.`), "");
  }
  lines.push(...decisions(outcomes));
  lines.push("## Missing", "");
  const areas = [...new Set(all.map(({ area }) => area))];
  for (const area of areas) {
    const missing = all.filter((endpoint) => endpoint.area === area && !implemented.includes(endpoint));
    if (missing.length === 0) continue;
    lines.push(`**${area}** (${missing.length}): ${missing.map(({ name }) => `\`${name}\``).join(", ")}`, "");
  }
  return `${lines.join("\n").trim()}\n`;
}

function counted(outcomes: Outcome[], which: (step: NormalExchange) => boolean): number {
  return outcomes.flatMap(({ upstream }) => upstream).filter((step) => step.kind === "exchange" && which(step)).length;
}

function decisions(outcomes: Outcome[]): string[] {
  const found = new Map<string, Set<string>>();
  for (const { area, scenario, upstream } of outcomes) {
    for (const step of upstream) {
      if (step.kind !== "exchange" || !step.differs) continue;
      const places = found.get(step.differs.decision) ?? new Set<string>();
      found.set(step.differs.decision, places.add(`${area}/${scenario.name}: ${endpointOf(step, scenario)}`));
    }
  }
  if (found.size === 0) return [];
  const intro = ["Requests that Narthex answers otherwise on purpose. Each scenario states the whole answer, and Narthex is compared with that.", ""];
  const lines = [...found].map(([decision, places]) => `- [${decision}](../decisions/${decisionPage(decision) ?? ""}): ${[...places].sort().join(", ")}`);
  return ["## Differences by decision", "", ...intro, ...lines, ""];
}

/** The file that holds a decision, found by its name without number. */
export function decisionPage(decision: string): string | undefined {
  const folder = path.resolve(here, "../../docs/decisions");
  return fs.existsSync(folder) ? fs.readdirSync(folder).find((file) => /^\d+-/.test(file) && file.replace(/^\d+-/, "") === `${decision}.md`) : undefined;
}

function upstreamVersion(): string {
  const file = path.resolve(here, "../package.json");
  const { dependencies } = JSON.parse(fs.readFileSync(file, "utf8")) as { dependencies: { [name: string]: string } };
  return dependencies["better-auth"] ?? "";
}
