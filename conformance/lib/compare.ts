/** Compares two normalised runs; there is no allow-list, only what a step itself declares to differ. */
import { type NormalExchange, type NormalStep, timeInNoRow } from "./normalise.ts";
import type { Database } from "./types.ts";

export interface Difference {
  /** Which step, counted as transcripts count, and what was asked. */
  where: string;
  what: string;
  expected: string;
  actual: string;
  endpoint?: string;
}

export function describe(step: NormalStep | undefined): string {
  if (!step) return "(nothing)";
  if (step.kind === "advance") return `advance ${step.seconds} s`;
  if (step.kind === "sql") return "sql";
  if (step.kind === "secondary") return "a change of the secondary storage";
  if (step.kind === "client") return "result of the official client";
  return `${step.request.method} ${step.request.target}`;
}

/** What Narthex must answer: upstream's step, changed by what the step says differs on purpose. */
export function expectation(step: NormalExchange, database: Database): NormalExchange {
  const change = step.differs?.narthex;
  if (!change) return step;
  // What was said of times that the other body does not have means nothing.
  const names = (body: unknown) => [...String(body).matchAll(/"([A-Za-z]+)":"/g)].map(([, name = ""]) => name);
  const gone = change.body === undefined ? [] : names(step.response.body).filter((name) => !names(change.body).includes(name)).map(timeInNoRow);
  return {
    ...step,
    response: {
      status: change.status ?? step.response.status,
      headers: change.headers ?? step.response.headers,
      body: change.body !== undefined ? change.body : step.response.body,
      ...((change.caches ?? step.response.caches) ? { caches: change.caches ?? step.response.caches } : {}),
      ...((change.tokens ?? step.response.tokens) ? { tokens: change.tokens ?? step.response.tokens } : {}),
    },
    rows: { ...step.rows, ...(change.rows?.[database] ?? {}) },
    facts: step.facts.filter((fact) => !gone.includes(fact)),
  };
}

export function compareRuns(left: NormalStep[], right: NormalStep[], endpointOf: (step: NormalExchange) => string): Difference[] {
  const found: Difference[] = [];
  let number = 0;
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const expected = left[index];
    const actual = right[index];
    if ((expected ?? actual)?.kind !== "client") number += 1;
    const where = `step ${number}: ${describe(expected ?? actual)}`;
    const endpoint = expected?.kind === "exchange" ? endpointOf(expected) : undefined;
    const add = (what: string, one: unknown, other: unknown) => {
      const [a, b] = [show(one), show(other)];
      if (a !== b) found.push({ where, what, expected: a, actual: b, ...(endpoint ? { endpoint } : {}) });
    };
    if (!expected || !actual || expected.kind !== actual.kind) {
      add("the step itself", describe(expected), describe(actual));
      return found;
    }
    if (expected.kind === "client" && actual.kind === "client") add("what the client returned", expected.result, actual.result);
    if (expected.kind === "secondary" && actual.kind === "secondary") {
      add("the change itself", expected.change, actual.change);
      compareRows(expected.rows, actual.rows, add);
    }
    if (expected.kind === "sql" && actual.kind === "sql") compareRows(expected.rows, actual.rows, add);
    if (expected.kind === "exchange" && actual.kind === "exchange") {
      add("request", expected.request, actual.request);
      add("status", expected.response.status, actual.response.status);
      add("headers", expected.response.headers, actual.response.headers);
      add("body", expected.response.body, actual.response.body);
      add("what cookies remember", expected.response.caches, actual.response.caches);
      add("what tokens say", expected.response.tokens, actual.response.tokens);
      // Rows that upstream has made and Narthex has not hold nothing to compare.
      if (!expected.differs?.narthex.rows) add("facts", expected.facts, actual.facts);
      compareRows(expected.rows, actual.rows, add);
    }
  }
  return found;
}

function compareRows(left: object, right: object, add: (what: string, one: unknown, other: unknown) => void) {
  const one = left as Record<string, unknown>;
  const other = right as Record<string, unknown>;
  for (const table of new Set([...Object.keys(one), ...Object.keys(other)])) add(`rows of ${table}`, one[table], other[table]);
}

function show(value: unknown): string {
  if (value === undefined) return "(absent)";
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return JSON.stringify(value);
  if (value.length === 0) return "(none)";
  return value
    .map((item) => (Array.isArray(item) && item.length === 2 ? `${item[0]}: ${item[1]}` : typeof item === "string" ? item : JSON.stringify(item)))
    .join("\n");
}

/** Of long texts only the lines that differ are printed. */
export function render(difference: Difference): string {
  const left = difference.expected.split("\n");
  const right = difference.actual.split("\n");
  const shared = left.filter((line) => right.includes(line));
  const lines = [`  ${difference.where}`, `    ${difference.what} differs`];
  if (shared.length > 3) lines.push(`        … ${shared.length} equal lines`);
  else for (const line of shared) lines.push(`        ${line}`);
  for (const line of left) if (!right.includes(line)) lines.push(`      - ${line}`);
  for (const line of right) if (!left.includes(line)) lines.push(`      + ${line}`);
  const changed = lines.some((line) => line.startsWith("      - ") || line.startsWith("      + "));
  if (!changed) lines.push("      the same lines in another order or number", `      - ${difference.expected}`, `      + ${difference.actual}`);
  return lines.join("\n");
}
