/** Writes what upstream did as a file that can be replayed without Node. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { NormalStep } from "./normalise.ts";
import type { Scenario } from "./scenario.ts";
import { narthexToml } from "./servers.ts";
import type { Body, Change, Database, Tables } from "./types.ts";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../transcripts");

export function transcriptPath(area: string, scenario: Scenario): string {
  return path.join(folder, area, `${scenario.name}.json`);
}

/** Throws when upstream answers differently on the two databases: such a scenario has to be split. */
export function transcript(scenario: Scenario, runs: { [database in Database]?: NormalStep[] }): string {
  const databases = scenario.databases.filter((database) => runs[database]);
  const first = runs[databases[0] as Database]?.filter((step) => step.kind !== "client") ?? [];
  const previous: { [database: string]: Tables } = {};
  const steps = first.map((step, index) => {
    if (step.kind === "advance") return { advance: step.seconds };
    const rows: { [database: string]: Tables } = {};
    let differs = step.kind === "exchange" ? step.differs : undefined;
    for (const database of databases) {
      const own = runs[database]?.filter((each) => each.kind !== "client")[index];
      if (!own || !("rows" in own)) throw new Error(`step ${index + 1} is missing on ${database}`);
      if (own.kind === "exchange" && step.kind === "exchange") {
        const [one, other] = [step, own].map(({ request, response }) => JSON.stringify([request, response]));
        if (one !== other) throw new Error(`upstream answers step ${index + 1} differently on ${database}; split the scenario\n${one}\n${other}`);
      }
      if (own.kind === "exchange" && own.differs) {
        differs = { ...own.differs, narthex: { ...own.differs.narthex, ...mergedRows(differs?.narthex.rows, own.differs.narthex.rows) } };
      }
      rows[database] = changed(previous[database] ?? {}, own.rows);
      previous[database] = own.rows;
    }
    if (step.kind === "sql") return { sql: step.sql, rows };
    if (step.kind !== "exchange") throw new Error(`nothing says how to record a step of the kind ${step.kind}`);
    const response = differs?.narthex.body !== undefined && isPage(step.response.body) ? { ...step.response, body: null } : step.response;
    return { request: step.request, response, rows, ...(differs ? { differs } : {}) };
  });
  const file = {
    scenario: scenario.name,
    env: scenario.environment,
    databases,
    options: scenario.options,
    toml: narthexToml(scenario.options),
    steps,
  };
  return `${JSON.stringify(file, null, 1)}\n`;
}

/** Whole pages of upstream's that ours take the place of say nothing to a replay. */
function isPage(body: Body): boolean {
  return typeof body === "string" && body.startsWith("<!DOCTYPE html>");
}

function mergedRows(...all: Change["rows"][]): Pick<Change, "rows"> {
  const rows = Object.assign({}, ...all) as NonNullable<Change["rows"]>;
  return Object.keys(rows).length > 0 ? { rows } : {};
}

/** Tables equal to those of the step before are left out; before the first step every table is empty. */
function changed(before: Tables, now: Tables): Tables {
  const entries = Object.entries(now).filter(([table, rows]) => JSON.stringify(rows) !== JSON.stringify(before[table] ?? []));
  return Object.fromEntries(entries);
}

export function writeTranscript(area: string, scenario: Scenario, text: string): void {
  const file = transcriptPath(area, scenario);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

export function committed(area: string, scenario: Scenario): string | undefined {
  const file = transcriptPath(area, scenario);
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : undefined;
}

/** Transcripts no scenario writes any more. */
export function strays(known: Set<string>, remove: boolean): string[] {
  if (!fs.existsSync(folder)) return [];
  const files = fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".json"));
  const unknown = files.map((file) => path.join(folder, file)).filter((file) => !known.has(file));
  if (remove) for (const file of unknown) fs.rmSync(file);
  return unknown;
}
