/** GET and POST /get-session. */
import { area, options, scenario, signed, type Stage } from "../lib/scenario.ts";

const GET = "GET /get-session";
const POST = "POST /get-session";
const DAY = 86_400;
const UNKNOWN_TOKEN = "0123456789abcdefghijABCDEFGHIJ00";

const session = (stage: Stage, cookie: string, query = "") => stage.get(`/get-session${query}`, { cookie });

export default area("session", [
  scenario("cookies", { covers: [GET] }, async (stage) => {
    await stage.get("/get-session");
    const reply = await stage.signUp("ada@example.com", {}, { headers: { "user-agent": "agent/1", "x-forwarded-for": "203.0.113.9" } });
    const encoded = reply.cookie("better-auth.session_token");
    const decoded = decodeURIComponent(encoded);
    const [token = "", signature = ""] = decoded.split(".");
    const name = "better-auth.session_token";
    const values = [encoded, decoded, `"${encoded}"`, `"${decoded}"`, ` ${encoded} `, `%22${encoded}%22`, token, `${token}.`, `.${signature}`, `${token}.${"A".repeat(43)}=`, `${token}.${"A".repeat(43)}%3D`, `${token}.x=`, `${token}.${signature}x`, `x${encoded}`, `${token}.${token}.${signature}`, signed(UNKNOWN_TOKEN), signed(UNKNOWN_TOKEN, "another secret of some length"), signed(""), signed("a.b"), "%", "%ZZ", "%E0%A4%A", `${encoded}%`, "", '"', '""', "null"];
    for (const value of values) await session(stage, `${name}=${value}`);
    const good = `${name}=${encoded}`;
    const headers = [`${good}; ${name}=bad`, `${name}=bad; ${good}`, `${name}=; ${good}`, `a=1; ${good}; b=2`, `a=1;${good};b=2`, `;;; ${good}`, `a; ${good}`, `a ; b ; ${good};`, `=x; ${good}`, `Better-Auth.session_token=${encoded}`, `__Secure-${good}`, `__Host-${good}`, `better-auth-session_token=${encoded}`, `${name} = ${encoded}`, `x=${good}`, `x="; ${good}; y="`, `${good}, b=2`, `b=2, ${good}`, "", "a", "=", ";", `caf\u00e9=\u00ff; ${good}`];
    for (const header of headers) await session(stage, header);
    await stage.send({ method: "GET", target: "/api/auth/get-session", headers: [["cookie", "a=1"], ["cookie", good]], body: null });
    await stage.send({ method: "GET", target: "/api/auth/get-session", headers: [["cookie", good], ["cookie", `${name}=bad`]], body: null });
    await stage.get("/get-session", { headers: { authorization: `Bearer ${token}` } });
    await stage.get(`/get-session?token=${token}`);
    await stage.get("/get-session", { cookie: good, headers: { origin: "http://evil.example", referer: "http://evil.example/" } });
    await stage.get("/get-session", { cookie: good, text: "{bad", headers: { "content-type": "application/json" } });
    await stage.get("/get-session", { cookie: good, headers: { "user-agent": "another", "x-forwarded-for": "198.51.100.7" } });
  }),

  scenario("leftover-cookies", { covers: [GET] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const good = reply.cookies;
    const data = "better-auth.session_data";
    for (const extra of [`${data}=x`, `${data}=`, `${data}.0=a; ${data}.1=b`, `${data}=x; ${data}.0=a`, `${data}.00=a`, `${data}.-1=a`, `${data}.1.5=a`, `${data}.=a`, `${data}.7=a`, `${data}="x"`, `${data}=a; ${data}=b`, "better-auth.account_data=x"]) {
      await session(stage, `${good}; ${extra}`);
      await session(stage, extra);
    }
    await session(stage, `better-auth.session_token=${signed(UNKNOWN_TOKEN)}; ${data}=x; ${data}.0=a; better-auth.dont_remember=${signed("true")}`);
    await session(stage, `better-auth.session_token=bad; ${data}=x`);
    await session(stage, `${good}; better-auth.dont_remember=${signed("true")}`);
    await session(stage, `${good}; better-auth.dont_remember=bad`);
  }),

  scenario("queries", { covers: [GET] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    for (const query of ["?disableCookieCache=true", "?disableCookieCache=false", "?disableCookieCache=", "?disableCookieCache", "?disableRefresh=true", "?disableRefresh=0", "?disableRefresh=", "?disableRefresh=true&disableRefresh=false", "?disableCookieCache=1&disableCookieCache=2&disableCookieCache=3", "?unknown=1", "?callbackURL=http://evil.example", "?disablerefresh=true", "?a[b]=c", "?%64isableRefresh=1", "?__proto__=1", "?disableRefresh=1&disableCookieCache=1", "?"]) {
      await session(stage, reply.cookies, query);
    }
    await stage.get("/get-session?disableRefresh=true");
  }),

  scenario("post-needs-deferred-refresh", { covers: [`${POST}#METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED`, `${POST}#MISSING_OR_NULL_ORIGIN`, `${POST}#INVALID_ORIGIN`, `${POST}#INVALID_CALLBACK_URL`] }, async (stage) => {
    await stage.post("/get-session");
    const reply = await stage.signUp("ada@example.com");
    await stage.post("/get-session", undefined, { cookie: reply.cookies });
    await stage.post("/get-session", {}, { cookie: reply.cookies });
    await stage.post("/get-session", undefined, { text: "text", headers: { "content-type": "text/plain" } });
    await stage.post("/get-session", undefined, { text: "{bad", headers: { "content-type": "application/json" } });
    await stage.post("/get-session", undefined, { cookie: reply.cookies, origin: false });
    await stage.post("/get-session", undefined, { cookie: reply.cookies, headers: { origin: "http://evil.example" } });
    await stage.post("/get-session", { callbackURL: "http://evil.example" });
    await stage.post("/get-session?callbackURL=http://evil.example");
    await stage.post("/get-session?callbackURL=/fine");
    await stage.post("/get-session?disableRefresh=true&disableRefresh=1");
  }),

  scenario("rows-gone", { covers: [GET] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.sql(`UPDATE "user" SET "name" = 'Changed', "emailVerified" = 1`, `UPDATE "user" SET "name" = 'Changed', "emailVerified" = true`);
    await session(stage, reply.cookies);
    await stage.sessions(`UPDATE "session" SET "ipAddress" = NULL, "userAgent" = NULL`, (session) => ({ ...session, ipAddress: null, userAgent: null }));
    await session(stage, reply.cookies);
    await stage.sessions(`DELETE FROM "session"`, () => undefined);
    await session(stage, reply.cookies);
  }),

  scenario("user-gone-on-sqlite", { databases: ["sqlite"], covers: [GET] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.sql(`PRAGMA foreign_keys = OFF; DELETE FROM "user"`);
    await session(stage, reply.cookies);
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
  }),

  scenario("nul-token-on-sqlite", { databases: ["sqlite"], covers: [GET] }, async (stage) => {
    await session(stage, `better-auth.session_token=${signed("a\0b")}`);
    await stage.post("/sign-out", undefined, { cookie: `better-auth.session_token=${signed("a\0b")}` });
  }),

  scenario("always-refreshed-when-update-age-is-zero", { options: options({ session: { updateAge: 0 } }), covers: [`${GET}@session.updateAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await session(stage, reply.cookies);
    await session(stage, reply.cookies, "?disableRefresh=true");
    await session(stage, reply.cookies, "?disableRefresh=");
    const short = await stage.signIn("ada@example.com", { rememberMe: false });
    await session(stage, short.cookies);
  }),

  scenario("refresh-and-expiry", { clock: true, covers: [GET] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(DAY - 20);
    await session(stage, reply.cookies);
    await stage.advance(40);
    await session(stage, reply.cookies, "?disableRefresh=true");
    await session(stage, reply.cookies, "?disableRefresh=false");
    await session(stage, reply.cookies, "?disableRefresh=a&disableRefresh=");
    await session(stage, reply.cookies, "?disableRefresh=");
    await session(stage, reply.cookies);
    await stage.advance(DAY + 20);
    await session(stage, `${reply.cookies}; better-auth.dont_remember=${signed("true")}`);
    await session(stage, `${reply.cookies}; better-auth.dont_remember=bad`);
    await session(stage, reply.cookies);
    await stage.advance(7 * DAY - 30);
    await session(stage, `${reply.cookies}; better-auth.dont_remember=${signed("true")}`);
    await stage.advance(60);
    await session(stage, `${reply.cookies}; better-auth.session_data=x; better-auth.session_data.3=x`);
    await session(stage, reply.cookies);
    await stage.signIn("ada@example.com");
  }),

  scenario("not-remembered", { clock: true, covers: [GET] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", { rememberMe: false });
    await session(stage, reply.cookies);
    await stage.advance(DAY - 30);
    await session(stage, reply.cookies);
    await stage.advance(60);
    await session(stage, reply.cookies);
    const again = await stage.signIn("ada@example.com", { rememberMe: false });
    await session(stage, `better-auth.session_token=${again.cookie("better-auth.session_token")}`);
    await stage.advance(2 * DAY);
    await session(stage, again.cookies);
    const last = await stage.signIn("ada@example.com", { rememberMe: false });
    await stage.advance(DAY + 30);
    await stage.post("/sign-out", undefined, { cookie: last.cookies });
  }),

  scenario("lifetimes", { clock: true, options: options({ session: { expiresIn: 3600, updateAge: 600 } }), covers: [`${GET}@session.expiresIn`, `${GET}@session.updateAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(580);
    await session(stage, reply.cookies);
    await stage.advance(40);
    await session(stage, reply.cookies);
    await stage.advance(3570);
    await session(stage, reply.cookies);
    const short = await stage.signIn("ada@example.com", { rememberMe: false });
    await session(stage, `better-auth.session_token=${short.cookie("better-auth.session_token")}`);
    await stage.advance(3640);
    await session(stage, reply.cookies);
    await session(stage, short.cookies);
  }),

  scenario("refresh-disabled", { clock: true, options: options({ session: { disableSessionRefresh: true } }), covers: [`${GET}@session.disableSessionRefresh`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(2 * DAY);
    await session(stage, reply.cookies);
    await stage.advance(5 * DAY + 30);
    await session(stage, reply.cookies);
  }),

  scenario("refresh-deferred", { clock: true, options: options({ session: { deferSessionRefresh: true } }), covers: [GET, POST, `${GET}@session.deferSessionRefresh`, `${POST}@session.deferSessionRefresh`] }, async (stage) => {
    await stage.get("/get-session");
    await stage.post("/get-session");
    const reply = await stage.signUp("ada@example.com");
    const post = (query = "") => stage.post(`/get-session${query}`, undefined, { cookie: reply.cookies });
    await session(stage, reply.cookies);
    await post();
    await stage.advance(DAY + 30);
    await session(stage, reply.cookies);
    await session(stage, reply.cookies, "?disableRefresh=true");
    await session(stage, `${reply.cookies}; better-auth.dont_remember=${signed("true")}`);
    await post("?disableRefresh=true");
    await stage.post("/get-session", { any: "body" }, { cookie: reply.cookies });
    await session(stage, reply.cookies);
    await stage.advance(DAY + 30);
    await stage.post("/get-session", undefined, { cookie: reply.cookies, text: "{bad", headers: { "content-type": "text/plain" } });
    await stage.post("/get-session", undefined, { cookie: reply.cookies, origin: false });
    await stage.advance(7 * DAY + 30);
    await session(stage, reply.cookies);
    await post();
    await post();
    await session(stage, `better-auth.session_token=${signed(UNKNOWN_TOKEN)}`);
  }),

  scenario("refresh-deferred-and-disabled", { clock: true, options: options({ session: { deferSessionRefresh: true, disableSessionRefresh: true } }), covers: [`${POST}@session.disableSessionRefresh`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(2 * DAY);
    await session(stage, reply.cookies);
    await stage.post("/get-session", undefined, { cookie: reply.cookies });
  }),

  scenario("secure-refresh", { clock: true, environment: "production", options: options({ baseURL: "https://auth.example.com" }), covers: [`${GET}@baseURL`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", {}, { headers: { "x-forwarded-for": "203.0.113.9" } });
    await session(stage, reply.cookies);
    await stage.advance(DAY + 30);
    await session(stage, reply.cookies);
    await stage.advance(8 * DAY);
    await session(stage, reply.cookies);
  }),
]);
