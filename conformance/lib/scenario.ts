/** What scenario files are written with: the stage on which one run of a scenario is played and recorded. */
import { createHmac } from "node:crypto";
import { createAuthClient } from "better-auth/client";
import type { Store } from "./database.ts";
import { bodyBytes, exchange } from "./http.ts";
import type { Secondary } from "./secondary.ts";
import type { Server } from "./servers.ts";
import { type Body, type Database, type Environment, type Header, type Intent, type Json, type Options, type RawRequest, type RawResponse, type RecordedStep, SECONDARY, type SecondaryChange, type Sql, type StoredValue, type Tables } from "./types.ts";

export const SECRET = "conformance-secret-0123456789-abcdefghijklmnop";
export const ORIGIN = "http://localhost:3000";

/** The options nearly every scenario starts from; nested groups are merged, not replaced. */
export function options(extra: Options = {}): Options {
  const base: Options = { baseURL: ORIGIN, secret: SECRET, emailAndPassword: { enabled: true } };
  return merge(base, extra);
}

function merge(left: Options, right: Options): Options {
  const result: Options = { ...left };
  for (const [key, value] of Object.entries(right)) {
    const there = result[key];
    result[key] = isObject(there) && isObject(value) ? merge(there, value) : value;
  }
  return result;
}

const isObject = (value: Json | undefined): value is Options => typeof value === "object" && value !== null && !Array.isArray(value);

export interface Scenario {
  name: string;
  options: Options;
  environment: Environment;
  databases: Database[];
  /** Whether the scenario moves the clock: its servers then run under libfaketime. */
  clock: boolean;
  /** Whether the servers have Redis as their secondary storage, and keep sessions there. */
  secondary: boolean;
  /** Whether it is played a second time with a secondary storage. */
  again: boolean;
  /** A prefix of keys that the scenario is about, or `null` for the one each server has anyway; else the run's own. */
  keyPrefix?: string | null;
  /** Cells of the parity page, `POST /path#ERROR_CODE` or `POST /path@option.path`. */
  covers: string[];
  /** A difference on purpose that shows in many steps; steps it does not change stay as they are. */
  differs?: Intent;
  play: (stage: Stage) => Promise<unknown>;
}

export interface Area {
  area: string;
  scenarios: Scenario[];
}

/**
 * Every scenario that does not say otherwise is played once more, on one database, with a secondary storage, unless the
 * whole area is about no session.
 */
export function area(name: string, scenarios: Scenario[], about: "sessions" | "no sessions" = "sessions"): Area {
  const isAgain = (each: Scenario) => each.again && about === "sessions";
  return { area: name, scenarios: scenarios.flatMap((each) => (isAgain(each) ? [each, withSecondaryStorage(each)] : [each])) };
}

function withSecondaryStorage(scenario: Scenario): Scenario {
  return { ...scenario, name: `${scenario.name}-with-secondary-storage`, secondary: true, again: false, databases: scenario.databases.slice(0, 1) };
}

/** `secondary: false` is a scenario that means nothing with a secondary storage, `true` one that means nothing without. */
type Setting = Partial<Omit<Scenario, "name" | "again" | "play">>;

export function scenario(name: string, setting: Setting, play: (stage: Stage) => Promise<unknown>): Scenario {
  return {
    name,
    options: setting.options ?? options(),
    environment: setting.environment ?? "development",
    databases: setting.databases ?? ["sqlite", "postgres"],
    clock: setting.clock ?? false,
    secondary: setting.secondary ?? false,
    again: setting.secondary === undefined,
    ...(setting.keyPrefix !== undefined ? { keyPrefix: setting.keyPrefix } : {}),
    covers: setting.covers ?? [],
    ...(setting.differs ? { differs: setting.differs } : {}),
    play,
  };
}

/** Where the scenario's server is mounted: a path in baseURL wins over basePath. */
export function baseOf(scenario: Scenario): URL {
  const { baseURL, basePath } = scenario.options;
  const url = new URL(String(baseURL ?? ORIGIN));
  if (url.pathname === "/") url.pathname = String(basePath ?? "/api/auth");
  url.pathname = url.pathname.replace(/\/+$/, "");
  return url;
}

export interface Extras {
  headers?: Header[] | { [name: string]: string };
  /** The Cookie header. An Origin header is added beside it unless `headers` has one; see `origin`. */
  cookie?: string;
  /** `false`: no Origin header is added beside a cookie. */
  origin?: false;
  form?: { [name: string]: string };
  json?: Json;
  /** Sent as it is, with the content type given in `headers`. */
  text?: Body;
  differs?: Intent;
}

export class Reply {
  constructor(
    readonly status: number,
    readonly headers: Header[],
    readonly body: Body,
  ) {}

  get text(): string {
    return bodyBytes(this.body).toString("utf8");
  }

  // Scenarios read replies they have just recorded; a wrong shape throws and is reported as a failure.
  get json(): any {
    return JSON.parse(this.text);
  }

  /** A cookie's value exactly as set, still percent-encoded. */
  cookie(name: string): string {
    const found = this.headers.find(([key, value]) => key === "set-cookie" && value.startsWith(`${name}=`));
    if (!found) throw new Error(`the reply (${this.status} ${this.text}) sets no cookie ${name}`);
    return found[1].slice(name.length + 1).split(";")[0] ?? "";
  }

  /** All cookies the reply set, as a browser would send them back. */
  get cookies(): string {
    const jar = new Jar();
    jar.take(this.headers);
    return jar.header;
  }
}

export class Jar {
  private readonly values = new Map<string, string>();

  take(headers: Header[]) {
    for (const [name, value] of headers) {
      if (name !== "set-cookie") continue;
      const [, key = "", content = "", attributes = ""] = /^([^=]*)=([^;]*)(.*)$/s.exec(value) ?? [];
      if (/;\s*Max-Age=0\b/i.test(attributes)) this.values.delete(key);
      else this.values.set(key, content);
    }
  }

  get header(): string {
    return [...this.values].map(([name, value]) => `${name}=${value}`).join("; ");
  }
}

/** The secret that cookies are signed with: the first of several. */
export function signingSecret(options: Options): string {
  const { secret, secrets } = options as { secret?: string; secrets?: { value: string }[] };
  return secrets?.[0]?.value ?? secret ?? "";
}

/** A cookie value signed as the servers sign it, percent-encoded. */
export function signed(value: string, secret = SECRET): string {
  return encodeURIComponent(`${value}.${createHmac("sha256", secret).update(value, "utf8").digest("base64")}`);
}

export class Stage {
  readonly steps: RecordedStep[] = [];
  private queue: Promise<unknown> = Promise.resolve();
  private last = 0;

  constructor(
    readonly scenario: Scenario,
    readonly database: Database,
    private readonly server: Server,
    private readonly store: Store,
    private readonly secondary?: Secondary,
  ) {}

  get baseURL(): string {
    return baseOf(this.scenario).href;
  }

  get basePath(): string {
    return baseOf(this.scenario).pathname;
  }

  get host(): string {
    return baseOf(this.scenario).host;
  }

  /** Sends exactly this, apart from Host and Content-Length, which are added unless listed. */
  send(request: RawRequest, differs?: Intent): Promise<Reply> {
    const next = this.queue.then(() => this.record(request, differs));
    this.queue = next.catch(() => undefined);
    return next;
  }

  private async record(request: RawRequest, own?: Intent): Promise<Reply> {
    const differs = own ?? this.scenario.differs;
    // Two steps share no millisecond, so that a time belongs to one of them.
    while (Date.now() <= this.last) await new Promise((resolve) => setTimeout(resolve, 1));
    const started = Date.now() + this.server.offset();
    const response: RawResponse = await exchange(this.server.port, this.host, request);
    const ended = Date.now() + this.server.offset();
    this.last = Date.now();
    const rows = await this.rows();
    this.steps.push({ kind: "exchange", request, response, started, ended, rows, ...(differs ? { differs } : {}) });
    return new Reply(response.status, response.headers, response.body);
  }

  request(method: string, path: string, extras: Extras = {}): Promise<Reply> {
    const headers: Header[] = Array.isArray(extras.headers) ? [...extras.headers] : Object.entries(extras.headers ?? {});
    const has = (name: string) => headers.some(([key]) => key.toLowerCase() === name);
    let body: Body = extras.text ?? null;
    if (extras.json !== undefined) {
      body = JSON.stringify(extras.json);
      if (!has("content-type")) headers.push(["content-type", "application/json"]);
    } else if (extras.form) {
      body = new URLSearchParams(extras.form).toString();
      if (!has("content-type")) headers.push(["content-type", "application/x-www-form-urlencoded"]);
    }
    if (extras.cookie !== undefined) {
      headers.push(["cookie", extras.cookie]);
      if (method !== "GET" && method !== "HEAD" && extras.origin !== false && !has("origin")) {
        headers.push(["origin", new URL(this.baseURL).origin]);
      }
    }
    return this.send({ method, target: `${this.basePath}${path}`, headers, body }, extras.differs);
  }

  get(path: string, extras: Extras = {}): Promise<Reply> {
    return this.request("GET", path, extras);
  }

  post(path: string, json?: Json, extras: Extras = {}): Promise<Reply> {
    return this.request("POST", path, json === undefined ? extras : { ...extras, json });
  }

  /** Sign-up with the usual body; fields in `more` are added or replace. */
  signUp(email: string, more: { [key: string]: Json } = {}, extras: Extras = {}): Promise<Reply> {
    return this.post("/sign-up/email", { email, password: PASSWORD, name: "Ada", ...more }, extras);
  }

  signIn(email: string, more: { [key: string]: Json } = {}, extras: Extras = {}): Promise<Reply> {
    return this.post("/sign-in/email", { email, password: PASSWORD, ...more }, extras);
  }

  /** What is in the tables, and beside them in the secondary storage. */
  private async rows(): Promise<Tables> {
    const rows = await this.store.rows();
    if (!this.secondary) return rows;
    const offset = this.server.offset();
    const kept = (await this.secondary.values()).map(({ key, value, ends }) => ({ key, value, ends: ends === null ? null : ends + offset }));
    return { ...rows, [SECONDARY]: kept };
  }

  async advance(seconds: number): Promise<void> {
    this.server.advance(seconds);
    await this.secondary?.age(seconds);
    this.steps.push({ kind: "advance", seconds });
  }

  /** Changes the database behind the server's back, in each dialect. */
  async sql(sqlite: string, postgres: string = sqlite): Promise<void> {
    const sql: Sql = { sqlite, postgres };
    await this.store.execute(sql[this.database]);
    this.steps.push({ kind: "sql", sql, rows: await this.rows() });
  }

  /** What the secondary storage holds at the moment, by its keys. */
  async kept(): Promise<Map<string, string>> {
    const values: StoredValue[] = (await this.secondary?.values()) ?? [];
    return new Map(values.map(({ key, value }) => [key, value]));
  }

  /** Changes the secondary storage behind the server's back. */
  async keep(change: SecondaryChange): Promise<void> {
    const started = Date.now() + this.server.offset();
    await this.secondary?.change(change);
    const ended = Date.now() + this.server.offset();
    this.steps.push({ kind: "secondary", change, started, ended, rows: await this.rows() });
  }

  /**
   * Changes sessions behind the server's back, wherever they are: with a statement, or each that the secondary storage
   * holds, which `edit` says. One that it answers nothing for is removed.
   */
  async sessions(statement: string, edit: (session: { [field: string]: Json }) => { [field: string]: Json } | undefined): Promise<void> {
    if (!this.secondary) return this.sql(statement);
    const change: Required<SecondaryChange> = { set: [], delete: [] };
    const kept = [...(await this.kept())].filter(([, value]) => value.startsWith('{"session":'));
    const sessions = kept.map(([key, value]) => ({ key, value, ...(JSON.parse(value) as { session: { [field: string]: Json } }) }));
    sessions.sort((left, right) => String(left.session.createdAt).localeCompare(String(right.session.createdAt)));
    for (const { key, value, session, ...rest } of sessions) {
      const edited = edit(session);
      const now = JSON.stringify({ session: edited, ...rest });
      if (edited === undefined) change.delete.push(key);
      else if (now !== value) change.set.push({ key, value: now });
    }
    return this.keep(change);
  }

  expect(condition: boolean, message: string): void {
    if (!condition) throw new Error(`expectation failed: ${message}`);
  }

  /** Upstream's own client, in a browser that keeps cookies and sends an Origin header; with `auth`, in a program that does neither. */
  client(settings: { plugins?: unknown[]; headers?: { [name: string]: string }; auth?: { type: "Bearer"; token: () => string } } = {}) {
    const jar = new Jar();
    const customFetchImpl = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
      const url = new URL(input instanceof Request ? input.url : String(input));
      const headers: Header[] = [];
      new Headers(init?.headers).forEach((value, name) => headers.push([name, value]));
      if (settings.auth === undefined) {
        if (jar.header !== "") headers.push(["cookie", jar.header]);
        headers.push(["origin", new URL(this.baseURL).origin]);
      }
      const body = init?.body === undefined || init.body === null ? null : String(init.body);
      const reply = await this.send({ method: init?.method ?? "GET", target: `${url.pathname}${url.search}`, headers, body });
      jar.take(reply.headers);
      const answer = new Headers();
      for (const [name, value] of reply.headers) if (name !== "transfer-encoding") answer.append(name, value);
      return new Response(reply.body === null ? null : reply.text, { status: reply.status, headers: answer });
    };
    return createAuthClient({
      baseURL: this.baseURL,
      plugins: (settings.plugins ?? []) as [],
      fetchOptions: { customFetchImpl: customFetchImpl as typeof fetch, headers: settings.headers ?? {}, ...(settings.auth ? { auth: settings.auth } : {}) },
    });
  }

  /** Records what the official client returned, so that both servers must give it the same. */
  async result<T>(call: Promise<T>): Promise<T> {
    const value = await call;
    this.steps.push({ kind: "client", result: JSON.stringify(value) });
    return value;
  }
}

export const PASSWORD = "correct horse battery";
