/**
 * Replaces what is random or a time by placeholders, after checking that it has the right shape.
 *
 * Anything that does not have the expected shape (a signature that does not verify, a time that is no
 * whole number of seconds away from the step, a password hash that verifies no password sent) stays as it
 * is and therefore shows up as a difference. The grammar is in the README.
 */
import { createHmac, scryptSync, timingSafeEqual } from "node:crypto";
import { bodyBytes } from "./http.ts";
import { remembered } from "./remembered.ts";
import type { Body, Cell, Database, Differs, Header, Intent, RecordedStep, Row, Run, Sql, Tables } from "./types.ts";

const TRANSPORT_HEADERS = new Set(["date", "connection", "keep-alive", "content-length", "transfer-encoding"]);
const RANDOM = /(?<![A-Za-z0-9])[A-Za-z0-9]{32}(?![A-Za-z0-9])/g;
const UUID = /(?<![A-Za-z0-9-])[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?![A-Za-z0-9-])/g;
const ISO_TIME = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z/g;
const POSTGRES_TIME = /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,3})?\+00$/;
/** A base64 HMAC-SHA256 at the end of a cookie value, as it is or percent-encoded. */
const SIGNATURE = /\.((?:[A-Za-z0-9+/]|%2[BF]){43}(?:=|%3D))(?=[;"\s]|$)/g;
const PASSWORD_HASH = /^([0-9a-f]{32}):([0-9a-f]{128})$/;
/** Our clock reading and the server's are milliseconds apart at most, even under libfaketime. */
const CLOCK_SLACK = 30;

export interface NormalResponse {
  status: number;
  headers: Header[];
  body: Body;
  /** What its cookies remember of a session. */
  caches?: string[];
}

export interface NormalExchange {
  kind: "exchange";
  request: { method: string; target: string; headers: Header[]; body: Body };
  response: NormalResponse;
  rows: Tables;
  /** Not part of a transcript: what the placeholders hide but must still be equal. */
  facts: string[];
  differs?: Differs;
}
export type NormalStep =
  | { kind: "advance"; seconds: number }
  | { kind: "sql"; sql: Sql; rows: Tables }
  | { kind: "client"; result: string }
  | NormalExchange;

export function normalise(run: Run, database: Database, secret: string): NormalStep[] {
  const normaliser = new Normaliser(database, secret);
  return run.steps.map((step) => normaliser.step(step));
}

class Normaliser {
  private readonly placeholders = new Map<string, string>();
  private readonly counts = new Map<string, number>();
  private readonly times = new Map<number, string>();
  /** Texts that the scenario made up itself: they are no randomness of the server's. */
  private readonly literals = new Set<string>();
  private readonly passwords: string[] = [];
  private readonly rowOrder = new Map<string, number>();
  private number = 0;
  private cacheCount = 0;
  private window: [number, number] = [0, 0];
  private facts: string[] = [];

  constructor(
    private readonly database: Database,
    private readonly secret: string,
  ) {}

  step(step: RecordedStep): NormalStep {
    if (step.kind === "client") return { ...step, result: this.text(step.result) };
    this.number += 1;
    if (step.kind === "advance") return step;
    if (step.kind === "sql") {
      this.learnText(step.sql[this.database]);
      return { ...step, rows: this.tables(step.rows) };
    }
    this.window = [step.started, step.ended];
    this.facts = [];
    this.learn(step.request.target, step.request.headers, step.request.body);
    const request = {
      method: step.request.method,
      target: this.text(step.request.target),
      headers: step.request.headers.map(([name, value]): Header => [name, this.text(value)]),
      body: this.body(step.request.body),
    };
    const caches = this.caches(step.response.headers);
    const headers = step.response.headers
      .filter(([name]) => !TRANSPORT_HEADERS.has(name))
      .map(([name, value]): Header => [name, name === "set-cookie" ? this.cookie(value) : this.text(value)]);
    const response = { status: step.response.status, headers, body: this.body(step.response.body), ...(caches ? { caches } : {}) };
    if (typeof step.response.body === "string") this.checkBodyTimes(step.response.body, step.rows);
    const rows = this.tables(step.rows);
    const differs = step.differs && this.resolve(step.differs, response, rows);
    return { kind: "exchange", request, response, rows, facts: this.facts, ...(differs ? { differs } : {}) };
  }

  /** `undefined` when the intended difference does not show in this step. */
  private resolve(intent: Intent, response: NormalExchange["response"], rows: Tables): Differs | undefined {
    if (typeof intent.narthex !== "function") return { decision: intent.decision, narthex: intent.narthex };
    const { status, headers, body, caches, rows: tables } = intent.narthex({ ...response, rows }, this.database);
    const changed = Object.entries(tables?.[this.database] ?? {}).filter(([table, content]) => JSON.stringify(content) !== JSON.stringify(rows[table]));
    const narthex = {
      ...(status !== undefined && status !== response.status ? { status } : {}),
      ...(headers !== undefined && JSON.stringify(headers) !== JSON.stringify(response.headers) ? { headers } : {}),
      ...(body !== undefined && body !== response.body ? { body } : {}),
      ...(caches !== undefined && JSON.stringify(caches) !== JSON.stringify(response.caches) ? { caches } : {}),
      ...(changed.length > 0 ? { rows: { [this.database]: Object.fromEntries(changed) } } : {}),
    };
    return Object.keys(narthex).length > 0 ? { decision: intent.decision, narthex } : undefined;
  }

  private placeholder(kind: string, value: string, suffix = ""): string {
    const known = this.placeholders.get(value);
    if (known) return known;
    const count = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, count);
    const made = `<${kind}:${count}${suffix}>`;
    this.placeholders.set(value, made);
    return made;
  }

  private learn(target: string, headers: Header[], body: Body) {
    const bytes = bodyBytes(body).toString("utf8");
    for (const text of [target, ...headers.map(([, value]) => value), bytes]) this.learnText(text);
    for (const text of headers.map(([, value]) => value)) {
      for (const [, signature = ""] of text.matchAll(SIGNATURE)) if (!this.placeholders.has(signature)) this.literals.add(signature);
    }
    for (const password of passwordsIn(bytes)) {
      const known = this.passwords.indexOf(password);
      if (known >= 0) this.passwords.splice(known, 1);
      this.passwords.push(password);
    }
  }

  private learnText(text: string) {
    for (const pattern of [RANDOM, UUID, ISO_TIME]) {
      for (const [match] of text.matchAll(pattern)) if (!this.isKnown(match)) this.literals.add(match);
    }
  }

  private isKnown(text: string): boolean {
    return this.placeholders.has(text) || this.times.has(Date.parse(text));
  }

  private body(body: Body): Body {
    return typeof body === "string" ? this.text(body) : body;
  }

  private text(text: string): string {
    let result = text;
    for (const [value, placeholder] of this.placeholders) if (result.includes(value)) result = result.replaceAll(value, placeholder);
    return result
      .replace(RANDOM, (match) => (this.literals.has(match) ? match : this.placeholder("rand32", match)))
      .replace(UUID, (match) => (this.literals.has(match) ? match : this.placeholder("uuid", match)))
      .replace(ISO_TIME, (match) => (this.literals.has(match) ? match : (this.time(Date.parse(match)) ?? match)));
  }

  /** A signed cookie's signature is verified; every other part stays as it is. */
  private cookie(header: string): string {
    const [, name = "", raw = "", attributes = ""] = /^([^=]*)=([^;]*)(.*)$/s.exec(header) ?? [];
    let decoded: string;
    try {
      decoded = decodeURIComponent(raw);
    } catch {
      return this.text(header);
    }
    const dot = decoded.lastIndexOf(".");
    const value = decoded.slice(0, dot);
    const signature = decoded.slice(dot + 1);
    if (dot < 1 || encodeURIComponent(decoded) !== raw || !this.signatureHolds(value, signature)) return this.text(header);
    if (this.literals.has(signature) || this.literals.has(encodeURIComponent(signature))) return this.text(header);
    const encoded = encodeURIComponent(signature);
    const placeholder = this.placeholder("sig", encoded);
    this.placeholders.set(signature, placeholder.replace("<sig:", "<sig-decoded:"));
    return `${name}=${this.text(encodeURIComponent(value))}.${placeholder}${this.text(attributes)}`;
  }

  /**
   * Cookies that remember a session, whole or in pieces, become `<cache:N:offset+length>`: what they hold is returned,
   * to be compared as text, and that they have the right length shows in the placeholders. A piece that was there
   * before keeps its name.
   */
  private caches(headers: Header[]): NormalResponse["caches"] {
    const groups = new Map<string, { index: number; value: string }[]>();
    for (const [name, line] of headers) {
      const [, cookie = "", piece, value = ""] = /^([^=]*?)(\.\d+)?=([^;]*)/s.exec(name === "set-cookie" ? line : "") ?? [];
      if (value === "") continue;
      const key = piece === undefined ? cookie : `${cookie} in pieces`;
      groups.set(key, [...(groups.get(key) ?? []), { index: Number(piece?.slice(1) ?? 0), value }]);
    }
    const found: string[] = [];
    for (const group of groups.values()) {
      const pieces = group.sort((left, right) => left.index - right.index).map(({ value }) => value);
      const text = remembered(pieces.join(""), this.secret);
      if (text === undefined) continue;
      this.cacheCount += 1;
      let offset = 0;
      for (const piece of pieces) {
        if (!this.placeholders.has(piece)) this.placeholders.set(piece, `<cache:${this.cacheCount}:${offset}+${piece.length}>`);
        offset += piece.length;
      }
      found.push(this.cacheText(text));
    }
    return found.length > 0 ? found : undefined;
  }

  private cacheText(text: string): string {
    return this.text(text)
      .replace(/("(?:updatedAt|expiresAt)":)(\d{13})(?=[,}])/g, (all, key: string, value: string) => {
        const time = this.time(Number(value));
        return time ? `${key}<millis:${time.slice(1)}` : all;
      })
      .replace(/("(?:iat|exp)":)(\d{10})(?=[,}])/g, (all, key: string, value: string) => {
        const time = this.second(Number(value));
        return time ? `${key}<seconds:${time}>` : all;
      })
      .replace(/(?<="jti":")[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?=")/g, (match) => this.placeholder("uuid", match));
  }

  private signatureHolds(value: string, signature: string): boolean {
    const right = createHmac("sha256", this.secret).update(value, "utf8").digest("base64");
    return right === signature;
  }

  /** `undefined` when no whole number of seconds leads from this step to the time. */
  private time(milliseconds: number): string | undefined {
    const known = this.times.get(milliseconds);
    if (known) return known;
    const [started, ended] = this.window;
    const first = Math.ceil((milliseconds - ended - CLOCK_SLACK) / 1000);
    const last = Math.floor((milliseconds - started + CLOCK_SLACK) / 1000);
    let best: number | undefined;
    for (let seconds = first; seconds <= last; seconds += 1) {
      if (best === undefined || roundness(seconds) > roundness(best)) best = seconds;
    }
    if (best === undefined) return undefined;
    const made = `<step${this.number}${best < 0 ? "-" : "+"}${Math.abs(best)}s>`;
    this.times.set(milliseconds, made);
    return made;
  }

  /** As `time`, for what is written in whole seconds: those that had passed when the step was handled, and so many more. */
  private second(value: number): string | undefined {
    const [started, ended] = this.window;
    const first = value - Math.floor((ended + CLOCK_SLACK) / 1000);
    const last = value - Math.floor((started - CLOCK_SLACK) / 1000);
    let best: number | undefined;
    for (let seconds = first; seconds <= last; seconds += 1) {
      if (best === undefined || roundness(seconds) > roundness(best)) best = seconds;
    }
    return best === undefined ? undefined : `step${this.number}${best < 0 ? "-" : "+"}${Math.abs(best)}s`;
  }

  /** Which of the body's times are in no row: a rounded or invented time would otherwise pass. */
  private checkBodyTimes(body: string, rows: Tables) {
    const stored = new Set<number>();
    for (const row of Object.values(rows).flat()) {
      for (const value of Object.values(row)) if (typeof value === "string" && isTime(value)) stored.add(Date.parse(value));
    }
    const matches = [...body.matchAll(/"([A-Za-z]+)":"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z)"/g)];
    for (const [, name, value = ""] of matches) {
      if (!stored.has(Date.parse(value))) this.facts.push(`the time ${name} of the body is in no row`);
    }
  }

  private tables(tables: Tables): Tables {
    return Object.fromEntries(Object.keys(tables).sort().map((table) => [table, this.rows(table, tables[table] ?? [])]));
  }

  /**
   * Rows seen before keep their place; new ones follow, ordered by what is not random in them, so that
   * neither random ids nor the database's own order decide which placeholder gets which number.
   */
  private rows(table: string, rows: Row[]): Row[] {
    const keyed = rows.map((row) => ({ row, key: `${table} ${typeof row.id === "string" || typeof row.id === "number" ? row.id : JSON.stringify(row)}` }));
    const masked = (row: Row) =>
      JSON.stringify(row)
        .replace(RANDOM, (match) => this.placeholders.get(match) ?? (this.literals.has(match) ? match : "<new>"))
        .replace(UUID, (match) => this.placeholders.get(match) ?? (this.literals.has(match) ? match : "<new>"))
        .replace(PASSWORD_IN_TEXT, "<new>")
        .replace(/"lastRequest":"?\d{13}"?/, "<time>")
        .replace(/\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00)/g, "<time>");
    const fresh = keyed.filter(({ key }) => !this.rowOrder.has(key)).map((item) => ({ ...item, mask: masked(item.row) }));
    fresh.sort((left, right) => (left.mask < right.mask ? -1 : left.mask > right.mask ? 1 : 0));
    for (const { key } of fresh) this.rowOrder.set(key, this.rowOrder.size);
    keyed.sort((left, right) => (this.rowOrder.get(left.key) ?? 0) - (this.rowOrder.get(right.key) ?? 0));
    return keyed.map(({ row }) => Object.fromEntries(Object.entries(row).map(([column, value]) => [column, this.cell(column, value)])));
  }

  private cell(column: string, value: Cell): Cell {
    if (column === "lastRequest" && value !== null && typeof value !== "object") return this.time(Number(value)) ?? value;
    if (typeof value !== "string") return value;
    // The column may have been renamed.
    if (column === "password" || PASSWORD_HASH.test(value)) return this.password(value);
    if (this.database === "postgres" && POSTGRES_TIME.test(value)) {
      const sent = this.literals.has(new Date(value).toISOString());
      return sent ? value : (this.time(Date.parse(value)) ?? value);
    }
    return this.text(value);
  }

  private password(stored: string): string {
    const known = this.placeholders.get(stored);
    if (known) return known;
    const [, salt = "", key = ""] = PASSWORD_HASH.exec(stored) ?? [];
    if (key === "") return stored;
    // The newest first: it is nearly always the one.
    const matching = this.passwords.findLast((password) => verifies(password, salt, key));
    if (matching === undefined) return stored;
    this.facts.push(`a new hash verifies ${JSON.stringify(matching)}`);
    return this.placeholder("hash", stored);
  }
}

const PASSWORD_IN_TEXT = /[0-9a-f]{32}:[0-9a-f]{128}/g;

const isTime = (value: string) => POSTGRES_TIME.test(value) || new RegExp(`^${ISO_TIME.source}$`).test(value);

function roundness(seconds: number): number {
  if (seconds === 0) return 5;
  return [1, 60, 3600, 86_400].filter((unit) => seconds % unit === 0).length;
}

const verified = new Map<string, boolean>();

function verifies(password: string, salt: string, key: string): boolean {
  const memo = `${salt}:${key}:${password}`;
  let answer = verified.get(memo);
  if (answer === undefined) {
    const derived = scryptSync(password.normalize("NFKC"), salt, 64, { N: 16384, r: 16, p: 1, maxmem: 64 * 1024 * 1024 });
    answer = timingSafeEqual(derived, Buffer.from(key, "hex"));
    verified.set(memo, answer);
  }
  return answer;
}

/** Every password a request sent, in JSON or as a form. */
function passwordsIn(body: string): string[] {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== "object" || value === null) return [];
    const fields = value as Record<string, unknown>;
    return ["password", "newPassword"].map((name) => fields[name]).filter((item) => typeof item === "string");
  } catch {
    const form = new URLSearchParams(body);
    return [...form.getAll("password"), ...form.getAll("newPassword")];
  }
}
