/** POST /change-password and POST /verify-password. */
import { area, options, PASSWORD, scenario, signed, type Stage } from "../lib/scenario.ts";
import type { Json } from "../lib/types.ts";

const CHANGE = "POST /change-password";
const VERIFY = "POST /verify-password";
const DAY = 86_400;
const UNKNOWN_TOKEN = "0123456789abcdefghijABCDEFGHIJ00";
const NEW = "another horse battery";

const change = (stage: Stage, cookie: string | undefined, more: { [key: string]: Json } = {}, headers: { [name: string]: string } = {}) =>
  stage.post("/change-password", { currentPassword: PASSWORD, newPassword: NEW, ...more }, cookie === undefined ? { headers } : { cookie, headers });
const verify = (stage: Stage, password: Json, cookie?: string) => stage.post("/verify-password", { password }, cookie === undefined ? {} : { cookie });

export default area("password", [
  scenario("change", { covers: [CHANGE, `${CHANGE}#UNAUTHORIZED`, `${CHANGE}#INVALID_PASSWORD`] }, async (stage) => {
    await change(stage, undefined);
    const first = await stage.signUp("ada@example.com");
    const second = await stage.signIn("ada@example.com");
    for (const value of ["", first.json.token, signed(UNKNOWN_TOKEN)]) await change(stage, `better-auth.session_token=${value}`);
    await change(stage, first.cookies, { currentPassword: "wrong password" });
    await change(stage, first.cookies, { currentPassword: "" });
    await change(stage, first.cookies, { newPassword: PASSWORD });
    await change(stage, first.cookies, { unknown: 1, userId: "x" });
    await change(stage, first.cookies);
    for (const reply of [first, second]) await stage.get("/get-session", { cookie: reply.cookies });
    await stage.signIn("ada@example.com");
    await stage.signIn("ada@example.com", { password: NEW });
    await change(stage, first.cookies, { currentPassword: NEW, newPassword: "  pa\u00dfw\u00f6rter \u2713 " });
    await stage.signIn("ada@example.com", { password: "  pa\u00dfw\u00f6rter \u2713 " });
    await change(stage, `${second.cookies}; better-auth.session_data=x`, { currentPassword: "  pa\u00dfw\u00f6rter \u2713 ", newPassword: "cafe\u0301 latte", revokeOtherSessions: false });
    await stage.signIn("ada@example.com", { password: "caf\u00e9 latte" });
  }),

  scenario("change-and-revoke", { covers: [CHANGE] }, async (stage) => {
    const first = await stage.signUp("ada@example.com", {}, { headers: { "user-agent": "first" } });
    const second = await stage.signIn("ada@example.com", {}, { headers: { "user-agent": "second" } });
    const eve = await stage.signUp("eve@example.com", { name: "Eve" });
    await change(stage, first.cookies, { revokeOtherSessions: true, currentPassword: "wrong password" });
    const changed = await change(stage, first.cookies, { revokeOtherSessions: true }, { "user-agent": "third", "x-forwarded-for": "203.0.113.9" });
    for (const reply of [first, second, eve, changed]) await stage.get("/get-session", { cookie: reply.cookies });
    await change(stage, first.cookies, { revokeOtherSessions: true, currentPassword: NEW });
    await change(stage, changed.cookies, { revokeOtherSessions: true, currentPassword: NEW, newPassword: PASSWORD });
  }),

  scenario("change-and-revoke-where-not-remembered", { clock: true, covers: [CHANGE] }, async (stage) => {
    const first = await stage.signUp("ada@example.com", { rememberMe: false });
    const changed = await change(stage, first.cookies, { revokeOtherSessions: true });
    await change(stage, `better-auth.session_token=${changed.cookie("better-auth.session_token")}; better-auth.dont_remember=bad`, { revokeOtherSessions: true, currentPassword: NEW });
    const again = await stage.signIn("ada@example.com", { rememberMe: false, password: NEW });
    await stage.advance(DAY - 30);
    await change(stage, again.cookies, { currentPassword: "wrong password" });
    await stage.advance(60);
    await change(stage, again.cookies);
  }),

  scenario("change-lengths", { covers: [`${CHANGE}#PASSWORD_TOO_SHORT`, `${CHANGE}#PASSWORD_TOO_LONG`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    for (const newPassword of ["", "1234567", "12345678", "\u{1F40E}\u{1F40E}\u{1F40E}", "x".repeat(129), "x".repeat(128)]) await change(stage, reply.cookies, { newPassword, currentPassword: "wrong password" });
    await change(stage, reply.cookies, { currentPassword: "x".repeat(129) });
    await change(stage, reply.cookies, { currentPassword: "x".repeat(129), newPassword: "short" });
    await change(stage, undefined, { newPassword: "short" });
  }),

  scenario("change-lengths-as-set", { options: options({ emailAndPassword: { minPasswordLength: 12, maxPasswordLength: 24 } }), covers: [`${CHANGE}@emailAndPassword.minPasswordLength`, `${CHANGE}@emailAndPassword.maxPasswordLength`, `${VERIFY}@emailAndPassword.maxPasswordLength`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    for (const length of [11, 12, 24, 25]) await change(stage, reply.cookies, { newPassword: "x".repeat(length), currentPassword: "wrong password" });
    await change(stage, reply.cookies, { currentPassword: "x".repeat(25) });
    for (const length of [11, 24, 25]) await verify(stage, "x".repeat(length), reply.cookies);
  }),

  scenario("without-a-password", { covers: [`${CHANGE}#CREDENTIAL_ACCOUNT_NOT_FOUND`, `${VERIFY}#INVALID_PASSWORD`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const both = async () => {
      await change(stage, reply.cookies, { revokeOtherSessions: true });
      await verify(stage, PASSWORD, reply.cookies);
    };
    await stage.sql(`UPDATE "account" SET "accountId" = 'another'`);
    await both();
    await stage.sql(`UPDATE "account" SET "accountId" = "userId", "providerId" = 'github'`);
    await both();
    await stage.sql(`UPDATE "account" SET "providerId" = 'credential', "password" = NULL`);
    await both();
    await stage.sql(`UPDATE "account" SET "password" = ''`);
    await both();
    await stage.sql(`DELETE FROM "account"`);
    await both();
  }),

  scenario("change-bodies", { covers: [`${CHANGE}#VALIDATION_ERROR`, `${CHANGE}#BAD_REQUEST`, `${CHANGE}#UNSUPPORTED_MEDIA_TYPE`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const good = { currentPassword: PASSWORD, newPassword: NEW };
    const bodies: Json[] = [{}, { currentPassword: PASSWORD }, { newPassword: NEW }, { currentPassword: 1, newPassword: [] }, { ...good, revokeOtherSessions: "true" }, { ...good, revokeOtherSessions: 1 }, { ...good, revokeOtherSessions: null }, { currentPassword: null, newPassword: null, revokeOtherSessions: {} }, [], null, "text"];
    for (const body of bodies) await stage.post("/change-password", body);
    await stage.post("/change-password");
    await stage.post("/change-password", { ...good, revokeOtherSessions: "true" }, { cookie: reply.cookies });
    const send = (text: string, type: string) => stage.post("/change-password", undefined, { text, headers: type === "" ? {} : { "content-type": type } });
    for (const text of ["{bad", ""]) await send(text, "application/json");
    for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) await send(JSON.stringify(good), type);
  }),

  scenario("verify", { covers: [VERIFY, `${VERIFY}#UNAUTHORIZED`, `${VERIFY}#INVALID_PASSWORD`, `${VERIFY}#PASSWORD_TOO_LONG`] }, async (stage) => {
    await verify(stage, PASSWORD);
    const reply = await stage.signUp("ada@example.com");
    await stage.signUp("eve@example.com", { name: "Eve", password: NEW });
    await verify(stage, PASSWORD, `better-auth.session_token=${signed(UNKNOWN_TOKEN)}`);
    for (const password of [PASSWORD, NEW, "", "short", "x".repeat(128), "x".repeat(129), ` ${PASSWORD}`]) await verify(stage, password, reply.cookies);
    await stage.post("/verify-password", { password: PASSWORD, userId: "x" }, { cookie: reply.cookies });
  }),

  scenario("verify-bodies", { covers: [`${VERIFY}#VALIDATION_ERROR`, `${VERIFY}#BAD_REQUEST`, `${VERIFY}#UNSUPPORTED_MEDIA_TYPE`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const bodies: Json[] = [{}, { password: 1 }, { password: null }, [], null, "text"];
    for (const body of bodies) await stage.post("/verify-password", body);
    await stage.post("/verify-password");
    await stage.post("/verify-password", {}, { cookie: reply.cookies });
    const send = (text: string, type: string) => stage.post("/verify-password", undefined, { text, headers: type === "" ? {} : { "content-type": type } });
    for (const text of ["{bad", ""]) await send(text, "application/json");
    for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) await send('{"password":"a"}', type);
  }),

  scenario("origins", { covers: [CHANGE, VERIFY].flatMap((endpoint) => [`${endpoint}#MISSING_OR_NULL_ORIGIN`, `${endpoint}#INVALID_ORIGIN`, `${endpoint}#INVALID_CALLBACK_URL`]) }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    for (const path of ["/change-password", "/verify-password"]) {
      const body = { password: PASSWORD, currentPassword: PASSWORD, newPassword: NEW };
      await stage.post(path, body, { cookie: reply.cookies, origin: false });
      await stage.post(path, body, { cookie: reply.cookies, headers: { origin: "http://evil.example" } });
      await stage.post(path, { ...body, callbackURL: "http://evil.example" }, { cookie: reply.cookies });
      await stage.get(path, { cookie: reply.cookies });
    }
  }),

  scenario("renewed-by-the-guard", { options: options({ session: { updateAge: 0 } }), covers: [`${CHANGE}@session.updateAge`, `${VERIFY}@session.updateAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await verify(stage, PASSWORD, reply.cookies);
    await change(stage, reply.cookies, { currentPassword: "wrong password" });
    await change(stage, reply.cookies, { revokeOtherSessions: true });
  }),

  scenario("lifetime-of-the-new-session", { environment: "production", options: options({ baseURL: "https://auth.example.com", session: { expiresIn: 3600 } }), covers: [`${CHANGE}@session.expiresIn`, `${CHANGE}@baseURL`] }, async (stage) => {
    const headers = { "x-forwarded-for": "203.0.113.9" };
    const reply = await stage.signUp("ada@example.com", {}, { headers });
    await change(stage, reply.cookies, { revokeOtherSessions: true }, headers);
  }),

  scenario("official-client", { covers: [CHANGE] }, async (stage) => {
    const client = stage.client();
    await stage.result(client.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada" }));
    await stage.result(client.changePassword({ currentPassword: "wrong password", newPassword: NEW }));
    await stage.result(client.changePassword({ currentPassword: PASSWORD, newPassword: NEW, revokeOtherSessions: true }));
    await stage.result(client.getSession());
  }),
]);
