/** The command line: `npm test -- [--only <text>] [--secondary] [--target upstream] [--record] [--parity] [--show] [--all] [--jobs <n>]`. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { checkCells } from "./cells.ts";
import { compareRuns, type Difference, expectation, render } from "./lib/compare.ts";
import { dropDatabases } from "./lib/database.ts";
import { OWN_TABLES, ownSchema, takeOwnRows } from "./lib/own-tables.ts";
import { type NormalExchange, type NormalStep, normalise } from "./lib/normalise.ts";
import { decisionPage, endpointOf, type Outcome, writeParity } from "./lib/parity.ts";
import { play } from "./lib/play.ts";
import type { Area, Scenario } from "./lib/scenario.ts";
import { MissingTool, narthexBinary, stopHosts, type Target } from "./lib/servers.ts";
import { committed, strays, transcript, transcriptPath, writeTranscript } from "./lib/transcript.ts";
import type { Database, Run } from "./lib/types.ts";

const here = path.dirname(fileURLToPath(import.meta.url));

const { values: flags } = parseArgs({
  options: {
    only: { type: "string" },
    target: { type: "string", default: "narthex" },
    record: { type: "boolean", default: false },
    secondary: { type: "boolean", default: false },
    parity: { type: "boolean", default: false },
    jobs: { type: "string" },
    show: { type: "boolean", default: false },
    all: { type: "boolean", default: false },
  },
});

async function areas(): Promise<Area[]> {
  const folder = path.join(here, "scenarios");
  const files = fs.readdirSync(folder).filter((file) => file.endsWith(".ts")).sort();
  const loaded: Area[] = [];
  for (const file of files) {
    const { default: found } = (await import(pathToFileURL(path.join(folder, file)).href)) as { default: Area };
    loaded.push(found);
  }
  return loaded;
}

interface Job {
  area: string;
  scenario: Scenario;
  database: Database;
}

interface Result {
  job: Job;
  upstream: NormalStep[];
  differences: Difference[];
  failure?: string;
  log: string;
}

async function referee(job: Job, target: Target): Promise<Result> {
  const { scenario, database } = job;
  const left = await play(scenario, database, "upstream");
  const upstream = normalise(left, database, scenario.options);
  if (left.failure !== undefined) return { job, upstream, differences: [], failure: `upstream: ${left.failure}`, log: left.log };
  if (flags.record) return { job, upstream, differences: [], log: "" };
  const right = await play(scenario, database, target);
  const unexpected = target === "narthex" ? takeOwnRows(right) : [];
  const other = normalise(right, database, scenario.options);
  const expected = upstream.map((step) => (step.kind === "exchange" && target === "narthex" ? expectation(step, database) : step));
  const differences = compareRuns(expected, other, (step) => endpointOf(step, scenario));
  differences.unshift(...compareSchema(target === "narthex" ? { ...left, ddl: [...left.ddl, ...ownSchema(database)] } : left, right), ...unexpected);
  return { job, upstream, differences, log: right.log, ...(right.failure !== undefined ? { failure: `${target}: ${right.failure}` } : {}) };
}

function compareSchema(left: Run, right: Run): Difference[] {
  if (right.ddl.length === 0 && right.failure !== undefined) return [];
  const [expected, actual] = [left, right].map((run) => [...run.ddl].sort().join("\n"));
  if (expected === actual) return [];
  const only = (one: string[], other: string[]) => one.filter((line) => !other.includes(line)).join("\n") || "(nothing)";
  return [{ where: "step 0: the database as made", what: "schema", expected: only(left.ddl, right.ddl), actual: only(right.ddl, left.ddl) }];
}

async function inParallel<T, R>(items: T[], width: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, width) }, lane));
  return results;
}

/** With a secondary storage everything is compared live only: recorded it would be nearly the same a second time. */
const isRecorded = (scenario: Scenario) => !scenario.secondary;

function recordTranscripts(results: Result[], problems: string[]): void {
  const grouped = new Map<Scenario, Result[]>();
  for (const result of results) grouped.set(result.job.scenario, [...(grouped.get(result.job.scenario) ?? []), result]);
  const known = new Set<string>();
  for (const [scenario, group] of grouped) {
    const area = group[0]?.job.area ?? "";
    if (!isRecorded(scenario)) continue;
    known.add(transcriptPath(area, scenario));
    if (group.some((result) => result.failure !== undefined)) continue;
    try {
      const text = transcript(scenario, Object.fromEntries(group.map((result) => [result.job.database, result.upstream])));
      if (flags.record) writeTranscript(area, scenario, text);
      else if (committed(area, scenario) !== text) problems.push(`${area}/${scenario.name}: the transcript is out of date, run with --record`);
    } catch (error) {
      problems.push(`${area}/${scenario.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (flags.only === undefined && !flags.secondary) {
    for (const file of strays(known, flags.record)) if (!flags.record) problems.push(`${file} belongs to no scenario`);
  }
}

async function main(): Promise<number> {
  const began = Date.now();
  if (flags.parity && (flags.only !== undefined || flags.secondary || flags.record || flags.target === "upstream")) {
    throw new Error("--parity needs a whole run against narthex");
  }
  const target: Target = flags.target === "upstream" ? "upstream" : "narthex";
  if (target === "narthex" && !flags.record) narthexBinary();
  const all = await areas();
  const problems: string[] = checkCells(all);
  const jobs: Job[] = all.flatMap(({ area, scenarios }) =>
    scenarios
      .filter((scenario) => flags.only === undefined || `${area}/${scenario.name}`.includes(flags.only))
      .filter((scenario) => (!flags.secondary || scenario.secondary) && (!flags.record || isRecorded(scenario)))
      .flatMap((scenario) => scenario.databases.map((database) => ({ area, scenario, database }))),
  );
  const results = await inParallel(jobs, Number(flags.jobs ?? Math.min(2, os.cpus().length)), async (job) => {
    const started = Date.now();
    const result = await referee(job, target);
    const failed = result.failure !== undefined || result.differences.length > 0;
    const label = `${job.area}/${job.scenario.name} [${job.database}]`;
    console.log(`${failed ? "FAIL" : "ok  "} ${label} ${((Date.now() - started) / 1000).toFixed(1)} s`);
    if (flags.show) for (const step of result.upstream) console.log(showStep(step));
    const shown = flags.all ? result.differences : result.differences.slice(0, 8);
    for (const difference of shown) console.log(render(difference));
    if (shown.length < result.differences.length) console.log(`  and ${result.differences.length - shown.length} more; --all prints them`);
    if (result.failure !== undefined) console.log(`  ${result.failure}`);
    if (failed && result.log.trim() !== "") console.log(`  log: ${result.log.trim().slice(-1500).replaceAll("\n", "\n       ")}`);
    return result;
  });
  recordTranscripts(results, problems);
  const outcomes: Outcome[] = results.map((result) => ({ ...result.job, ...result }));
  problems.push(...missingCoverage(outcomes));
  if (target === "narthex" && !flags.record) problems.push(...missingDecisions(outcomes));
  const steps = results.reduce((sum, result) => sum + result.upstream.filter((step) => step.kind === "exchange").length, 0);
  const whole = flags.only === undefined && !flags.secondary && target === "narthex" && !flags.record;
  if (whole || flags.parity) writeParity(outcomes);
  for (const problem of problems) console.log(`FAIL ${problem}`);
  const failed = results.filter((result) => result.failure !== undefined || result.differences.length > 0).length + problems.length;
  const passed = results.filter((result) => result.failure === undefined && result.differences.length === 0).length;
  const scenarios = new Set(jobs.map((job) => job.scenario)).size;
  console.log(`${scenarios} scenarios, ${steps} exchanges on ${target === "upstream" ? "upstream twice" : "both"}, ${((Date.now() - began) / 1000).toFixed(0)} s`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

/** What a scenario says it covers must really have been seen in a recorded reply. */
function missingCoverage(outcomes: Outcome[]): string[] {
  const problems: string[] = [];
  for (const { area, scenario, database, upstream, failure } of outcomes) {
    if (failure?.startsWith("upstream")) continue;
    const exchanges = upstream.filter((step): step is NormalExchange => step.kind === "exchange");
    for (const cell of scenario.covers) {
      const [endpoint = "", code] = cell.split("#");
      const [plain = ""] = endpoint.split("@");
      const seen = exchanges.filter((step) => endpointOf(step, scenario) === plain);
      const holds = code === undefined ? seen.length > 0 : seen.some((step) => replyCode(step) === code);
      if (!holds) problems.push(`${area}/${scenario.name} [${database}] says it covers ${cell}, but no reply shows it`);
    }
  }
  return problems;
}

function missingDecisions(outcomes: Outcome[]): string[] {
  const cited = new Set(outcomes.flatMap(({ upstream }) => upstream.flatMap((step) => (step.kind === "exchange" && step.differs ? [step.differs.decision] : []))));
  for (const { decision } of Object.values(OWN_TABLES)) cited.add(decision);
  return [...cited].filter((decision) => decisionPage(decision) === undefined).map((decision) => `a scenario cites docs/decisions/*-${decision}.md, which does not exist`);
}

function replyCode(step: NormalExchange): string | undefined {
  try {
    return (JSON.parse(String(step.response.body)) as { code?: string } | null)?.code;
  } catch {
    return undefined;
  }
}

function showStep(step: NormalStep): string {
  if (step.kind !== "exchange") return `  ${JSON.stringify(step)}`;
  const { request, response, facts } = step;
  return [
    `  > ${request.method} ${request.target} ${JSON.stringify(request.headers)} ${typeof request.body === "string" ? request.body.slice(0, 300) : JSON.stringify(request.body)}`,
    `  < ${response.status} ${JSON.stringify(response.headers)} ${response.body === null ? "" : String(response.body).slice(0, 500)} ${facts.join("; ")}${response.caches ? ` ${JSON.stringify(response.caches)}` : ""}${response.tokens ? ` ${JSON.stringify(response.tokens)}` : ""}`,
    `    ${JSON.stringify(step.rows)}`,
  ].join("\n");
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof MissingTool ? error.message : error);
  process.exitCode = 1;
} finally {
  await stopHosts();
  await dropDatabases();
}
