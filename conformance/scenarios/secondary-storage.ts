/**
 * What only a secondary storage can show: where sessions are kept besides, what damaged values lead to, lists of
 * sessions, counters of requests. Nearly all other scenarios are played with one as well, see `area` in lib/scenario.ts.
 */
import { errorPage } from "../lib/intents.ts";
import { area, options, PASSWORD, scenario, signed, type Extras, type Stage } from "../lib/scenario.ts";
import { type Change, type Header, type Intent, type Json, type Options, type Row, SECONDARY, type Tables } from "../lib/types.ts";

const GET = "GET /get-session";
const SIGN_UP = "POST /sign-up/email";
const SIGN_IN = "POST /sign-in/email";
const SIGN_OUT = "POST /sign-out";
const LIST = "GET /list-sessions";
const REVOKE = "POST /revoke-session";
const REVOKE_ALL = "POST /revoke-sessions";
const REVOKE_OTHERS = "POST /revoke-other-sessions";
const CHANGE_PASSWORD = "POST /change-password";
const UPDATE_USER = "POST /update-user";
const UPDATE_SESSION = "POST /update-session";
const ENDPOINTS = [SIGN_UP, SIGN_IN, SIGN_OUT, GET, LIST, REVOKE, REVOKE_ALL, REVOKE_OTHERS, CHANGE_PASSWORD, UPDATE_USER, UPDATE_SESSION];
const DAY = 86_400;
const TOKEN = "better-auth.session_token";

const withSession = (session: Options, more: Options = {}) => options({ session, ...more });
const covers = (option: string, endpoints = ENDPOINTS) => endpoints.map((endpoint) => `${endpoint}@${option}`);
const agent = (name: string) => ({ headers: { "user-agent": name } });
const get = (stage: Stage, path: string, cookie: string, extras: Extras = {}) => stage.get(path, { ...extras, cookie });
const post = (stage: Stage, path: string, cookie: string, body: Json = {}, extras: Extras = {}) => stage.post(path, body, { ...extras, cookie });

const fields: Options = {
  theme: { type: "string", required: false },
  visits: { type: "number", required: true, defaultValue: 0 },
  pinned: { type: "boolean", required: false, defaultValue: false, fieldName: "is_pinned" },
  trusted: { type: "boolean", required: false, input: false, defaultValue: true },
  began: { type: "date", required: false, defaultValue: "now" },
  until: { type: "date", required: false },
  note: { type: "string", required: false, returned: false, defaultValue: "hidden" },
};

/** Everything that writes a session, or reads one, or ends it. */
async function life(stage: Stage) {
  const first = await stage.signUp("ada@example.com", {}, agent("first"));
  const eve = await stage.signUp("eve@example.com", { name: "Eve", rememberMe: false }, agent("hers"));
  const second = await stage.signIn("ada@example.com", {}, agent("second"));
  const third = await stage.signIn("ada@example.com", { rememberMe: false }, agent("third"));
  for (const { cookies } of [first, third, eve]) await get(stage, "/get-session", cookies);
  await get(stage, "/list-sessions", second.cookies);
  await post(stage, "/update-user", first.cookies, { name: "Ada Lovelace", image: "https://example.com/a.png" });
  for (const { cookies } of [second, third]) await get(stage, "/get-session", cookies);
  await post(stage, "/update-session", second.cookies, { theme: "dark" });
  await post(stage, "/revoke-session", first.cookies, { token: eve.json.token as string });
  await post(stage, "/revoke-session", first.cookies, { token: second.json.token as string });
  await get(stage, "/get-session", second.cookies);
  await post(stage, "/sign-out", third.cookies);
  await post(stage, "/sign-out", third.cookies);
  const fourth = await stage.signIn("ada@example.com", {}, agent("fourth"));
  await post(stage, "/revoke-other-sessions", fourth.cookies);
  await get(stage, "/get-session", first.cookies);
  const fifth = await stage.signIn("ada@example.com", {}, agent("fifth"));
  await post(stage, "/change-password", fifth.cookies, { currentPassword: PASSWORD, newPassword: "another fine phrase", revokeOtherSessions: true });
  for (const { cookies } of [fourth, fifth]) await get(stage, "/get-session", cookies);
  const sixth = await stage.signIn("ada@example.com", { password: "another fine phrase" }, agent("sixth"));
  await get(stage, "/list-sessions", sixth.cookies);
  await post(stage, "/revoke-sessions", sixth.cookies);
  await get(stage, "/get-session", sixth.cookies);
  await get(stage, "/list-sessions", eve.cookies);
  const last = await stage.signIn("ada@example.com", { password: "another fine phrase" });
  await get(stage, "/list-sessions", last.cookies);
}

/** A session that the database has and the secondary storage has lost, and the other way round. */
async function lost(stage: Stage) {
  const first = await stage.signUp("ada@example.com", {}, agent("first"));
  const second = await stage.signIn("ada@example.com", {}, agent("second"));
  const tokens = [first, second].map(({ json }) => String(json.token));
  const list = [...(await stage.kept()).keys()].find((key) => key.startsWith("active-sessions-")) ?? "";
  await stage.keep({ delete: tokens.slice(0, 1) });
  await get(stage, "/get-session", first.cookies);
  await get(stage, "/list-sessions", second.cookies);
  await post(stage, "/update-session", first.cookies, { theme: "dark" });
  await post(stage, "/update-user", first.cookies, { name: "Ada Lovelace" });
  await stage.keep({ delete: [list] });
  await get(stage, "/list-sessions", second.cookies);
  await post(stage, "/update-user", second.cookies, { name: "Countess" });
  await get(stage, "/get-session", second.cookies);
  await post(stage, "/revoke-session", second.cookies, { token: tokens[0] ?? "" });
  await get(stage, "/get-session", first.cookies);
  await stage.sql(`DELETE FROM "session" WHERE "userAgent" = 'second'`);
  await get(stage, "/get-session", second.cookies);
  await post(stage, "/update-session", second.cookies, { theme: "light" });
  await get(stage, "/list-sessions", second.cookies);
  await post(stage, "/sign-out", second.cookies);
  const third = await stage.signIn("ada@example.com");
  await stage.sql(`UPDATE "session" SET "expiresAt" = "createdAt"`);
  await get(stage, "/get-session", third.cookies);
  await get(stage, "/list-sessions", third.cookies);
  await stage.keep({ delete: [String(third.json.token)] });
  await get(stage, "/get-session", third.cookies);
}

/** A session is renewed, and ends, also where its key ended before. */
async function ages(stage: Stage) {
  const reply = await stage.signUp("ada@example.com");
  const short = await stage.signIn("ada@example.com", { rememberMe: false });
  await stage.advance(DAY - 30);
  await get(stage, "/get-session", short.cookies);
  await get(stage, "/list-sessions", reply.cookies);
  await stage.advance(60);
  await get(stage, "/get-session", short.cookies);
  await get(stage, "/get-session", reply.cookies);
  await post(stage, "/update-user", reply.cookies, { name: "Ada Lovelace" });
  await stage.advance(2 * DAY);
  await post(stage, "/update-session", reply.cookies, { theme: "dark" });
  await stage.advance(7 * DAY - 30);
  await post(stage, "/update-user", `${reply.cookies}; better-auth.dont_remember=${signed("true")}`, { name: "Ada" });
  await stage.advance(60);
  await get(stage, "/get-session", reply.cookies);
  const again = await stage.signIn("ada@example.com");
  await post(stage, "/revoke-sessions", again.cookies);
  await stage.advance(8 * DAY);
  await stage.signIn("ada@example.com");
}

/** A user, and a session of theirs, the same on every run. */
const FIXED = {
  user: { name: "Fixed", email: "fixed@example.com", emailVerified: true, image: null, createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2026-01-02T03:04:05.678Z", id: "fixeduserfixeduserfixeduserid000" },
  session: { ipAddress: "", userAgent: "agent", expiresAt: "2099-01-01T00:00:00.000Z", userId: "fixeduserfixeduserfixeduserid000", token: "fixedtokenfixedtokenfixedtoken00", createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2098-12-31T00:00:00.000Z", id: "fixedsessionfixedsessionfixedid0" },
};
const COOKIE = `${TOKEN}=${signed(FIXED.session.token)}`;
const LIST_KEY = `active-sessions-${FIXED.user.id}`;
/** Where upstream lists a session that is nobody's. */
const LIST_KEY_OF_NOBODY = "active-sessions-undefined";
const REVOKED_KEY = `revoked-sessions-before-${FIXED.user.id}`;
/** Of the password of every scenario. */
const HASH = "000102030405060708090a0b0c0d0e0f:70cc7d605f9fd0bfd324b3978bd79ee81076d98810046ed91604c3cb8aa6957761a2b0b97abf1e7c417ec4a9baa7bd1ce53449880d90dc1117c88d69b4f0b72e";

const insertUser = async (stage: Stage) => {
  const { id, email, name, createdAt } = FIXED.user;
  const user = (truth: string) => `INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt") VALUES ('${id}', '${name}', '${email}', ${truth}, '${createdAt}', '${createdAt}')`;
  await stage.sql(user("1"), user("true"));
  await stage.sql(`INSERT INTO "account" ("id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt") VALUES ('fixedaccountfixedaccountfixedid00', '${id}', 'credential', '${id}', '${HASH}', '${createdAt}', '${createdAt}')`);
};

interface Made {
  session?: { [field: string]: Json | undefined };
  user?: { [field: string]: Json | undefined };
}
const value = ({ session, user }: Made = {}) => JSON.stringify({ session: { ...FIXED.session, ...session }, user: { ...FIXED.user, ...user } });
const keep = (stage: Stage, key: string, text: string) => stage.keep({ set: [{ key, value: text, seconds: 3600 }] });
const entry = (token: string, expiresAt: Json = 4_070_908_800_000) => ({ token, expiresAt });

/** What is no session, or only looks like one. */
const DAMAGED = [
  "null",
  "{}",
  "[]",
  "5",
  "true",
  '""',
  '"text"',
  "not JSON",
  " ",
  value().slice(0, -1),
  `${value()}x`,
  JSON.stringify({ session: null, user: FIXED.user }),
  JSON.stringify({ user: FIXED.user }),
  JSON.stringify({ session: {}, user: {} }),
  JSON.stringify({ session: "session", user: "user" }),
  JSON.stringify({ session: [], user: [] }),
];

/** Sessions without a user. */
const OF_NOBODY = [JSON.stringify({ session: FIXED.session, user: null }), JSON.stringify({ session: FIXED.session })];

/** What is asked about a session from another one of its user. */
type Asked = "list" | "update" | "revoke" | "others";

/** Sessions with something missing, or something else, in them; whether one is a session, and what Narthex answers otherwise beside it. */
const ODD: [Made, boolean, Asked[]][] = [
  [{ session: { expiresAt: undefined } }, false, []],
  [{ session: { expiresAt: null } }, false, []],
  [{ session: { expiresAt: "never" } }, false, []],
  [{ session: { expiresAt: 4_070_908_800_000 } }, false, ["list"]],
  [{ session: { expiresAt: "2020-01-01T00:00:00.000Z" } }, true, ["update"]],
  [{ session: { createdAt: undefined } }, false, ["list"]],
  [{ session: { createdAt: 5 } }, false, ["list"]],
  [{ session: { createdAt: "long ago", updatedAt: null } }, false, ["list"]],
  [{ session: { userId: undefined } }, false, ["list", "update", "revoke", "others"]],
  [{ session: { userId: "another" } }, true, ["list", "update", "revoke", "others"]],
  [{ session: { token: "another0another0another0another0" } }, false, ["list", "update", "revoke"]],
  [{ session: { id: 5 } }, false, ["list"]],
  [{ session: { ipAddress: null, userAgent: undefined } }, true, []],
  [{ session: { more: { any: ["thing"] } }, user: { more: 1, password: "x" } }, true, []],
  [{ user: { id: undefined } }, false, []],
  [{ user: { id: 5 } }, false, []],
  [{ user: { name: undefined, email: null } }, false, []],
  [{ user: { emailVerified: "true", image: 5 } }, false, []],
  [{ user: { createdAt: "never", updatedAt: undefined } }, false, []],
];

const JSON_TYPE: Header = ["content-type", "application/json"];
const CLEARED = ["session_token", "session_data", "dont_remember"].map((name): Header => ["set-cookie", `better-auth.${name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax`]);
type Answer = Omit<Change, "rows">;
const REVOKED: Answer = { status: 200, headers: [JSON_TYPE], body: '{"status":true}' };
const kept = (tables: Tables): Row[] => tables[SECONDARY] ?? [];
const valueOf = (tables: Tables, key: string) => String(kept(tables).find((row) => row.key === key)?.value);

/** What is not whole is as if it were not there. */
const whole = (narthex: (upstream: { body: string; rows: Tables }, before: Tables) => Answer & { rows?: Row[] }): Intent => ({
  decision: "whole-sessions",
  narthex: ({ body, rows }, database, before) => {
    const { rows: secondary, ...change } = narthex({ body: String(body), rows }, before);
    return { ...change, ...(secondary ? { rows: { [database]: { [SECONDARY]: secondary } } } : {}) };
  },
});
const SHOWN: Header[] = [["cache-control", "no-store"], JSON_TYPE, ["pragma", "no-cache"]];
const noSession = {
  shown: whole((_, before) => ({ status: 200, headers: [...SHOWN, ...CLEARED], body: "null", rows: kept(before) })),
  used: whole((_, before) => ({ status: 401, headers: [JSON_TYPE, ...CLEARED], body: '{"message":"Unauthorized","code":"UNAUTHORIZED"}', rows: kept(before) })),
};

/** Every way in which a session is looked at, changed or ended, and afterwards all is as it was. */
async function meet(stage: Stage, text: string, isWhole: boolean) {
  const { token } = FIXED.session;
  const set = () => stage.keep({ set: [{ key: token, value: text, seconds: 3600 }], delete: [LIST_KEY, LIST_KEY_OF_NOBODY] });
  const [shown, used] = isWhole ? [{}, {}] : [{ differs: noSession.shown }, { differs: noSession.used }];
  await set();
  await get(stage, "/get-session", COOKIE, shown);
  await set();
  await post(stage, "/update-session", COOKIE, { theme: "dark" }, used);
  await set();
  await get(stage, "/list-sessions", COOKIE, used);
  // Whoever is refused leaves the user as they were, which upstream does not.
  if (isWhole) await post(stage, "/update-user", COOKIE, { name: "Fixed" });
  await set();
  await post(stage, "/sign-out", COOKIE);
  await stage.keep({ delete: [token] });
}

/** The other session and the list are left as they were; the own session becomes what it becomes in upstream. */
const leftAlone = (change: Answer = {}) =>
  whole(({ rows }, before) => {
    const own = kept(rows).filter(({ key }) => key !== FIXED.session.token && key !== LIST_KEY);
    return { ...change, rows: kept(before).map((row) => own.find(({ key }) => key === row.key) ?? row) };
  });
const notListed = whole(({ body }) => ({ body: JSON.stringify((JSON.parse(body) as Json[]).slice(0, 1)) }));

/** Of a browser that has a session of its own, while another of the same user is not as it should be. */
async function beside(stage: Stage, cookie: string, own: string, text: string, other: Asked[]) {
  const { token } = FIXED.session;
  const list = JSON.stringify([entry(own), entry(token)]);
  const set = () => stage.keep({ set: [{ key: token, value: text, seconds: 3600 }, { key: LIST_KEY, value: list, seconds: 3600 }] });
  const at = (asked: Asked, differs: Intent): Extras => (other.includes(asked) ? { differs } : {});
  await set();
  await get(stage, "/list-sessions", cookie, at("list", notListed));
  await post(stage, "/update-user", cookie, { name: "Fixed" }, at("update", leftAlone()));
  await post(stage, "/revoke-session", cookie, { token }, at("revoke", leftAlone(REVOKED)));
  await set();
  await post(stage, "/revoke-other-sessions", cookie, {}, at("others", leftAlone()));
  await stage.keep({ delete: [token] });
}

/** Upstream shows what is on it and takes it off at the next change. */
const ENDLESS = JSON.stringify([{ token: FIXED.session.token }]);
const LISTS = [
  "null",
  "not JSON",
  "[]",
  "[5]",
  "[{}]",
  ENDLESS,
  JSON.stringify([entry(FIXED.session.token, "2099-01-01T00:00:00.000Z")]),
  JSON.stringify([entry(FIXED.session.token, null)]),
  JSON.stringify([entry(FIXED.session.token, 1_000)]),
  JSON.stringify([entry(FIXED.session.token), entry(FIXED.session.token)]),
  JSON.stringify([entry("goneGONEgoneGONEgoneGONEgoneGONE"), entry(FIXED.session.token)]),
  JSON.stringify([{ ...entry(FIXED.session.token), more: 1 }]),
  JSON.stringify([entry(FIXED.session.token, 4_070_908_800_001), entry("laterLATERlaterLATERlaterLATERla", 4_070_908_799_000)]),
];

/** Upstream stumbles over these, and Narthex takes them for an empty list. */
const NO_LISTS = ["{}", "5", '"text"', "[null]"];

const without = (...keys: string[]) => whole(({ rows }) => ({ rows: kept(rows).filter(({ key }) => !keys.includes(String(key))) }));
const emptyList = {
  shown: whole(() => ({ status: 200, headers: [JSON_TYPE], body: "[]" })),
  /** Upstream has changed the session already when it stumbles. */
  updated: whole(({ rows }) => ({
    status: 200,
    headers: [JSON_TYPE, ["set-cookie", `${COOKIE}; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax`]],
    body: JSON.stringify({ session: (JSON.parse(valueOf(rows, FIXED.session.token)) as { session: Json }).session }),
    rows: kept(rows).map((row) => (row.key === LIST_KEY ? { ...row, value: JSON.stringify([entry(FIXED.session.token)]), ends: FIXED.session.expiresAt } : row)),
  })),
  /** The first new session, made in the fourth step. */
  signedIn: whole(({ rows }) => {
    const [token, id, made, ends] = ["<rand32:1>", "<rand32:2>", "<step4+0s>", "<step4+604800s>"];
    const session = { id, ipAddress: "127.0.0.1", userAgent: "", expiresAt: ends, userId: FIXED.user.id, token, createdAt: made, updatedAt: made };
    return {
      status: 200,
      headers: [JSON_TYPE, ["set-cookie", `${TOKEN}=${token}.<sig:1>; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax`]],
      body: JSON.stringify({ redirect: false, token, user: FIXED.user }),
      rows: [
        ...kept(rows).map((row) => ({ ...row, value: `[{"token":"${token}","expiresAt":<millis:${ends.slice(1)}}]`, ends })),
        { key: token, value: JSON.stringify({ session, user: FIXED.user }), ends },
      ],
    };
  }),
};

const limited = (more: Options = {}) => options({ rateLimit: { enabled: true, ...more } });
const wrong = (stage: Stage, headers: { [name: string]: string } = {}) => stage.signIn("not an address", {}, { headers });

/** The same counters under other keys. */
const otherKeys = (decision: string, from: string, to: string): Intent => ({
  decision,
  narthex: ({ rows }, database) => {
    const renamed = (rows.secondaryStorage ?? []).map((row) => ({ ...row, key: String(row.key).replace(from, to) }));
    return { rows: { [database]: { secondaryStorage: renamed } } };
  },
});

export default area("secondary-storage", [
  scenario("life", { secondary: true, options: withSession({ additionalFields: { theme: { type: "string", required: false } } }), covers: covers("secondaryStorage") }, life),
  scenario("prefix-of-its-own", { secondary: true, keyPrefix: null, covers: [] }, life),
  scenario("no-prefix", { secondary: true, keyPrefix: "", covers: [] }, life),
  scenario("odd-prefix", { secondary: true, keyPrefix: "app *[1]?\\{ä}:", covers: [] }, life),

  scenario("in-the-database-too", { secondary: true, options: withSession({ storeSessionInDatabase: true, additionalFields: fields }), covers: covers("session.storeSessionInDatabase") }, life),
  scenario("preserved", { secondary: true, options: withSession({ storeSessionInDatabase: true, preserveSessionInDatabase: true, additionalFields: fields }), covers: covers("session.preserveSessionInDatabase") }, life),
  scenario("preserved-but-not-stored", { secondary: true, options: withSession({ preserveSessionInDatabase: true }), covers: covers("session.preserveSessionInDatabase", [GET, SIGN_OUT]) }, life),
  scenario("lost", { secondary: true, options: withSession({ storeSessionInDatabase: true, additionalFields: { theme: { type: "string", required: false } } }), covers: covers("session.storeSessionInDatabase", [GET, LIST, REVOKE, UPDATE_SESSION, UPDATE_USER, SIGN_OUT]) }, lost),
  scenario("lost-but-preserved", { secondary: true, options: withSession({ storeSessionInDatabase: true, preserveSessionInDatabase: true, additionalFields: { theme: { type: "string", required: false } } }), covers: covers("session.preserveSessionInDatabase", [GET, LIST, REVOKE]) }, lost),

  ...Object.entries<Options>({ "": {}, "-in-the-database-too": { storeSessionInDatabase: true }, "-preserved": { storeSessionInDatabase: true, preserveSessionInDatabase: true } }).map(([ending, session]) =>
    scenario(`ages${ending}`, { secondary: true, clock: true, options: withSession({ ...session, freshAge: 0, additionalFields: { theme: { type: "string", required: false } } }), covers: [GET] }, ages),
  ),

  scenario("remembered-in-cookies", { secondary: true, options: withSession({ storeSessionInDatabase: true, cookieCache: { enabled: true }, additionalFields: fields }), covers: covers("session.cookieCache.enabled", [SIGN_UP, SIGN_IN, GET]) }, async (stage) => {
    const first = await stage.signUp("ada@example.com", {}, agent("first"));
    const second = await stage.signIn("ada@example.com", {}, agent("second"));
    await get(stage, "/get-session", first.cookies);
    await post(stage, "/update-user", first.cookies, { name: "Ada Lovelace" });
    await get(stage, "/get-session", second.cookies);
    await get(stage, "/get-session?disableCookieCache=true", second.cookies);
    await post(stage, "/update-session", second.cookies, { theme: "dark" });
    await get(stage, "/list-sessions", second.cookies);
    await post(stage, "/change-password", second.cookies, { currentPassword: PASSWORD, newPassword: "another fine phrase", revokeOtherSessions: true });
    await get(stage, "/get-session?disableCookieCache=true", second.cookies);
    await post(stage, "/sign-out", first.cookies);
  }),
  scenario("fields", { secondary: true, options: withSession({ additionalFields: fields }, { user: { additionalFields: { ...fields, nickname: { type: "string", required: false } } } }), covers: [`${UPDATE_SESSION}@session.additionalFields`, `${SIGN_UP}@session.additionalFields`] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com", { nickname: "Countess", theme: "dark", until: "2030-01-01T00:00:00.000Z" });
    await get(stage, "/get-session", cookie);
    await post(stage, "/update-session", cookie, { visits: 3, pinned: true, note: "seen by nobody", until: "2031-01-01T00:00:00.000Z" });
    await get(stage, "/get-session", cookie);
    await post(stage, "/update-session", cookie, { theme: null, pinned: null, until: null, note: null });
    await post(stage, "/update-user", cookie, { nickname: null, until: "2032-01-01T00:00:00.000Z" });
    await get(stage, "/get-session", cookie);
    await get(stage, "/list-sessions", cookie);
    await stage.signIn("ada@example.com", { theme: "dark", visits: 5 });
  }),

  // SQLite gives the number of a row that is gone to the next one.
  ...(["sqlite", "postgres"] as const).map((database) =>
    scenario(`ids-serial-in-the-database-too-on-${database}`, { secondary: true, databases: [database], options: withSession({ storeSessionInDatabase: true }, { advanced: { database: { generateId: "serial" } } }), covers: [`${SIGN_UP}@advanced.database.generateId`, `${GET}@advanced.database.generateId`] }, life),
  ),
  scenario("ids-uuid-in-the-database-too", { secondary: true, options: withSession({ storeSessionInDatabase: true }, { advanced: { database: { generateId: "uuid" } } }), covers: [`${SIGN_UP}@advanced.database.generateId`, `${GET}@advanced.database.generateId`] }, life),
  ...["serial", "uuid"].map((generateId) =>
    scenario(`ids-${generateId}`, { secondary: true, options: withSession({}, { advanced: { database: { generateId } } }), covers: [`${SIGN_UP}@advanced.database.generateId`, `${GET}@advanced.database.generateId`] }, life),
  ),
  scenario("ids-of-the-database", { secondary: true, options: withSession({}, { advanced: { database: { generateId: false } } }), covers: [`${GET}@advanced.database.generateId`] }, async (stage) => {
    await insertUser(stage);
    const reply = await stage.signIn(FIXED.user.email);
    await get(stage, "/get-session", reply.cookies);
    await get(stage, "/list-sessions", reply.cookies);
    await post(stage, "/sign-out", reply.cookies);
  }),

  ...[0, 6, 12].map((from) =>
    scenario(`damaged-${from / 6 + 1}`, { secondary: true, options: withSession({ freshAge: 0, additionalFields: { theme: { type: "string", required: false } } }), covers: [GET, SIGN_OUT, LIST, UPDATE_SESSION] }, async (stage) => {
      await insertUser(stage);
      for (const text of [...DAMAGED, ...OF_NOBODY].slice(from, from + 6)) await meet(stage, text, false);
    }),
  ),
  ...[0, 7, 14].map((from) =>
    scenario(`odd-${from / 7 + 1}`, { secondary: true, options: withSession({ freshAge: 0, additionalFields: { theme: { type: "string", required: false } } }), covers: [GET, SIGN_OUT, LIST, UPDATE_SESSION] }, async (stage) => {
      await insertUser(stage);
      for (const [made, isSession] of ODD.slice(from, from + 7)) await meet(stage, value(made), isSession);
    }),
  ),
  scenario("damaged-beside", { secondary: true, covers: [LIST, REVOKE, REVOKE_OTHERS, UPDATE_USER] }, async (stage) => {
    await insertUser(stage);
    const reply = await stage.signIn(FIXED.user.email);
    const own = String(reply.json.token);
    for (const text of [value(), ...OF_NOBODY]) await beside(stage, reply.cookies, own, text, []);
    for (const text of DAMAGED) await beside(stage, reply.cookies, own, text, ["revoke"]);
  }),
  scenario("odd-beside", { secondary: true, covers: [LIST, REVOKE, REVOKE_OTHERS, UPDATE_USER] }, async (stage) => {
    await insertUser(stage);
    const reply = await stage.signIn(FIXED.user.email);
    const own = String(reply.json.token);
    for (const [made, , asked] of ODD) await beside(stage, reply.cookies, own, value(made), asked);
  }),

  scenario("lists", { secondary: true, options: withSession({ freshAge: 0, additionalFields: { theme: { type: "string", required: false } } }), covers: [LIST, REVOKE_OTHERS, REVOKE_ALL, UPDATE_USER, UPDATE_SESSION, SIGN_OUT] }, async (stage) => {
    await insertUser(stage);
    const { token } = FIXED.session;
    for (const list of [...LISTS, ...NO_LISTS]) {
      const set = () => stage.keep({ set: [{ key: token, value: value(), seconds: 3600 }, { key: LIST_KEY, value: list, seconds: 3600 }] });
      const at = (differs: Intent): Extras => (NO_LISTS.includes(list) ? { differs } : {});
      await set();
      await get(stage, "/list-sessions", COOKIE, list === ENDLESS ? { differs: emptyList.shown } : at(emptyList.shown));
      await post(stage, "/update-user", COOKIE, { name: "Fixed" });
      await post(stage, "/update-session", COOKIE, { theme: "dark" }, at(emptyList.updated));
      await set();
      await post(stage, "/revoke-other-sessions", COOKIE, {}, at(whole(() => REVOKED)));
      await post(stage, "/sign-out", COOKIE, {}, at(without(token, LIST_KEY)));
      await set();
      await post(stage, "/revoke-sessions", COOKIE, {}, at(without(LIST_KEY)));
      await stage.keep({ delete: [token, LIST_KEY, REVOKED_KEY] });
    }
  }),
  scenario("lists-at-sign-in", { secondary: true, covers: [SIGN_IN] }, async (stage) => {
    await insertUser(stage);
    for (const list of LISTS) {
      await keep(stage, LIST_KEY, list);
      await stage.signIn(FIXED.user.email);
    }
  }),
  ...NO_LISTS.map((list, index) =>
    scenario(`no-list-at-sign-in-${index + 1}`, { secondary: true, covers: [] }, async (stage) => {
      await insertUser(stage);
      await keep(stage, LIST_KEY, list);
      await stage.signIn(FIXED.user.email, {}, { differs: emptyList.signedIn });
    }),
  ),
  scenario("somebody-elses-session-in-the-list", { secondary: true, covers: [LIST, REVOKE_OTHERS] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    const eve = await stage.signUp("eve@example.com", { name: "Eve" }, agent("hers"));
    const list = (await stage.kept()).get(`active-sessions-${ada.json.user.id}`) ?? "[]";
    const both = JSON.stringify([...(JSON.parse(list) as Json[]), entry(String(eve.json.token))]);
    await stage.keep({ set: [{ key: `active-sessions-${ada.json.user.id}`, value: both, seconds: 3600 }] });
    const hers = (row: Row) => String(row.value).includes('"userAgent":"hers"');
    const herself = (tables: Tables) => kept(tables).filter(hers);
    await get(stage, "/list-sessions", ada.cookies, { differs: notListed });
    await post(stage, "/update-user", ada.cookies, { name: "Ada Lovelace" }, { differs: whole(({ rows }, before) => ({ rows: kept(rows).map((row) => (hers(row) ? (herself(before)[0] ?? row) : row)) })) });
    await get(stage, "/get-session", eve.cookies, { differs: whole((_, before) => ({ body: String(herself(before)[0]?.value), rows: kept(before) })) });
    await post(stage, "/revoke-other-sessions", ada.cookies, {}, { differs: whole((_, before) => ({ rows: kept(before) })) });
    await get(stage, "/get-session", eve.cookies, { differs: whole((_, before) => ({ status: 200, headers: SHOWN, body: String(herself(before)[0]?.value), rows: kept(before) })) });
  }),
  scenario("lost-list", { secondary: true, options: withSession({ storeSessionInDatabase: true }), covers: [REVOKE_OTHERS] }, async (stage) => {
    await stage.signUp("ada@example.com");
    const reply = await stage.signIn("ada@example.com");
    await stage.signIn("eve@example.com");
    await stage.keep({ delete: [`active-sessions-${reply.json.user.id}`] });
    await post(stage, "/revoke-other-sessions", reply.cookies);
    await get(stage, "/list-sessions", reply.cookies);
  }),

  scenario("revoked-before", { secondary: true, options: withSession({ freshAge: 0, additionalFields: { theme: { type: "string", required: false } } }), covers: [GET, REVOKE_ALL] }, async (stage) => {
    await insertUser(stage);
    const { token, createdAt } = FIXED.session;
    const made = Date.parse(createdAt);
    for (const revoked of [String(made), String(made + 1), String(made - 1), "", "text", "0", "1e99", " 4070908800000 ", "null", createdAt]) {
      await stage.keep({ set: [{ key: token, value: value(), seconds: 3600 }, { key: LIST_KEY, value: JSON.stringify([entry(token)]), seconds: 3600 }, { key: REVOKED_KEY, value: revoked, seconds: 3600 }] });
      await get(stage, "/get-session", COOKIE);
      await get(stage, "/list-sessions", COOKIE);
      await post(stage, "/update-user", COOKIE, { name: "Fixed" });
      await post(stage, "/revoke-sessions", COOKIE);
    }
    await stage.keep({ set: [{ key: token, value: value(), seconds: 3600 }, { key: REVOKED_KEY, value: "0x1fffffffffff", seconds: 3600 }] });
    await get(stage, "/get-session", COOKIE, { differs: whole(() => ({ headers: SHOWN, body: value() })) });
    await stage.keep({ delete: [token, REVOKED_KEY] });
    const reply = await stage.signIn(FIXED.user.email);
    const session = (await stage.kept()).get(String(reply.json.token)) ?? "";
    await post(stage, "/revoke-sessions", reply.cookies);
    await keep(stage, String(reply.json.token), session);
    await get(stage, "/get-session", reply.cookies);
    await post(stage, "/sign-out", reply.cookies);
  }),

  scenario("user-gone", { secondary: true, covers: [GET, LIST, CHANGE_PASSWORD, SIGN_OUT] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.sql(`PRAGMA foreign_keys = ON; DELETE FROM "user"`, `DELETE FROM "user"`);
    await get(stage, "/get-session", cookie);
    await get(stage, "/list-sessions", cookie);
    await get(stage, "/list-accounts", cookie);
    await post(stage, "/change-password", cookie, { currentPassword: PASSWORD, newPassword: "another fine phrase" });
    await post(stage, "/sign-out", cookie);
  }),
  scenario("tokens-that-are-keys", { secondary: true, covers: [GET, SIGN_OUT, REVOKE] }, async (stage) => {
    await insertUser(stage);
    const reply = await stage.signIn(FIXED.user.email);
    for (const key of [LIST_KEY, "a\nb", "*", "x y", "ä"]) {
      await get(stage, "/get-session", `${TOKEN}=${signed(key)}`, { differs: noSession.shown });
      await post(stage, "/revoke-session", reply.cookies, { token: key }, { differs: whole(() => REVOKED) });
      await post(stage, "/sign-out", `${TOKEN}=${signed(key)}`);
    }
    await get(stage, "/get-session", reply.cookies);
  }),

  scenario("counters", { secondary: true, clock: true, options: limited({ window: 10, max: 3 }), covers: ["GET /ok@rateLimit.storage", "GET /get-session@rateLimit.storage", "POST /sign-in/email@rateLimit.storage"] }, async (stage) => {
    for (let count = 0; count < 5; count += 1) await stage.get("/ok");
    for (let count = 0; count < 4; count += 1) await wrong(stage);
    await stage.get("/get-session", { headers: { "x-forwarded-for": "2001:db8::1" } });
    await stage.get("/get-session", { headers: { "x-forwarded-for": "2001:db8::2" } });
    await wrong(stage, { "x-forwarded-for": "192.0.2.7" });
    await stage.advance(6);
    await stage.get("/ok");
    await stage.advance(5);
    await stage.get("/ok");
    await wrong(stage);
  }),
  scenario("counters-by-name", { secondary: true, clock: true, options: limited({ storage: "secondary-storage", window: 60, max: 2, customRules: { "/ok": { window: 5, max: 1 }, "/get-session": false } }), covers: ["GET /ok@rateLimit.storage", "GET /ok@rateLimit.customRules"] }, async (stage) => {
    for (let count = 0; count < 2; count += 1) await stage.get("/ok");
    for (let count = 0; count < 3; count += 1) await stage.get("/get-session");
    for (let count = 0; count < 2; count += 1) await stage.get("/error", { differs: errorPage("UNKNOWN") });
    await stage.get("/error");
    await stage.advance(6);
    await stage.get("/ok");
    await stage.get("/error");
  }),
  scenario("counters-elsewhere", { secondary: true, clock: true, options: limited({ storage: "database", max: 2 }), covers: ["GET /ok@rateLimit.storage"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/ok");
  }),
  scenario("counters-of-no-endpoint", { secondary: true, clock: true, options: limited({ max: 2 }), differs: otherKeys("rate-limit-keys", "|/no-such-endpoint", "|*"), covers: [] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/no-such-endpoint");
  }),
  scenario("counters-in-production", { secondary: true, clock: true, environment: "production", options: options({ rateLimit: { max: 2 } }), differs: otherKeys("client-address", "no-trusted-ip|", "127.0.0.1|"), covers: ["GET /ok@rateLimit.enabled"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/ok");
    await stage.get("/ok", { headers: { "x-forwarded-for": "192.0.2.1" } });
  }),
  scenario("damaged-counters", { secondary: true, clock: true, options: limited({ window: 10, max: 2 }), covers: [] }, async (stage) => {
    for (const text of ["1", "-5", "0", "2", "9007199254740992"]) {
      await keep(stage, "127.0.0.1|/ok", text);
      await stage.get("/ok");
    }
    await stage.keep({ delete: ["127.0.0.1|/ok"] });
    await stage.get("/ok");
  }),

  ...Object.entries<Options>({ "in-the-database-too": { storeInDatabase: true }, hashed: { storeIdentifier: "hashed" }, "by-prefix": { storeIdentifier: { default: "plain", overrides: { "reset-password": "hashed" } }, storeInDatabase: true } }).map(([name, verification]) =>
    // Nothing that can be asked for yet makes a verification: the schema is compared, and that the options are taken.
    scenario(`verifications-${name}`, { secondary: true, options: options({ verification }), covers: [`${SIGN_UP}@verification.${name === "hashed" ? "storeIdentifier" : "storeInDatabase"}`] }, async (stage) => {
      await stage.signUp("ada@example.com");
    }),
  ),
]);
