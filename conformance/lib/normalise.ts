/**
 * Replaces what is random or a time by placeholders, after checking that it has the right shape.
 *
 * Anything that does not have the expected shape (a signature that does not verify, a time that is no
 * whole number of seconds away from the step, a password hash that verifies no password sent) stays as it
 * is and therefore shows up as a difference. The grammar is in the README.
 */
import { createHash, createHmac, scryptSync, timingSafeEqual } from "node:crypto";
import { bodyBytes } from "./http.ts";
import { KeyRing, type SigningKey, type Token, tokensIn } from "./keys.ts";
import { remembered } from "./remembered.ts";
import { signingSecret } from "./scenario.ts";
import { type Body, type Cell, type Database, type Differs, type Header, type Intent, type Options, type RawResponse, type RecordedStep, type Row, type Run, SECONDARY, type SecondaryChange, type Sql, type StoredValue, type Tables } from "./types.ts";

const TRANSPORT_HEADERS = new Set(["date", "connection", "keep-alive", "content-length", "transfer-encoding"]);
const RANDOM = /(?<![A-Za-z0-9])[A-Za-z0-9]{32}(?![A-Za-z0-9])/g;
const UUID = /(?<![A-Za-z0-9-])[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?![A-Za-z0-9-])/g;
const ISO_TIME = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z/g;
const MILLIS = /(?<![0-9])[0-9]{13}(?![0-9])/g;
const POSTGRES_TIME = /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,3})?\+00$/;
/** A base64 HMAC-SHA256 at the end of a cookie value, as it is or percent-encoded. */
const SIGNATURE = /\.((?:[A-Za-z0-9+/]|%2[BF]){43}(?:=|%3D))(?=[;"\s]|$)/g;
const PASSWORD_HASH = /^([0-9a-f]{32}):([0-9a-f]{128})$/;
/** Of a time that a body says under this name. */
export const timeInNoRow = (name: string) => `the time ${name} of the body is in no row`;
/** Our clock reading and the server's are milliseconds apart at most, even under libfaketime. */
const CLOCK_SLACK = 30;
/** A key ends in whole seconds, rounded down, counted from a moment after the one in which what it holds was made. */
const KEY_SLACK = 2_000;
/** What is farther away than a hundred days has nothing to do with a step. */
const FARTHEST = 8_640_000;
/** Two readings of the moment in which the same key ends. */
const SAME_END = 10;

export interface NormalResponse {
  status: number;
  headers: Header[];
  body: Body;
  /** What its cookies remember of a session. */
  caches?: string[];
  /** What the tokens in its other headers and in its body say. */
  tokens?: string[];
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
  | { kind: "secondary"; change: SecondaryChange; rows: Tables }
  | { kind: "client"; result: string }
  | NormalExchange;

export function normalise(run: Run, database: Database, options: Options): NormalStep[] {
  const normaliser = new Normaliser(database, options);
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
  /** When each key of the secondary storage ends. */
  private readonly ends = new Map<string, { at: number; text: string; value: string }>();
  /** What Narthex's tables must hold after the step before. */
  private before: Tables = {};
  private number = 0;
  private cacheCount = 0;
  private window: [number, number] = [0, 0];
  private facts: string[] = [];
  /** Every time that a row has had: what a cookie remembers may be older than the rows are. */
  private readonly stored = new Set<number>();
  private readonly secret: string;
  private readonly keys: KeyRing;
  /** All that SQL of the scenario's own has said: keys in it are no randomness of the server's. */
  private said = "";
  /** Numbers that the options say: they are no instants that depend on now. */
  private readonly numbers: Set<string>;

  constructor(
    private readonly database: Database,
    options: Options,
  ) {
    this.secret = signingSecret(options);
    this.keys = new KeyRing(options);
    this.numbers = new Set(JSON.stringify(options).match(/\d+/g));
  }

  step(step: RecordedStep): NormalStep {
    if (step.kind === "client") return { ...step, result: this.text(step.result) };
    this.number += 1;
    if (step.kind === "advance") return step;
    this.learnTimes(step.rows);
    if (step.kind === "sql") {
      this.learnText(step.sql[this.database]);
      this.said += step.sql[this.database];
      this.learnKeys(step.rows);
      this.before = this.tables(step.rows);
      return { ...step, rows: this.before };
    }
    this.window = [step.started, step.ended];
    if (step.kind === "secondary") {
      for (const { key, value, seconds } of step.change.set ?? []) {
        for (const text of [key, value]) this.learnText(text);
        if (seconds !== undefined) this.ends.delete(key);
      }
      const { set, delete: gone } = step.change;
      const change = {
        ...(set ? { set: set.map(({ key, value, ...rest }) => ({ key: this.text(key), value: this.keptText(value), ...rest })) } : {}),
        ...(gone ? { delete: gone.map((key) => this.text(key)) } : {}),
      };
      this.before = this.tables(step.rows);
      return { kind: "secondary", change, rows: this.before };
    }
    this.facts = [];
    this.learnKeys(step.rows);
    this.learn(step.request.target, step.request.headers, step.request.body);
    const request = {
      method: step.request.method,
      target: this.text(step.request.target),
      headers: step.request.headers.map(([name, value]): Header => [name, this.text(value)]),
      body: this.body(step.request.body),
    };
    const caches = this.caches(step.response.headers);
    const tokens = this.tokens(step.response);
    const tag = entityTag(step.response.body);
    // A header may say again what a cookie says.
    const cookies = step.response.headers.filter(([name]) => name === "set-cookie").map(([, value]) => this.cookie(value));
    const headers = step.response.headers
      .filter(([name]) => !TRANSPORT_HEADERS.has(name))
      .map(([name, value]): Header => [name, name === "set-cookie" ? (cookies.shift() ?? "") : name === "etag" && value === tag ? '"<etag>"' : this.text(value)]);
    const body = this.body(step.response.body);
    const response = { status: step.response.status, headers, body, ...(caches ? { caches } : {}), ...(tokens ? { tokens } : {}) };
    if (typeof step.response.body === "string") this.checkBodyTimes(step.response.body);
    const rows = this.tables(step.rows);
    const differs = step.differs && this.resolve(step.differs, response, rows);
    this.before = { ...rows, ...differs?.narthex.rows?.[this.database] };
    return { kind: "exchange", request, response, rows, facts: this.facts, ...(differs ? { differs } : {}) };
  }

  /** `undefined` when the intended difference does not show in this step. */
  private resolve(intent: Intent, response: NormalExchange["response"], rows: Tables): Differs | undefined {
    if (typeof intent.narthex !== "function") return { decision: intent.decision, narthex: intent.narthex };
    const { status, headers, body, caches, tokens, rows: tables } = intent.narthex({ ...response, rows }, this.database, this.before);
    const changed = Object.entries(tables?.[this.database] ?? {}).filter(([table, content]) => rows[table] !== undefined && JSON.stringify(content) !== JSON.stringify(rows[table]));
    const narthex = {
      ...(status !== undefined && status !== response.status ? { status } : {}),
      ...(headers !== undefined && JSON.stringify(headers) !== JSON.stringify(response.headers) ? { headers } : {}),
      ...(body !== undefined && body !== response.body ? { body } : {}),
      ...(caches !== undefined && JSON.stringify(caches) !== JSON.stringify(response.caches) ? { caches } : {}),
      ...(tokens !== undefined && JSON.stringify(tokens) !== JSON.stringify(response.tokens) ? { tokens } : {}),
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
      // One that is whole and set twice is two.
      const key = piece === undefined ? `${cookie} ${groups.size}` : `${cookie} in pieces`;
      groups.set(key, [...(groups.get(key) ?? []), { index: Number(piece?.slice(1) ?? 0), value }]);
    }
    const found: string[] = [];
    for (const group of groups.values()) {
      const pieces = group.sort((left, right) => left.index - right.index).map(({ value }) => value);
      const whole = pieces.join("");
      const signed = this.keys.open(whole);
      const text = signed ? `keys ${signed.header} ${signed.payload}` : remembered(whole, this.secret);
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

  /**
   * Tokens in the answer become `<jwt:N+L>`: what they say is returned, to be compared as text, and that they have the
   * right length shows in the placeholder. The same token twice is two, because a second may pass between them.
   */
  private tokens({ headers, body }: RawResponse): NormalResponse["tokens"] {
    const places = [...headers.filter(([name]) => name !== "set-cookie").map(([, value]) => value), typeof body === "string" ? body : ""];
    const found = places.flatMap(tokensIn).flatMap((value) => {
      const token = this.keys.open(value);
      return token ? [{ value, token }] : [];
    });
    for (const { value } of found) {
      this.placeholders.delete(value);
      this.placeholder("jwt", value, `+${value.length}`);
    }
    return found.length > 0 ? found.map(({ token }) => this.tokenText(token)) : undefined;
  }

  /** When it ends is reckoned from when it was issued: what is read apart may be a second off. */
  private tokenText({ header, payload }: Token): string {
    const { iat } = JSON.parse(payload) as { iat?: number };
    const [, step = "", sign = "", since = ""] = /^(step\d+)([+-])(\d+)s$/.exec((typeof iat === "number" && this.second(iat)) || "") ?? [];
    const written = payload.replace(/("(?:iat|nbf|exp)":)(\d+)(?=[,}])/g, (all, key: string, value: string) => {
      if (step === "" || this.numbers.has(value)) return all;
      const seconds = Number(`${sign}${since}`) + Number(value) - Number(iat);
      return `${key}<seconds:${step}${seconds < 0 ? "-" : "+"}${Math.abs(seconds)}s>`;
    });
    return this.text(`${header} ${written}`);
  }

  /** What is random in new keys becomes `<jwk:N:member+L>`, `<jwk:N:member>` if nobody may see it, or `<encrypted:N>`. */
  private learnKeys(rows: Tables) {
    for (const key of this.keys.learn(rows)) {
      if (Object.values(key.public).some((value) => this.said.includes(value))) continue;
      this.name(key, Object.keys(key.private).length > 0);
    }
  }

  private name(key: SigningKey, isWhole: boolean) {
    const number = (this.counts.get("jwk") ?? 0) + 1;
    this.counts.set("jwk", number);
    for (const [member, value] of Object.entries(key.public)) this.placeholders.set(value, `<jwk:${number}:${member}+${value.length}>`);
    if (!isWhole) return;
    for (const [member, value] of Object.entries(key.private)) this.placeholders.set(value, `<jwk:${number}:${member}>`);
    this.facts.push(`the private key is ${this.text(key.written)}`);
    if (key.encrypted !== undefined) this.placeholder("encrypted", key.encrypted);
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

  /** A value of the secondary storage; one that is a number and nothing else may be an instant. */
  private keptText(value: string): string {
    const time = /^\d{13}$/.test(value) ? this.time(Number(value)) : undefined;
    return time ? `<millis:${time.slice(1)}` : this.cacheText(value);
  }

  /**
   * When a key ends: with what it holds, if that says so and it is about then, else when it did before, else so many
   * seconds after this step.
   */
  private end(key: string, value: string, at: number): Cell {
    const said = [...value.matchAll(/"expiresAt":(?:"([^"]+)"|(\d{13}))/g)].map(([, iso, millis]) => (iso === undefined ? Number(millis) : Date.parse(iso)));
    const near = said.filter((time) => at <= time + CLOCK_SLACK && at >= time - KEY_SLACK);
    const known = this.ends.get(key);
    // Another instant was put there with an end of its own, however soon after; a count keeps the one it has.
    const isAnother = known !== undefined && known.value !== value && /^\d{13}$/.test(value);
    const before = known && !isAnother && Math.abs(known.at - at) <= SAME_END ? known.text : undefined;
    const text = near.length > 0 ? this.instant(Math.max(...near)) : (before ?? this.sinceThisStep(at));
    if (text === undefined) return at;
    this.ends.set(key, { at, text, value });
    return text;
  }

  /** An instant that a text says, which the scenario may have made up. */
  private instant(at: number): string {
    const iso = new Date(at).toISOString();
    return this.literals.has(iso) ? iso : (this.time(at) ?? iso);
  }

  private signatureHolds(value: string, signature: string): boolean {
    const right = createHmac("sha256", this.secret).update(value, "utf8").digest("base64");
    return right === signature;
  }

  /** `undefined` when no whole number of seconds leads from this step to the time. */
  private time(milliseconds: number): string | undefined {
    const known = this.times.get(milliseconds);
    if (known) return known;
    const made = this.sinceThisStep(milliseconds);
    if (made !== undefined) this.times.set(milliseconds, made);
    return made;
  }

  /** The moment as so many seconds after this step or before it. */
  private sinceThisStep(milliseconds: number): string | undefined {
    const [started, ended] = this.window;
    const seconds = roundest(Math.ceil((milliseconds - ended - CLOCK_SLACK) / 1000), Math.floor((milliseconds - started + CLOCK_SLACK) / 1000));
    if (seconds === undefined || Math.abs(seconds) > FARTHEST) return undefined;
    return `<step${this.number}${seconds < 0 ? "-" : "+"}${Math.abs(seconds)}s>`;
  }

  /** As `time`, for what is written in whole seconds: those that had passed when the step was handled, and so many more. */
  private second(value: number): string | undefined {
    const [started, ended] = this.window;
    const seconds = roundest(value - Math.floor((ended + CLOCK_SLACK) / 1000), value - Math.floor((started - CLOCK_SLACK) / 1000));
    return seconds === undefined ? undefined : `step${this.number}${seconds < 0 ? "-" : "+"}${Math.abs(seconds)}s`;
  }

  /** Remembers every time there is in the rows. */
  private learnTimes(rows: Tables) {
    for (const row of Object.values(rows).flat()) {
      for (const value of Object.values(row)) {
        if (typeof value !== "string") continue;
        if (isTime(value)) this.stored.add(Date.parse(value));
        else {
          for (const [match] of value.matchAll(ISO_TIME)) this.stored.add(Date.parse(match));
          for (const [match] of value.matchAll(MILLIS)) this.stored.add(Number(match));
        }
      }
    }
  }

  /** Which of the body's times were never in a row: a rounded or invented time would otherwise pass. */
  private checkBodyTimes(body: string) {
    const matches = [...body.matchAll(/"([A-Za-z]+)":"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z)"/g)];
    for (const [, name, value = ""] of matches) {
      if (!this.stored.has(Date.parse(value))) this.facts.push(timeInNoRow(name ?? ""));
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
    const keyed = rows.map((row) => ({ row, key: `${table} ${identity(table, row)}` }));
    const masked = (row: Row) =>
      JSON.stringify(row)
        .replace(RANDOM, (match) => this.placeholders.get(match) ?? (this.literals.has(match) ? match : "<new>"))
        .replace(UUID, (match) => this.placeholders.get(match) ?? (this.literals.has(match) ? match : "<new>"))
        .replace(PASSWORD_IN_TEXT, "<new>")
        .replace(KEY_IN_TEXT, "<new>")
        .replace(/"lastRequest":"?\d{13}"?/, "<time>")
        .replace(table === SECONDARY ? /\d{13}/g : NOTHING, "<time>")
        .replace(/\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00)/g, "<time>");
    const fresh = keyed.filter(({ key }) => !this.rowOrder.has(key)).map((item) => ({ ...item, mask: masked(item.row) }));
    fresh.sort((left, right) => (left.mask < right.mask ? -1 : left.mask > right.mask ? 1 : 0));
    for (const { key } of fresh) this.rowOrder.set(key, this.rowOrder.size);
    keyed.sort((left, right) => (this.rowOrder.get(left.key) ?? 0) - (this.rowOrder.get(right.key) ?? 0));
    if (table === SECONDARY) return keyed.map(({ row }) => this.kept(row as unknown as StoredValue));
    return keyed.map(({ row }) => Object.fromEntries(Object.entries(row).map(([column, value]) => [column, this.cell(column, value)])));
  }

  private kept({ key, value, ends }: StoredValue): Row {
    const text = this.keptText(value);
    return { key: this.text(key), value: text, ends: ends === null ? null : this.end(key, value, ends) };
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

const NOTHING = /(?!)/;

/** The ETag of an answer: the first half of the hash of its body, as it was received. */
const entityTag = (body: Body) => `"${createHash("sha256").update(bodyBytes(body)).digest().subarray(0, 16).toString("base64url")}"`;

/** What tells a row from every other, also when it changes. */
function identity(table: string, row: Row): string {
  const column = table === SECONDARY ? row.key : row.id;
  return typeof column === "string" || typeof column === "number" ? String(column) : JSON.stringify(row);
}

/** A member of a key as JSON within JSON, or what is encrypted. */
const KEY_IN_TEXT = /(?<=\\"[xyndpq][pqi]?\\":\\")[\w-]+|[0-9a-f]{82,}/g;

const PASSWORD_IN_TEXT = /[0-9a-f]{32}:[0-9a-f]{128}/g;

const isTime = (value: string) => POSTGRES_TIME.test(value) || new RegExp(`^${ISO_TIME.source}$`).test(value);

function roundness(seconds: number): number {
  if (seconds === 0) return 5;
  return [1, 60, 3600, 86_400].filter((unit) => seconds % unit === 0).length;
}

/** Of the whole numbers from `first` to `last` the one that people would have chosen. */
function roundest(first: number, last: number): number | undefined {
  let best: number | undefined;
  for (let seconds = first; seconds <= last; seconds += 1) {
    if (best === undefined || roundness(seconds) > roundness(best)) best = seconds;
  }
  return best;
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
