/** GET /list-sessions, POST /revoke-session, /revoke-sessions and /revoke-other-sessions. */
import { listedWhileThere } from "../lib/intents.ts";
import { area, options, scenario, signed, type Reply, type Stage } from "../lib/scenario.ts";
import type { Intent, Json } from "../lib/types.ts";

const LIST = "GET /list-sessions";
const ONE = "POST /revoke-session";
const ALL = "POST /revoke-sessions";
const OTHERS = "POST /revoke-other-sessions";
const POSTS = [ONE, ALL, OTHERS];
const DAY = 86_400;
const UNKNOWN_TOKEN = "0123456789abcdefghijABCDEFGHIJ00";

const agent = (name: string) => ({ headers: { "user-agent": name } });
const list = (stage: Stage, cookie: string, query = "") => stage.get(`/list-sessions${query}`, { cookie });
const pathOf = (endpoint: string) => endpoint.slice("POST ".length);

/** Lets the session of one browser, or each of them, have ended. */
const end = (stage: Stage, name?: string) =>
  stage.sessions(`UPDATE "session" SET "expiresAt" = "createdAt"${name === undefined ? "" : ` WHERE "userAgent" = '${name}'`}`, (session) =>
    name === undefined || session.userAgent === name ? { ...session, expiresAt: session.createdAt ?? null } : session,
  );

/** Ada in three browsers, the third of which forgets her when it is closed. */
async function adaThrice(stage: Stage): Promise<[Reply, Reply, Reply]> {
  const first = await stage.signUp("ada@example.com", {}, agent("first"));
  const second = await stage.signIn("ada@example.com", {}, agent("second"));
  const third = await stage.signIn("ada@example.com", { rememberMe: false }, agent("third"));
  return [first, second, third];
}

/** Upstream stops reading after a hundred rows, in the order in which they were written. */
const inFull: Intent = {
  decision: "whole-lists",
  narthex: ({ body, rows }, database) => {
    const listed = JSON.parse(String(body)) as { id: string }[] | { status: boolean };
    const ours = (rows.session ?? []).filter(({ id }) => !String(id).startsWith("extra-"));
    if (!Array.isArray(listed)) return { rows: { [database]: { session: ours } } };
    const [template] = listed.slice(-1);
    const missing = Array.from({ length: EXTRA - 99 }, (_, index) => String(index + 100));
    return { body: JSON.stringify([...listed, ...missing.map((number) => ({ ...template, token: `extra-token-${number}`, id: `extra-${number}` }))]) };
  },
};
const EXTRA = 120;

export default area("sessions", [
  scenario("list", { covers: [LIST, `${LIST}#UNAUTHORIZED`] }, async (stage) => {
    await stage.get("/list-sessions");
    const [first, , third] = await adaThrice(stage);
    const eve = await stage.signUp("eve@example.com", { name: "Eve" }, agent("hers"));
    for (const reply of [first, third, eve]) await list(stage, reply.cookies);
    const token = first.json.token as string;
    for (const value of ["", token, `${token}.x`, signed(UNKNOWN_TOKEN), signed(UNKNOWN_TOKEN, "another secret of some length")]) await list(stage, `better-auth.session_token=${value}`);
    await list(stage, first.cookies, "?disableRefresh=true&userId=someone&limit=1");
    await list(stage, `${first.cookies}; better-auth.session_data=x`);
    await stage.get("/list-sessions", { headers: { authorization: `Bearer ${token}` } });
    await stage.get("/list-sessions", { cookie: first.cookies, headers: { origin: "http://evil.example" } });
    await stage.post("/list-sessions", {}, { cookie: first.cookies });
    await stage.sessions(`UPDATE "session" SET "ipAddress" = NULL, "userAgent" = NULL WHERE "userAgent" = 'first'`, (session) => (session.userAgent === "first" ? { ...session, ipAddress: null, userAgent: null } : session));
    await end(stage, "second");
    await list(stage, first.cookies);
    await end(stage);
    await list(stage, first.cookies);
    await list(stage, third.cookies);
  }),

  scenario("list-when-long-ago", { clock: true, covers: [`${LIST}#SESSION_NOT_FRESH`, `${LIST}@session.freshAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(DAY - 30);
    await list(stage, reply.cookies);
    await stage.advance(60);
    await list(stage, reply.cookies, "?disableRefresh=true");
    await list(stage, reply.cookies);
    await list(stage, reply.cookies);
    const again = await stage.signIn("ada@example.com");
    await list(stage, again.cookies);
  }),

  scenario("fresh-for-a-minute", { clock: true, options: options({ session: { freshAge: 60, expiresIn: 7_200, updateAge: 30 } }), covers: [`${LIST}@session.freshAge`, `${LIST}@session.expiresIn`, `${LIST}@session.updateAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(40);
    await list(stage, reply.cookies);
    await stage.advance(40);
    await list(stage, reply.cookies);
    for (const endpoint of POSTS) await stage.post(pathOf(endpoint), endpoint === ONE ? { token: "another" } : undefined, { cookie: reply.cookies });
  }),

  scenario("always-fresh", { clock: true, options: options({ session: { freshAge: 0 } }), covers: [`${LIST}@session.freshAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(5 * DAY);
    await list(stage, reply.cookies);
  }),

  scenario("revoke-one", { covers: [ONE, `${ONE}#UNAUTHORIZED`] }, async (stage) => {
    const [first, second, third] = await adaThrice(stage);
    const eve = await stage.signUp("eve@example.com", { name: "Eve" }, agent("hers"));
    const revoke = (token: Json, cookie?: string, query = "") => stage.post(`/revoke-session${query}`, { token }, cookie === undefined ? {} : { cookie });
    await revoke(first.json.token);
    await revoke(first.json.token, "better-auth.session_token=bad");
    await revoke(first.json.token, `better-auth.session_token=${signed(UNKNOWN_TOKEN)}`);
    for (const token of [eve.json.token, UNKNOWN_TOKEN, "", second.cookie("better-auth.session_token"), "x".repeat(5_000)]) await revoke(token, first.cookies);
    await stage.get("/get-session", { cookie: eve.cookies });
    await revoke(second.json.token, first.cookies);
    await stage.get("/get-session", { cookie: second.cookies });
    await revoke(second.json.token, first.cookies);
    await revoke(first.json.token, second.cookies);
    await stage.post("/revoke-session", { token: third.json.token, id: "1", userId: "2" }, { cookie: first.cookies });
    await revoke(first.json.token, `${first.cookies}; better-auth.session_data=x; better-auth.session_data.0=a`, "?disableRefresh=1");
    await stage.get("/get-session", { cookie: first.cookies });
    await revoke(eve.json.token, eve.cookies);
  }),

  scenario("revoke-one-that-expired", { covers: [ONE] }, async (stage) => {
    const [first, second] = await adaThrice(stage);
    await end(stage, "second");
    await stage.post("/revoke-session", { token: second.json.token }, { cookie: first.cookies });
    await end(stage, "first");
    await stage.post("/revoke-session", { token: first.json.token }, { cookie: first.cookies });
  }),

  scenario("revoke-one-bodies", { covers: [`${ONE}#VALIDATION_ERROR`, `${ONE}#BAD_REQUEST`, `${ONE}#UNSUPPORTED_MEDIA_TYPE`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const bodies: Json[] = [{}, { token: 1 }, { token: null }, { token: ["a"] }, { token: true }, [], null, "text", 1, { Token: "a" }];
    for (const body of bodies) await stage.post("/revoke-session", body);
    await stage.post("/revoke-session");
    await stage.post("/revoke-session", { token: 1 }, { cookie: reply.cookies });
    await stage.post("/revoke-session", undefined, { cookie: reply.cookies });
    const send = (text: string, type: string) => stage.post("/revoke-session", undefined, { text, headers: type === "" ? {} : { "content-type": type } });
    for (const text of ["{bad", " ", ""]) await send(text, "application/json");
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]) await send('{"token":"a"}', type);
  }),

  scenario("revoke-all", { covers: [ALL, `${ALL}#UNAUTHORIZED`] }, async (stage) => {
    await stage.post("/revoke-sessions");
    const [first, second, third] = await adaThrice(stage);
    const eve = await stage.signUp("eve@example.com", { name: "Eve" }, agent("hers"));
    await stage.post("/revoke-sessions", undefined, { cookie: "better-auth.session_token=bad" });
    await end(stage, "second");
    await stage.post("/revoke-sessions", { any: 1 }, { cookie: third.cookies });
    for (const reply of [first, second, third, eve]) await stage.get("/get-session", { cookie: reply.cookies });
    await stage.post("/revoke-sessions", undefined, { cookie: third.cookies });
    await stage.post("/revoke-sessions", [], { cookie: eve.cookies });
  }),

  scenario("revoke-others", { differs: listedWhileThere, covers: [OTHERS, `${OTHERS}#UNAUTHORIZED`] }, async (stage) => {
    await stage.post("/revoke-other-sessions");
    const [first, second, third] = await adaThrice(stage);
    await stage.signIn("ada@example.com", {}, agent("fourth"));
    const eve = await stage.signUp("eve@example.com", { name: "Eve" }, agent("hers"));
    await stage.post("/revoke-other-sessions", undefined, { cookie: "better-auth.session_token=bad" });
    await end(stage, "fourth");
    await stage.post("/revoke-other-sessions", { any: 1 }, { cookie: third.cookies });
    for (const reply of [first, second, third, eve]) await stage.get("/get-session", { cookie: reply.cookies });
    await stage.post("/revoke-other-sessions", undefined, { cookie: third.cookies });
    await stage.post("/revoke-other-sessions", undefined, { cookie: eve.cookies });
  }),

  scenario("more-than-a-hundred", { secondary: false, covers: [LIST, OTHERS] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const insert = (number: string, source: string) =>
      `INSERT INTO "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "userId")
       SELECT 'extra-' || ${number}, "expiresAt", 'extra-token-' || ${number}, "createdAt", "updatedAt", "userId" FROM ${source}, "session" ORDER BY 1`;
    await stage.sql(insert("printf('%03d', value)", `(WITH RECURSIVE series(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < ${EXTRA}) SELECT value FROM series)`), insert("lpad(value::text, 3, '0')", `generate_series(1, ${EXTRA}) AS value`));
    await stage.get("/list-sessions", { cookie: reply.cookies, differs: inFull });
    await stage.post("/revoke-other-sessions", undefined, { cookie: reply.cookies, differs: inFull });
  }),

  scenario("bodies-nobody-reads", { covers: [`${ALL}#BAD_REQUEST`, `${ALL}#UNSUPPORTED_MEDIA_TYPE`, `${OTHERS}#BAD_REQUEST`, `${OTHERS}#UNSUPPORTED_MEDIA_TYPE`] }, async (stage) => {
    for (const endpoint of [ALL, OTHERS]) {
      const send = (text: string, type: string) => stage.post(pathOf(endpoint), undefined, { text, headers: type === "" ? {} : { "content-type": type } });
      for (const text of ["{bad", "", "1"]) await send(text, "application/json");
      for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) await send("{}", type);
    }
  }),

  scenario("origins", { covers: POSTS.flatMap((endpoint) => [`${endpoint}#MISSING_OR_NULL_ORIGIN`, `${endpoint}#INVALID_ORIGIN`, `${endpoint}#INVALID_CALLBACK_URL`]) }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    for (const endpoint of POSTS) {
      const body = { token: reply.json.token as string };
      await stage.post(pathOf(endpoint), body, { cookie: reply.cookies, origin: false });
      await stage.post(pathOf(endpoint), body, { cookie: reply.cookies, headers: { origin: "http://evil.example" } });
      await stage.post(pathOf(endpoint), body, { cookie: reply.cookies, headers: { origin: "null" } });
      await stage.post(pathOf(endpoint), { ...body, callbackURL: "http://evil.example" }, { cookie: reply.cookies });
      await stage.get(pathOf(endpoint), { cookie: reply.cookies });
    }
  }),

  scenario("renewed-by-the-guard", { differs: listedWhileThere, options: options({ session: { updateAge: 0 } }), covers: POSTS.map((endpoint) => `${endpoint}@session.updateAge`) }, async (stage) => {
    const [first, , third] = await adaThrice(stage);
    await list(stage, first.cookies);
    await list(stage, third.cookies);
    await stage.post("/revoke-session", { token: "another" }, { cookie: first.cookies });
    await stage.post("/revoke-other-sessions", undefined, { cookie: first.cookies });
    await stage.post("/revoke-other-sessions?disableRefresh=true", undefined, { cookie: first.cookies });
    await stage.post("/revoke-session", { token: first.json.token }, { cookie: first.cookies });
    const again = await stage.signIn("ada@example.com");
    await stage.post("/revoke-sessions", undefined, { cookie: again.cookies });
  }),

  scenario("deferred-renewal", { clock: true, options: options({ session: { deferSessionRefresh: true, freshAge: 0 } }), covers: [`${LIST}@session.deferSessionRefresh`, `${ONE}@session.deferSessionRefresh`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(2 * DAY);
    await list(stage, reply.cookies);
    await stage.post("/revoke-session", { token: "another" }, { cookie: reply.cookies });
    await stage.advance(6 * DAY);
    await list(stage, reply.cookies);
  }),

  scenario("secure-cookies", { environment: "production", options: options({ baseURL: "https://auth.example.com" }), covers: POSTS.map((endpoint) => `${endpoint}@baseURL`) }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", {}, { headers: { "x-forwarded-for": "203.0.113.9" } });
    await list(stage, reply.cookies);
    await stage.post("/revoke-other-sessions", undefined, { cookie: reply.cookies });
    await stage.post("/revoke-session", { token: reply.json.token }, { cookie: reply.cookies });
    const again = await stage.signIn("ada@example.com", {}, { headers: { "x-forwarded-for": "203.0.113.9" } });
    await stage.post("/revoke-sessions", undefined, { cookie: again.cookies });
  }),

  scenario("official-client", { differs: listedWhileThere, covers: [LIST, ...POSTS] }, async (stage) => {
    await adaThrice(stage);
    const client = stage.client();
    await stage.result(client.signIn.email({ email: "ada@example.com", password: "correct horse battery" }));
    const sessions = await stage.result(client.listSessions());
    stage.expect(sessions.data?.length === 4, "four sessions are listed");
    await stage.result(client.revokeSession({ token: sessions.data?.[0]?.token ?? "" }));
    await stage.result(client.revokeOtherSessions());
    await stage.result(client.listSessions());
    await stage.result(client.revokeSessions());
    await stage.result(client.listSessions());
  }),
]);
