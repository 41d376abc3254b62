/** The session as a cookie remembers it: when it answers, when it is passed over, set, renewed and taken back. */
import { createHmac } from "node:crypto";
import { getCookieCache } from "better-auth/cookies";
import { listedWhileThere } from "../lib/intents.ts";
import { area, options, PASSWORD, scenario, SECRET, signed, type Reply, type Scenario, type Stage } from "../lib/scenario.ts";
import type { Change, Database, Header, Intent, Json, Options } from "../lib/types.ts";

type Strategy = "compact" | "jwt" | "jwe";

const GET = "GET /get-session";
const POST = "POST /get-session";
const ENDPOINTS = ["POST /sign-up/email", "POST /sign-in/email", GET];
const TOKEN = "better-auth.session_token";
const DATA = "better-auth.session_data";
const DAY = 86_400;

const cached = (cookieCache: Options, extra: Options = {}) => options({ ...extra, session: { ...(extra.session as Options | undefined), cookieCache: { enabled: true, ...cookieCache } } });
const covers = (...names: string[]) => ENDPOINTS.flatMap((endpoint) => names.map((name) => `${endpoint}@session.cookieCache.${name}`));
const session = (stage: Stage, cookie: string, query = "") => stage.get(`/get-session${query}`, { cookie });

/** The session's cookie without the one that remembers it. */
const tokenOf = (reply: Reply) => `${TOKEN}=${reply.cookie(TOKEN)}`;

/** Text in which no part is like another. */
const unlike = (length: number) => Array.from({ length: length / 5 + 1 }, (_, index) => `-${(index * 7919) % 9973}`).join("").slice(0, length);

/** What asks for a session, and what each of it shows or changes. */
const GUARDED = ["GET /list-sessions", "GET /list-accounts", "POST /update-user", "POST /update-session", "POST /verify-password", "POST /unlink-account", "POST /revoke-session", "POST /revoke-sessions", "POST /revoke-other-sessions", "POST /change-password"];
const guarded = (...names: string[]) => GUARDED.flatMap((endpoint) => names.map((name) => `${endpoint}@session.cookieCache.${name}`));

const NEW_PASSWORD = "another fine phrase";

const b64 = (text: string) => Buffer.from(text, "utf8").toString("base64url");

async function life(stage: Stage) {
  const first = await stage.signUp("ada@example.com", { image: "https://example.com/\u00fc\u2713 \"\\\n.png" });
  const { strategy } = (stage.scenario.options.session as { cookieCache: { strategy: Strategy } }).cookieCache;
  const read = await getCookieCache(new Headers({ cookie: first.cookies }), { secret: SECRET, strategy, isSecure: false, version: "1" });
  stage.expect(read?.session.token === first.json.token, "upstream's own reader of cookies reads this one");
  await session(stage, first.cookies);
  await session(stage, tokenOf(first));
  await stage.sql(`UPDATE "user" SET "name" = 'Changed'`);
  await session(stage, first.cookies);
  const fresh = await session(stage, first.cookies, "?disableCookieCache=true");
  await session(stage, `${tokenOf(first)}; ${DATA}=${fresh.cookie(DATA)}`);
  await session(stage, first.cookies, "?disableCookieCache=");
  await session(stage, first.cookies, "?disableCookieCache=true&disableRefresh=true");
  await session(stage, first.cookies, "?disableRefresh=true");
  await session(stage, tokenOf(first), "?disableRefresh=true");

  const second = await stage.signIn("ada@example.com");
  await session(stage, `${tokenOf(second)}; ${DATA}=${first.cookie(DATA)}`);
  await session(stage, `${DATA}=${first.cookie(DATA)}`);
  await session(stage, `${TOKEN}=bad; ${DATA}=${first.cookie(DATA)}`);
  await session(stage, `${TOKEN}=${signed("0123456789abcdefghijABCDEFGHIJ00")}; ${DATA}=${first.cookie(DATA)}`);
  await session(stage, `${first.cookies}; ${DATA}=AAAA`);
  await session(stage, `${DATA}=AAAA; ${first.cookies}`);
  await session(stage, `${tokenOf(first)}; ${DATA}="${first.cookie(DATA)}"`);

  await stage.advance(280);
  await session(stage, second.cookies);
  await stage.advance(40);
  await session(stage, second.cookies);
  await session(stage, second.cookies, "?disableRefresh=true");
  await stage.sessions(`DELETE FROM "session"`, () => undefined);
  const third = await stage.signIn("ada@example.com", {}, { cookie: second.cookies });
  await stage.sessions(`DELETE FROM "session"`, () => undefined);
  await session(stage, third.cookies);
  await session(stage, third.cookies, "?disableCookieCache=true");
  await stage.advance(320);
  await session(stage, third.cookies);

  const last = await stage.signIn("ada@example.com");
  await stage.advance(DAY - 200);
  const due = await session(stage, last.cookies);
  await stage.advance(250);
  await session(stage, `${tokenOf(last)}; ${DATA}=${due.cookie(DATA)}`);
  await stage.advance(100);
  await session(stage, `${tokenOf(last)}; ${DATA}=${due.cookie(DATA)}`);
  await stage.post("/sign-out", undefined, { cookie: `${last.cookies}; ${DATA}.0=AAAA` });
  await session(stage, last.cookies);
}

async function notRemembered(stage: Stage) {
  await stage.signUp("ada@example.com", { rememberMe: false });
  const reply = await stage.signIn("ada@example.com", { rememberMe: false });
  await session(stage, reply.cookies);
  await session(stage, reply.cookies, "?disableCookieCache=1");
  await session(stage, tokenOf(reply));
  await stage.advance(50);
  await session(stage, reply.cookies);
  await stage.advance(20);
  await session(stage, reply.cookies);
  await stage.advance(250);
  await session(stage, reply.cookies);
  await stage.signIn("ada@example.com", {}, { cookie: reply.cookies });
}

const strategies = ["compact", "jwt", "jwe"].flatMap((strategy): Scenario[] => [
  scenario(`${strategy}-life`, { clock: true, options: cached({ strategy }), covers: covers("enabled", "strategy") }, life),
  scenario(`${strategy}-not-remembered`, { clock: true, options: cached({ strategy }), covers: covers("strategy") }, notRemembered),
]);

/** A row that is the same on every run, so that cookies made here are too. */
const FIXED_TOKEN = "fixedtokenfixedtokenfixedtoken00";
const FAR = 4_000_000_000;
const ROWS = {
  user: { name: "Fixed", email: "fixed@example.com", emailVerified: true, image: null, createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2026-01-02T03:04:05.678Z", id: "fixeduserfixeduserfixeduserid000" },
  session: { expiresAt: "2099-01-01T00:00:00.000Z", token: FIXED_TOKEN, createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2098-12-31T00:00:00.000Z", ipAddress: "", userAgent: "agent", userId: "fixeduserfixeduserfixeduserid000", id: "fixedsessionfixedsessionfixedid0" },
};

async function fixed(stage: Stage): Promise<void> {
  const { user, session } = ROWS;
  const insert = (truth: string) =>
    `INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt") VALUES ('${user.id}', 'Stored', '${user.email}', ${truth}, '${user.createdAt}', '${user.updatedAt}')`;
  await stage.sql(insert("1"), insert("true"));
  if (stage.scenario.secondary) {
    const kept = { ...user, name: "Stored" };
    return stage.keep({ set: [{ key: session.token, value: JSON.stringify({ session, user: kept }), seconds: 3600 }] });
  }
  return stage.sql(`INSERT INTO "session" ("id", "token", "userId", "expiresAt", "createdAt", "updatedAt", "ipAddress", "userAgent") VALUES ('${session.id}', '${session.token}', '${session.userId}', '${session.expiresAt}', '${session.createdAt}', '${session.updatedAt}', '', 'agent')`);
}

interface Made {
  /** Over the payload's members. */
  change?: { [member: string]: Json | undefined };
  session?: { [member: string]: Json | undefined };
  user?: { [member: string]: Json | undefined };
  expiresAt?: Json;
  secret?: string;
}

function payload({ change = {}, session = {}, user = {} }: Made) {
  return { session: { ...ROWS.session, ...session }, user: { ...ROWS.user, ...user }, updatedAt: 1_767_323_045_678, version: "1", ...change };
}

function compact(made: Made = {}): string {
  const body = payload(made);
  const expiresAt = made.expiresAt ?? FAR * 1000;
  const signature = createHmac("sha256", made.secret ?? SECRET).update(JSON.stringify({ ...body, expiresAt })).digest("base64url");
  return b64(JSON.stringify({ session: body, expiresAt, signature }));
}

function jwt(made: Made = {}, header = '{"alg":"HS256"}'): string {
  const expiry = made.expiresAt === null ? {} : { iat: 1_767_323_045, exp: made.expiresAt ?? FAR };
  const text = `${b64(header)}.${b64(JSON.stringify({ ...payload(made), ...expiry }))}`;
  return `${text}.${createHmac("sha256", made.secret ?? SECRET).update(text).digest("base64url")}`;
}

/** What upstream's own `symmetricEncodeJWT` made of the rows, for sixty years. */
const JWE =
  "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiUzZPZkRWRkNZd014bXJ3a1BkV0RpUkFJV042VWJkTFJRZ3JiVnJERTludyJ9..Ge2mHDv3DQofutuQ0078pw.f45TkTm2DQcWWyuxl6gk662YGXrmipqX7qsKeQrlhKboN3q0QZJ3FP1QilpBqQSx5H1ZMVNXLHdEiBhmlQv1UxF8DzLYKAYVQT8V8wubis6v4Ntcr10_ra4nYp8CzgqjNgQXSMJuhhApEWxhy4_LG0wULvIDpA-DaG_hvIUidYmchSdQ2pbtYUq6zrG_PYvRspTFbCzruTyhmwwlxtnMBccPDLIdNeq-ABy4cqV3AdiJ7C8OHE3-a8DiVq-llkCVzCAgYicfkBLFrJL5bGXIC5f7QD-q1jkZaC17GsfyHTqLrW4RF6FRlQAfpJ_XEH2tYnujPRYugkBn4BLsCf_qDFZ-43nGxnPwLTqZqXvsqd6l9UdPRGE13UB0Sq1SkG6z9HNWItyvvire2NWESenn-sFbLnUDzoafVNA_4EJfrGFm6-1m3lfQAeIOZ2IB0_7M_Z8tVR7vINFkwwW9lmc_cGukrDegw50b0IzwoQPwgid2a7yuOM7DJLJ7_BoVTgJhlG9MWTuoyJKHFDnJGGaiB3StfaHsVOKj5KdladtQsHGMnT49AyLvGZkm2ZkDiwNNQrBT2CFLpekzWt7d-wnmRynex0IwuUZPKTtPhyIN1NBUFvUPCa0GPR0VnCkkbjTaVQOBdg7OqTHZ7sXmT9_Y7bssmDyO2QTpqd4ik2Cpoocyil6Yq5w8LIJADF0562tkQ1a8wGIjccCvYJ3b_nrXNxF0WuX73mzKNgCSYg3PVszsd6bLHp9scPI-5H9RhdQtPdyvh70DMKwfm9T4BpcDC7cNATyhajGjBS2iMSRh_LkYZzxCaaugJOT3l1qwJI5Y.e5IJVtwJXfMtlqZ5KSe-WksfhvdkJX67nNxPXDhFjLU";

/** What Narthex answers where upstream gives up: the stored rows, and a new cookie in place of the damaged one. */
function forgotten(step: string, count: number): Change {
  const body = JSON.stringify({ session: ROWS.session, user: { ...ROWS.user, name: "Stored" } });
  return {
    status: 200,
    headers: [
      ["cache-control", "no-store"],
      ["content-type", "application/json"],
      ["pragma", "no-cache"],
      ["set-cookie", `${DATA}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax`],
      ["set-cookie", `${DATA}=<cache:${count}:0+844>; Max-Age=300; Path=/; HttpOnly; SameSite=Lax`],
    ],
    body,
    caches: [`compact {"session":${body.slice(0, -1)},"updatedAt":<millis:${step}+0s>,"version":"1"},"expiresAt":<millis:${step}+300s>}`],
  };
}

const MADE: Made[] = [
  {},
  { session: { token: "another0another0another0another0" } },
  { session: { expiresAt: "2020-01-01T00:00:00.000Z" } },
  { session: { expiresAt: "never" } },
  { session: { expiresAt: undefined } },
  { session: { userAgent: null, ipAddress: "203.0.113.9" } },
  { session: { id: 1 } },
  { session: { token: undefined } },
  { user: { name: undefined } },
  { user: { name: null } },
  { user: { emailVerified: "true" } },
  { user: { email: 5 } },
  { user: { image: "https://example.com/x.png" } },
  { change: { version: "2" } },
  { change: { version: "" } },
  { change: { version: undefined } },
  { change: { version: 1 } },
  { change: { updatedAt: undefined } },
  { change: { updatedAt: "2026-01-02T03:04:05.678Z" } },
  { change: { user: null } },
  { change: { session: "session" } },
  { change: { more: { any: ["thing"] } } },
  { secret: "another secret that is also long enough" },
];

const FIELDS: { user: Options; session: Options } = {
  user: { additionalFields: { nickname: { type: "string", required: false }, born: { type: "date", required: false }, secret: { type: "string", required: false, returned: false, defaultValue: "hidden" } } },
  session: { additionalFields: { theme: { type: "string", required: false }, visits: { type: "number", required: false, defaultValue: 0 }, note: { type: "string", required: false, returned: false } } },
};

/** A field of every type. */
const KINDS: Options = {
  nickname: { type: "string", required: false },
  level: { type: ["beginner", "advanced"], required: false, fieldName: "experience_level" },
  age: { type: "number", required: false },
  subscribed: { type: "boolean", required: false },
  born: { type: "date", required: false },
  settings: { type: "json", required: false },
  tags: { type: "string[]", required: false },
  scores: { type: "number[]", required: false },
};

const asked = (strategy: string, more: Options = {}, session: Options = {}) => cached({ strategy, ...more }, { user: FIELDS.user, session: { ...FIELDS.session, ...session } });

/** What needs a session, and leaves the password and the session as they are. */
async function ask(stage: Stage, cookie: string, differs?: Intent) {
  const extras = { cookie, ...(differs ? { differs } : {}) };
  await stage.get("/list-sessions", extras);
  await stage.get("/list-accounts", extras);
  await stage.post("/unlink-account", { accountId: "unknown" }, extras);
  await stage.post("/update-user", { nickname: "Countess" }, extras);
  await stage.post("/update-user", {}, extras);
  await stage.post("/update-session", { theme: "dark", note: "noted" }, extras);
  await stage.post("/revoke-session", { token: "unknown" }, extras);
}

/** What upstream leaves out of the cookies that are set before the endpoint is reached, all but the last. */
const whole = (...lines: string[]): Intent => ({
  decision: "cookies-of-guards",
  narthex: ({ headers }) => {
    const first = headers.findIndex(([name]) => name === "set-cookie");
    return { headers: headers.toSpliced(first, 0, ...lines.map((line): Header => ["set-cookie", `${line}; Path=/; HttpOnly; SameSite=Lax`])) };
  },
});
const forgets = (...pieces: number[]) => whole(...pieces.map((piece) => `${DATA}.${piece}=; Max-Age=0`));

const verify = (stage: Stage, cookie: string, password = PASSWORD) => stage.post("/verify-password", { password }, { cookie });
const change = (stage: Stage, cookie: string, currentPassword: string, newPassword: string, revokeOtherSessions?: true) =>
  stage.post("/change-password", { currentPassword, newPassword, ...(revokeOtherSessions ? { revokeOtherSessions } : {}) }, { cookie });
const revoke = (stage: Stage, which: "other-sessions" | "sessions", cookie: string) => stage.post(`/revoke-${which}`, undefined, { cookie });

async function guards(stage: Stage) {
  await stage.signUp("ada@example.com");
  const ended = await stage.signIn("ada@example.com");
  const { cookies } = await stage.signIn("ada@example.com");
  await stage.sql(`UPDATE "user" SET "name" = 'Changed'`);
  await ask(stage, ended.cookies);
  await verify(stage, ended.cookies);
  await revoke(stage, "other-sessions", cookies);
  await ask(stage, ended.cookies);
  await verify(stage, ended.cookies);
  await change(stage, ended.cookies, PASSWORD, NEW_PASSWORD);
  await revoke(stage, "other-sessions", ended.cookies);
  await revoke(stage, "sessions", ended.cookies);

  await stage.advance(320);
  await ask(stage, cookies);
  await verify(stage, cookies, "a wrong password");
  await ask(stage, cookies.replace(/; .*/, ""));
  await stage.get("/list-accounts?disableCookieCache=1", { cookie: cookies });
  await stage.get("/list-accounts?disableRefresh=1", { cookie: cookies });
  await revoke(stage, "other-sessions", cookies);
  const changed = await change(stage, cookies, PASSWORD, NEW_PASSWORD, true);
  await ask(stage, changed.cookies);
  await stage.post("/revoke-session", { token: String(changed.json.token) }, { cookie: changed.cookies });

  const short = await stage.signIn("ada@example.com", { password: NEW_PASSWORD, rememberMe: false });
  await ask(stage, short.cookies);
  await stage.advance(320);
  await ask(stage, short.cookies);
  await revoke(stage, "sessions", short.cookies);
  await stage.get("/list-sessions", { cookie: short.cookies });
}

async function deferred(stage: Stage) {
  const reply = await stage.signUp("ada@example.com");
  const post = (cookie: string, query = "") => stage.post(`/get-session${query}`, undefined, { cookie });
  await session(stage, reply.cookies);
  await session(stage, tokenOf(reply));
  await post(reply.cookies);
  await post(tokenOf(reply));
  await stage.advance(350);
  await post(reply.cookies);
  await stage.advance(DAY - 320);
  await session(stage, reply.cookies);
  await post(reply.cookies, "?disableRefresh=1");
  await post(reply.cookies);
}

export default area("cookie-cache", [
  ...strategies,

  ...["compact", "jwt", "jwe"].map((strategy) => scenario(`${strategy}-guards`, { clock: true, differs: listedWhileThere, options: asked(strategy), covers: guarded("enabled", "strategy") }, guards)),

  scenario("guards-short-and-of-another-version", { clock: true, options: asked("compact", { maxAge: 60, version: "2" }, { freshAge: 0 }), covers: guarded("maxAge", "version") }, async (stage) => {
    await fixed(stage);
    await stage.sql(`INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt") VALUES ('fixedaccountfixedaccountfixedid00', 'fixed', 'github', '${ROWS.user.id}', '${ROWS.user.createdAt}', '${ROWS.user.createdAt}')`);
    for (const version of ["2", "1"]) await ask(stage, `${TOKEN}=${signed(FIXED_TOKEN)}; ${DATA}=${compact({ change: { version } })}`);
    const reply = await stage.signUp("ada@example.com");
    await ask(stage, reply.cookies);
    await verify(stage, reply.cookies);
    await stage.advance(70);
    await ask(stage, reply.cookies);
    await revoke(stage, "other-sessions", reply.cookies);
    const changed = await change(stage, reply.cookies, PASSWORD, NEW_PASSWORD, true);
    await revoke(stage, "sessions", changed.cookies);
  }),

  ...Object.entries<[Options, Database[]]>({ "": [{ age: 36, scores: [1, 2] }, ["sqlite", "postgres"]], "-and-fractions": [{ age: 36.5, scores: [1.5, -2e-7] }, ["sqlite"]] }).map(([ending, [numbers, databases]]) =>
    scenario(`every-kind${ending}`, { databases, options: cached({}, { user: { additionalFields: KINDS } }), covers: [] }, async (stage) => {
      const { cookies } = await stage.signUp("ada@example.com", { ...numbers, nickname: "\u00fc\u2713 \"\\\n", level: "advanced", subscribed: true, born: "1815-12-10T12:00:00.000Z", settings: { a: [1, null, { b: "c" }] }, tags: ["x", "y"] });
      await session(stage, cookies);
      await stage.get("/list-accounts", { cookie: cookies });
      const updated = await stage.post("/update-user", { nickname: null, subscribed: false, settings: [] }, { cookie: cookies });
      await session(stage, updated.cookies);
      await stage.sql(`DELETE FROM "user"`);
      const unknown = await stage.post("/update-user", { born: "1852-11-27T00:00:00.000Z", tags: [], ...numbers }, { cookie: updated.cookies });
      await session(stage, unknown.cookies);
    }),
  ),

  // Only the cookie still knows them.
  scenario("guards-of-who-is-gone", { options: asked("compact"), covers: [] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", { nickname: "Countess", image: "https://example.com/a.png" });
    await stage.sql(`DELETE FROM "account"`);
    await stage.sessions(`DELETE FROM "session"`, () => undefined);
    await stage.sql(`DELETE FROM "user"`);
    await stage.post("/update-user", { name: "Ada Lovelace", image: null }, { cookie: reply.cookies });
    await stage.post("/update-user", { born: "1815-12-10T00:00:00.000Z", nickname: null, secret: "x" }, { cookie: reply.cookies });
    const renamed = await stage.post("/update-user", { nickname: "A", name: "B" }, { cookie: reply.cookies });
    await session(stage, `${tokenOf(reply)}; ${DATA}=${renamed.cookie(DATA)}`);
    // Made before there were these fields.
    await stage.post("/update-user", { nickname: "A", name: "B" }, { cookie: `${TOKEN}=${signed(FIXED_TOKEN)}; ${DATA}=${compact()}` });
    await ask(stage, reply.cookies);
    await verify(stage, reply.cookies);
  }),

  scenario("guards-renewed", { clock: true, options: asked("compact"), covers: [] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    // Beside a secondary storage other randomness comes first.
    const [cookie, number] = [reply.cookies, stage.scenario.secondary ? 3 : 1];
    const differs = whole(`${TOKEN}=<rand32:${number}>.<sig:1>; Max-Age=604800`);
    const renewals: (() => Promise<Reply>)[] = [
      () => stage.get("/list-accounts", { cookie, differs }),
      () => stage.post("/verify-password", { password: PASSWORD }, { cookie: tokenOf(reply), differs }),
      () => stage.post("/update-user", { nickname: "Countess" }, { cookie, differs }),
      () => stage.post("/update-session", { theme: "dark" }, { cookie, differs }),
      () => stage.post("/revoke-other-sessions", undefined, { cookie, differs }),
      () => stage.get("/list-sessions", { cookie }),
    ];
    for (const renewal of renewals) {
      await stage.advance(DAY + 30);
      await renewal();
    }
  }),

  scenario("guards-in-pieces", { clock: true, options: asked("compact"), covers: [] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com", { image: unlike(6000) });
    stage.expect(cookie.includes(`${DATA}.2=`), "there are three pieces");
    await stage.get("/list-sessions", { cookie });
    await stage.post("/update-session", { theme: "dark" }, { cookie });
    await stage.post("/update-user", { nickname: "Countess" }, { cookie });
    await stage.post("/update-user", { image: null }, { cookie });
    await stage.advance(320);
    await stage.get("/list-accounts", { cookie, differs: forgets(0, 1, 2) });
    await stage.post("/update-session", { theme: "light" }, { cookie, differs: forgets(0, 1, 2) });
    await stage.get("/list-accounts", { cookie: `${cookie}; ${DATA}=AAAA`, differs: forgets(0, 1, 2) });
  }),

  scenario("guards-without-a-cache", { clock: true, options: options(FIELDS), covers: [] }, async (stage) => {
    const { cookies } = await stage.signUp("ada@example.com");
    const pieces = `${cookies}; ${DATA}.0=AAAA; ${DATA}.1=AAAA`;
    await ask(stage, `${cookies}; ${DATA}=AAAA`);
    await ask(stage, pieces, forgets(0));
    await stage.advance(DAY + 30);
    await stage.get("/list-accounts", { cookie: pieces, differs: forgets(0, 1) });
    await stage.get("/list-sessions", { cookie: pieces });
  }),

  scenario("compact-made-by-hand", { options: cached({}), covers: [`${GET}@session.cookieCache.enabled`] }, async (stage) => {
    await fixed(stage);
    const token = `${TOKEN}=${signed(FIXED_TOKEN)}`;
    for (const made of [...MADE, { expiresAt: 1_000 }, { expiresAt: "4000000000000" }]) await session(stage, `${token}; ${DATA}=${compact(made)}`);
    const good = compact();
    const [left, right] = [good.slice(0, 500), good.slice(500)];
    for (const cookies of [
      `${DATA}.0=${left}; ${DATA}.1=${right}`,
      `${DATA}.1=${right}; ${DATA}.0=${left}`,
      `${DATA}.3=${left}; ${DATA}.12=${right}`,
      `${DATA}.0=${left}; ${DATA}.01=${right}; ${DATA}.1=${right}`,
      `${DATA}.0=${right}; ${DATA}.1=${left}`,
      `${DATA}=; ${DATA}.0=${left}; ${DATA}.1=${right}`,
      `${DATA}=${good}; ${DATA}.0=${left}`,
      `${DATA}=; ${DATA}.0=`,
      `${DATA}=e30; ${DATA}.0=${left}; ${DATA}.1=${right}`,
      `${DATA}=${b64("[]")}`,
      `${DATA}=${b64("null")}`,
      `${DATA}=${b64('{"session":{},"expiresAt":4000000000000}')}`,
      `${DATA}=${b64('{"session":{},"expiresAt":4000000000000,"signature":""}')}`,
      `${DATA}=${good.slice(0, -1)}`,
      `${DATA}=${jwt().replaceAll(".", "")}`,
    ]) await session(stage, `${token}; ${cookies}`);
    await session(stage, `${token}; ${DATA}=${good}`, "?disableCookieCache=yes");
    await session(stage, `${DATA}=${good}`);
    await stage.post("/sign-out", undefined, { cookie: `${token}; ${DATA}=${good}` });
    await session(stage, `${token}; ${DATA}=${good}`);
  }),

  scenario("compact-not-base64", { options: cached({}), covers: [`${GET}@session.cookieCache.enabled`] }, async (stage) => {
    await fixed(stage);
    const good = compact();
    const values = ["AAA*", `${good}~`, b64('{"session":{},"expiresAt":4000000000000,"signature":"?"}')];
    for (const [index, value] of values.entries()) {
      const [step, count] = [`step${index + 3}`, index + 1];
      await stage.get("/get-session", { cookie: `${TOKEN}=${signed(FIXED_TOKEN)}; ${DATA}=${value}`, differs: { decision: "damaged-cache-cookies", narthex: forgotten(step, count) } });
    }
  }),

  scenario("jwt-made-by-hand", { options: cached({ strategy: "jwt" }), covers: [`${GET}@session.cookieCache.strategy`] }, async (stage) => {
    await fixed(stage);
    const token = `${TOKEN}=${signed(FIXED_TOKEN)}`;
    for (const made of [...MADE, { expiresAt: 1_000 }, { expiresAt: "4000000000" }, { change: { nbf: FAR } }, { change: { nbf: 1_000 } }]) await session(stage, `${token}; ${DATA}=${jwt(made)}`);
    for (const header of ['{"alg":"none"}', '{"alg":"RS256"}', '{"alg":"HS256","typ":"JWT","kid":"x"}', '{"alg":"HS256","crit":["x"],"x":1}', "{}"]) await session(stage, `${token}; ${DATA}=${jwt({}, header)}`);
    const good = jwt();
    for (const value of [compact(), "x", "x.y.z", "...", `${good}.`, good.slice(0, -2), good.replace(".", ".."), good.split(".").slice(0, 2).join("."), `${good.split(".").slice(0, 2).join(".")}.`]) await session(stage, `${token}; ${DATA}=${value}`);
  }),

  scenario("jwe-made-by-hand", { options: cached({ strategy: "jwe" }), covers: [`${GET}@session.cookieCache.strategy`] }, async (stage) => {
    await fixed(stage);
    const token = `${TOKEN}=${signed(FIXED_TOKEN)}`;
    for (const value of [JWE, JWE.replace(/.$/, ""), `${JWE}A`, JWE.replace("..", ".AA."), JWE.slice(0, 40), compact(), jwt(), "x", "....", `${b64('{"alg":"dir","enc":"A256CBC-HS512"}')}....`]) await session(stage, `${token}; ${DATA}=${value}`);
  }),

  scenario("versions", { options: cached({ version: "2" }), covers: covers("version") }, async (stage) => {
    await fixed(stage);
    const token = `${TOKEN}=${signed(FIXED_TOKEN)}`;
    for (const version of ["2", "1", "", undefined, 2]) await session(stage, `${token}; ${DATA}=${compact({ change: { version } })}`);
    const reply = await stage.signUp("ada@example.com");
    await session(stage, reply.cookies);
    const again = await stage.signIn("ada@example.com");
    await session(stage, again.cookies);
  }),

  scenario("lifetimes", { clock: true, options: cached({ maxAge: 60, refreshCache: true }), covers: [...covers("maxAge"), `${GET}@session.cookieCache.refreshCache`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.signIn("ada@example.com");
    await stage.sql(`UPDATE "user" SET "name" = 'Changed'`);
    await stage.advance(55);
    await session(stage, reply.cookies);
    await stage.advance(10);
    await session(stage, reply.cookies);
  }),

  scenario("longer-than-the-session", { clock: true, options: cached({ maxAge: 1000, refreshCache: { updateAge: 10 } }, { session: { expiresIn: 100, updateAge: 100 } }), covers: covers("maxAge") }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.signIn("ada@example.com");
    await stage.advance(90);
    await session(stage, reply.cookies);
    await stage.advance(20);
    await session(stage, reply.cookies);
  }),

  scenario("deferred-refresh", { clock: true, options: cached({}, { session: { deferSessionRefresh: true } }), covers: [`${POST}@session.cookieCache.enabled`] }, deferred),
  ...["jwt", "jwe"].map((strategy) =>
    scenario(`deferred-refresh-${strategy}`, { clock: true, options: cached({ strategy, maxAge: 420, version: "2" }, { session: { deferSessionRefresh: true } }), covers: ["strategy", "maxAge", "version"].map((name) => `${POST}@session.cookieCache.${name}`) }, deferred),
  ),

  scenario("always-refreshed", { options: cached({}, { session: { updateAge: 0 } }), covers: [GET] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await session(stage, reply.cookies);
    await session(stage, tokenOf(reply));
    await session(stage, reply.cookies, "?disableCookieCache=1");
    await session(stage, reply.cookies, "?disableCookieCache=1&disableRefresh=1");
  }),

  scenario("names-and-attributes", { options: cached({ maxAge: 120 }, { baseURL: "https://auth.example.com", advanced: { crossSubDomainCookies: { enabled: true }, cookies: { session_data: { name: "data", attributes: { maxAge: 90, sameSite: "none", partitioned: true } } } } }), covers: ["POST /sign-out@session.cookieCache.enabled"] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await session(stage, reply.cookies);
    await session(stage, `__Secure-${TOKEN}=${reply.cookie(`__Secure-${TOKEN}`)}; __Secure-data=AAAA`);
    await stage.signIn("ada@example.com", { rememberMe: false });
    await stage.post("/sign-out", undefined, { cookie: `${reply.cookies}; __Secure-data.0=AAAA` });
  }),

  ...["compact", "jwe"].map((strategy) =>
    scenario(`${strategy}-in-pieces`, { options: cached({ strategy }), covers: covers("strategy") }, async (stage) => {
      // Lengths around the one at which a second piece is needed.
      for (const length of [2100, 2200, 2250, 2300, 2350]) {
        const reply = await stage.signUp(`a${length}@example.com`, { image: unlike(length) });
        await session(stage, reply.cookies);
      }
      const long = await stage.signUp("long@example.com", { image: unlike(6000) });
      await session(stage, long.cookies);
      const other = await stage.signIn("long@example.com", {}, { cookie: long.cookies });
      await session(stage, `${tokenOf(long)}; ${DATA}.0=AAAA; ${DATA}.7=AAAA`);
      await session(stage, long.cookies.replace(`${DATA}.1=`, `${DATA}.5=`));
      await stage.sql(`UPDATE "user" SET "image" = NULL`);
      await session(stage, long.cookies, "?disableCookieCache=1");
      await session(stage, `${long.cookies}; ${DATA}=AAAA`, "?disableCookieCache=1");
      await stage.post("/sign-out", undefined, { cookie: other.cookies });
    }),
  ),

  ...[1000, 3970, 4000].map((length) =>
    scenario(`little-room-${length}`, { options: cached({}, { advanced: { cookies: { session_data: { attributes: { path: `/${"x".repeat(length)}` } } } } }), covers: covers("enabled") }, async (stage) => {
      const reply = await stage.signUp("ada@example.com");
      await stage.signIn("ada@example.com");
      await session(stage, reply.cookies);
      await session(stage, `${tokenOf(reply)}; ${DATA}.1=AAAA`);
    }),
  ),

  scenario("official-client", { options: cached({}), covers: [`${GET}@session.cookieCache.enabled`] }, async (stage) => {
    const client = stage.client();
    await stage.result(client.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada" }));
    await stage.result(client.getSession());
    await stage.result(client.getSession({ query: { disableCookieCache: true } }));
    await stage.result(client.signOut());
    await stage.result(client.getSession());
  }),
]);
