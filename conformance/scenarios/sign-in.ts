/** POST /sign-in/email. What depends on a sign-up option is in sign-up.ts. */
import { area, options, PASSWORD, scenario, signed } from "../lib/scenario.ts";
import type { Header, Intent, Json } from "../lib/types.ts";

const ENDPOINT = "POST /sign-in/email";
const UNKNOWN_TOKEN = "0123456789abcdefghijABCDEFGHIJ00";

/** Upstream fails after it has made the session; the token is seen first in the reply here, and in the row there. */
const percentEncoded: Intent = {
  decision: "origins-and-redirects",
  narthex: ({ rows }, database) => ({
    status: 200,
    headers: [
      ["content-type", "application/json"],
      ["location", "/%D0%B4%D0%BE%D0%BC"],
      ["set-cookie", "better-auth.session_token=<rand32:5>.<sig:2>; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"],
    ],
    body: JSON.stringify({
      redirect: true,
      token: "<rand32:5>",
      url: "/дом",
      user: { name: "Ada", email: "ada@example.com", emailVerified: false, image: null, createdAt: "<step1+0s>", updatedAt: "<step1+0s>", id: "<rand32:2>" },
    }),
    rows: { [database]: { session: (rows.session ?? []).map((row) => (row.id === "<rand32:5>" ? { ...row, id: "<rand32:6>", token: "<rand32:5>" } : row)) } },
  }),
};

export default area("sign-in", [
  scenario("accepts", { covers: [ENDPOINT] }, async (stage) => {
    await stage.signUp("ada@example.com", { name: "Ada Lovelace", image: "https://example.com/a.png" });
    const first = await stage.signIn("ada@example.com", {}, { headers: { "user-agent": "agent/2", "x-forwarded-for": "203.0.113.9" } });
    await stage.get("/get-session", { cookie: first.cookies });
    await stage.signIn("ADA@Example.com");
    await stage.signIn("ada@example.com", { rememberMe: true });
    const short = await stage.signIn("ada@example.com", { rememberMe: false });
    await stage.get("/get-session", { cookie: short.cookies });
    await stage.signIn("ada@example.com", {}, { cookie: short.cookies });
    await stage.signIn("ada@example.com", { rememberMe: false }, { cookie: short.cookies });
    await stage.signIn("ada@example.com", {}, { cookie: first.cookies });
    await stage.signIn("ada@example.com", {}, { cookie: `better-auth.dont_remember=${signed("true")}` });
    await stage.signIn("ada@example.com", {}, { cookie: "better-auth.dont_remember=true" });
    await stage.signIn("ada@example.com", {}, { cookie: `better-auth.dont_remember=${signed("anything")}` });
    await stage.signIn("ada@example.com", {}, { cookie: "better-auth.session_data=stale; better-auth.session_data.0=x" });
    await stage.signIn("ada@example.com", { unknown: 1, name: "Other", user: {} });
    await stage.post("/sign-in/email?rememberMe=false&email=eve@example.com", { email: "ada@example.com", password: PASSWORD });
  }),

  scenario("callback-url", { covers: [ENDPOINT] }, async (stage) => {
    await stage.signUp("ada@example.com");
    const accepted = ["/", "/home", "/home?x=1&y=2#z", "", "http://localhost:3000", "http://localhost:3000/home", "http://localhost:3000?x", "/a b", "/%20", "/caf\u00e9", "/a'\"<>", "/?next=//evil.example", "/?next=https://evil.example", "/..", "/a/../../b", "/ "];
    for (const callbackURL of accepted) await stage.signIn("ada@example.com", { callbackURL });
    await stage.signIn("ada@example.com", { callbackURL: "/home", rememberMe: false });
    await stage.signIn("ada@example.com", { callbackURL: "/home", password: "wrong password" });
  }),

  scenario("callback-url-no-header-can-hold", { covers: [ENDPOINT] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signIn("ada@example.com", { callbackURL: "/дом" }, { differs: percentEncoded });
  }),

  scenario("refuses", { covers: [`${ENDPOINT}#INVALID_EMAIL_OR_PASSWORD`, `${ENDPOINT}#INVALID_EMAIL`, `${ENDPOINT}#PASSWORD_TOO_LONG`] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("eve@example.com", { password: "another password" });
    await stage.signIn("nobody@example.com");
    for (const password of ["", "wrong password", `${PASSWORD} `, PASSWORD.toUpperCase(), "another password", "short", "x".repeat(128)]) await stage.signIn("ada@example.com", { password });
    for (const password of ["x".repeat(129), "😀".repeat(65), "x".repeat(5000)]) await stage.signIn("ada@example.com", { password });
    await stage.signIn("nobody@example.com", { password: "x".repeat(129) });
    for (const email of ["", "bad", "a@b", " ada@example.com", "ada@example.com ", "ada@example", "ü@example.com"]) await stage.signIn(email);
    await stage.signIn("bad", { password: "x".repeat(129) });
    await stage.signIn("ada@example.com", { password: "wrong password", rememberMe: false });
  }),

  scenario("accounts-that-cannot", { covers: [`${ENDPOINT}#INVALID_EMAIL_OR_PASSWORD`] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.sql(`UPDATE "account" SET "password" = NULL`);
    await stage.signIn("ada@example.com");
    await stage.sql(`UPDATE "account" SET "password" = ''`);
    await stage.signIn("ada@example.com");
    await stage.sql(`UPDATE "account" SET "providerId" = 'github'`);
    await stage.signIn("ada@example.com");
    await stage.sql(`DELETE FROM "account"`);
    await stage.signIn("ada@example.com");
  }),

  scenario("account-of-another-id", { covers: [`${ENDPOINT}#INVALID_EMAIL_OR_PASSWORD`] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.sql(`UPDATE "account" SET "accountId" = 'other'`);
    await stage.signIn("ada@example.com");
  }),

  scenario("users-as-stored", { covers: [ENDPOINT] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.sql(`UPDATE "user" SET "emailVerified" = 1, "image" = 'i', "name" = ''`, `UPDATE "user" SET "emailVerified" = true, "image" = 'i', "name" = ''`);
    const reply = await stage.signIn("ada@example.com");
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.sql(`UPDATE "user" SET "email" = 'Ada@Example.com'`);
    await stage.signIn("ada@example.com");
    await stage.signIn("Ada@Example.com");
  }),

  scenario("validation", { covers: [`${ENDPOINT}#VALIDATION_ERROR`] }, async (stage) => {
    await stage.signUp("ada@example.com");
    const send = (body: Json) => stage.post("/sign-in/email", body);
    const wrong: Json[] = [null, 1, true, [], ["a"], {}];
    for (const field of ["email", "password", "callbackURL", "rememberMe"]) {
      for (const value of wrong) await send({ email: "nobody@example.com", password: PASSWORD, [field]: value } as Json);
    }
    for (const body of [{}, [], null, true, 1, "", "text", { email: "x@example.com" }, { password: "x" }, { email: 1, password: 2, callbackURL: "/x", rememberMe: 4 }] as Json[]) await send(body);
    await stage.post("/sign-in/email");
    await stage.post("/sign-in/email?email=ada@example.com&password=correct");
  }),

  scenario("bodies", { covers: [`${ENDPOINT}#BAD_REQUEST`, `${ENDPOINT}#UNSUPPORTED_MEDIA_TYPE`] }, async (stage) => {
    await stage.signUp("ada@example.com");
    const text = (body: string, headers: Header[] | { [name: string]: string }) => stage.post("/sign-in/email", undefined, { text: body, headers });
    const good = JSON.stringify({ email: "ada@example.com", password: PASSWORD });
    for (const body of ["{bad", " ", "", "nul"]) await text(body, { "content-type": "application/json" });
    for (const type of ["text/plain", "multipart/form-data; boundary=x", "application/octet-stream", "application/vnd.api+json"]) await text(good, { "content-type": type });
    await text(good, {});
    await text(good, { "content-type": "application/json; charset=utf-8" });
    await text("x".repeat(100), { "content-type": "text/plain", cookie: "a=1" });
  }),

  scenario("form", { covers: [ENDPOINT, `${ENDPOINT}#VALIDATION_ERROR`] }, async (stage) => {
    await stage.signUp("ada@example.com");
    const form = (fields: { [name: string]: string }, headers: { [name: string]: string } = {}) => stage.post("/sign-in/email", undefined, { form: fields, headers });
    await form({ email: "ada@example.com", password: PASSWORD });
    await form({ email: "ada@example.com", password: "wrong password" });
    await form({ email: "ada@example.com", password: PASSWORD, callbackURL: "/home" });
    await form({ email: "ada@example.com", password: PASSWORD, rememberMe: "true" });
    await form({ email: "ada@example.com" });
    await form({ email: "ada@example.com", password: PASSWORD }, { origin: "http://localhost:3000", "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" });
    await form({ email: "ada@example.com", password: PASSWORD }, { origin: "http://evil.example" });
    await form({ email: "ada@example.com", password: PASSWORD, callbackURL: "http://evil.example" });
    await form({});
  }),

  scenario("many-sessions", { covers: [ENDPOINT] }, async (stage) => {
    const replies = [await stage.signUp("ada@example.com"), await stage.signIn("ada@example.com"), await stage.signIn("ada@example.com")];
    for (const reply of replies) await stage.get("/get-session", { cookie: reply.cookies });
    await stage.post("/sign-out", undefined, { cookie: replies[1]?.cookies ?? "" });
    for (const reply of replies) await stage.get("/get-session", { cookie: reply.cookies });
    await stage.get("/get-session", { cookie: `better-auth.session_token=${signed(UNKNOWN_TOKEN)}` });
  }),

  scenario("production", { environment: "production", options: options({ baseURL: "https://auth.example.com" }), covers: [ENDPOINT] }, async (stage) => {
    const headers = { "x-forwarded-for": "203.0.113.9" };
    await stage.signUp("ada@example.com", {}, { headers });
    await stage.signIn("ada@example.com", { rememberMe: false, callbackURL: "/home" }, { headers });
    await stage.signIn("ada@example.com", { password: "wrong password" });
    await stage.signIn("ada@example.com", {}, { headers: { origin: "http://auth.example.com" } });
  }),
]);
