/** The session as a cookie remembers it: when it answers, when it is passed over, set, renewed and taken back. */
import { createHmac } from "node:crypto";
import { getCookieCache } from "better-auth/cookies";
import { area, options, PASSWORD, scenario, SECRET, signed, type Reply, type Scenario, type Stage } from "../lib/scenario.ts";
import type { Change, Json, Options } from "../lib/types.ts";

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

export default area("cookie-cache", [
  ...strategies,

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

  scenario("deferred-refresh", { clock: true, options: cached({}, { session: { deferSessionRefresh: true } }), covers: [`${POST}@session.cookieCache.enabled`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const post = (cookie: string, query = "") => stage.post(`/get-session${query}`, undefined, { cookie });
    await session(stage, reply.cookies);
    await session(stage, tokenOf(reply));
    await post(reply.cookies);
    await post(tokenOf(reply));
    await stage.advance(DAY + 30);
    await session(stage, reply.cookies);
    await post(reply.cookies, "?disableRefresh=1");
    await post(reply.cookies);
  }),

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
