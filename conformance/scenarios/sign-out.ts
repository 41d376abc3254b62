/** POST /sign-out. */
import { area, options, scenario, signed } from "../lib/scenario.ts";
import { unknownType } from "../lib/intents.ts";
import type { Json } from "../lib/types.ts";

const ENDPOINT = "POST /sign-out";
const UNKNOWN_TOKEN = "0123456789abcdefghijABCDEFGHIJ00";

export default area("sign-out", [
  scenario("sessions", { covers: [ENDPOINT, `${ENDPOINT}#MISSING_OR_NULL_ORIGIN`] }, async (stage) => {
    await stage.post("/sign-out");
    const first = await stage.signUp("ada@example.com");
    const second = await stage.signIn("ada@example.com", { rememberMe: false });
    await stage.post("/sign-out", undefined, { cookie: first.cookies, origin: false });
    await stage.post("/sign-out", undefined, { cookie: first.cookies });
    await stage.get("/get-session", { cookie: first.cookies });
    await stage.post("/sign-out", undefined, { cookie: first.cookies });
    await stage.get("/get-session", { cookie: second.cookies });
    const token = decodeURIComponent(second.cookie("better-auth.session_token")).split(".")[0] ?? "";
    const bad = ["", token, `${token}.`, `${token}.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D`, signed(UNKNOWN_TOKEN), signed(UNKNOWN_TOKEN, "another secret"), "x"];
    for (const value of bad) await stage.post("/sign-out", undefined, { cookie: `better-auth.session_token=${value}` });
    await stage.get("/get-session", { cookie: second.cookies });
    await stage.post("/sign-out", undefined, { cookie: `${second.cookies}; better-auth.session_data=x; better-auth.session_data.0=a; better-auth.session_data.1=b; better-auth.session_data.01=c; better-auth.session_data.x=d` });
    await stage.get("/get-session", { cookie: second.cookies });
  }),

  scenario("bodies", { covers: [`${ENDPOINT}#VALIDATION_ERROR`, `${ENDPOINT}#BAD_REQUEST`, `${ENDPOINT}#UNSUPPORTED_MEDIA_TYPE`, `${ENDPOINT}#INVALID_CALLBACK_URL`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const bodies: Json[] = [{}, { callbackURL: "/x" }, { callbackURL: "http://localhost:3000/x" }, { callbackURL: "" }, { disableRedirect: true }, { disableRedirect: "true" }, { state: "s" }, { state: 1 }, { unknown: 1 }, { callbackURL: "http://evil.example" }, { callbackURL: 1 }, { callbackURL: null }, [], null, "text", 1, true, { callbackURL: "/x", disableRedirect: 1, state: {} }];
    for (const body of bodies) await stage.post("/sign-out", body);
    for (const body of [{ state: 1 }, { callbackURL: "http://evil.example" }] as Json[]) await stage.post("/sign-out", body, { cookie: reply.cookies });
    await stage.get("/get-session", { cookie: reply.cookies });
    const send = (text: string, type: string) => stage.post("/sign-out", undefined, { text, headers: type === "" ? {} : { "content-type": type } });
    for (const text of ["{bad", " ", ""]) await send(text, "application/json");
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/vnd.api+json", ""]) await send("{}", type);
    await stage.post("/sign-out?callbackURL=http://evil.example");
    await stage.post("/sign-out?callbackURL=/x");
    await stage.post("/sign-out?callbackURL=/x&callbackURL=/y");
    await stage.post("/sign-out?state=1");
    await stage.post("/sign-out", { callbackURL: "/x" }, { cookie: reply.cookies });
  }),

  scenario("unparsed-media-type", { covers: [ENDPOINT] }, async (stage) => {
    for (const type of ["x-application/json", "text/application/json"]) await stage.post("/sign-out", undefined, { text: '{"state":1}', headers: { "content-type": type }, differs: unknownType(type, "application/json") });
  }),

  scenario("secure-cookies", { environment: "production", options: options({ baseURL: "https://auth.example.com" }), covers: [`${ENDPOINT}@baseURL`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", {}, { headers: { "x-forwarded-for": "203.0.113.9" } });
    await stage.post("/sign-out");
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
    await stage.get("/get-session", { cookie: reply.cookies });
  }),

  scenario("user-gone", { covers: [ENDPOINT] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.sql(`PRAGMA foreign_keys = ON; DELETE FROM "user"`, `DELETE FROM "user"`);
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
  }),

  scenario("email-and-password-disabled", { options: options({ emailAndPassword: { enabled: false } }), covers: [`${ENDPOINT}@emailAndPassword.enabled`] }, async (stage) => {
    await stage.post("/sign-out");
    await stage.post("/sign-out", {}, { cookie: "a=1" });
  }),
]);
