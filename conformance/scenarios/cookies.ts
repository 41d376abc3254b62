/** Names and attributes of cookies, wherever the endpoints set, renew and expire them. */
import { area, options, scenario, signed, type Stage } from "../lib/scenario.ts";
import type { Options } from "../lib/types.ts";

const ENDPOINTS = ["POST /sign-up/email", "POST /sign-in/email", "POST /sign-out", "GET /get-session"];

const covers = (...names: string[]) => ENDPOINTS.flatMap((endpoint) => names.map((name) => `${endpoint}@advanced.${name}`));

/** Every way in which a cookie is set or taken back. `updateAge: 0` renews the session whenever it is asked for. */
async function everyCookie(stage: Stage, names: { token: string; data: string; dont: string }) {
  const reply = await stage.signUp("ada@example.com");
  await stage.get("/get-session", { cookie: reply.cookies });
  await stage.get("/get-session", { cookie: `${reply.cookies}; ${names.data}=x; ${names.data}.3=y` });
  await stage.get("/get-session", { cookie: `${names.token}=${signed("0123456789abcdefghijABCDEFGHIJ00")}` });
  const short = await stage.signIn("ada@example.com", { rememberMe: false });
  await stage.get("/get-session", { cookie: short.cookies });
  await stage.signIn("ada@example.com", {}, { cookie: `${names.dont}=${signed("true")}` });
  await stage.post("/sign-out", undefined, { cookie: `${reply.cookies}; ${names.data}.0=x` });
  await stage.get("/get-session", { cookie: "better-auth.session_token=x; better-auth.session_data=x" });
}

const plain = { token: "better-auth.session_token", data: "better-auth.session_data", dont: "better-auth.dont_remember" };
const prefixed = (prefix: string) => ({ token: `${prefix}${plain.token}`, data: `${prefix}${plain.data}`, dont: `${prefix}${plain.dont}` });

const advanced = (advanced: Options, extra: Options = {}) => options({ session: { updateAge: 0 }, advanced, ...extra });

export default area("cookies", [
  scenario("attributes-of-all", { options: advanced({ defaultCookieAttributes: { sameSite: "none", secure: true, partitioned: true, httpOnly: false, path: "/api", domain: "example.com", maxAge: 1000 } }), covers: covers("defaultCookieAttributes") }, (stage) => everyCookie(stage, plain)),

  scenario("attributes-without-secure", { options: advanced({ defaultCookieAttributes: { sameSite: "Strict" }, cookies: { session_token: { attributes: { partitioned: true } }, session_data: { attributes: { sameSite: "none", partitioned: true } } } }), covers: covers("defaultCookieAttributes", "cookies") }, (stage) => everyCookie(stage, plain)),

  scenario("attributes-taken-away", { options: advanced({ defaultCookieAttributes: { path: "", domain: "", secure: false }, useSecureCookies: true }), covers: covers("defaultCookieAttributes") }, (stage) => everyCookie(stage, prefixed("__Secure-"))),

  scenario("attributes-of-one", { options: advanced({ defaultCookieAttributes: { sameSite: "strict", path: "/api", maxAge: 1000 }, cookies: { session_token: { attributes: { sameSite: "None", maxAge: 5, secure: true } }, session_data: { attributes: { path: "/", maxAge: 50, domain: "example.com" } }, dont_remember: { attributes: { httpOnly: false, maxAge: 70 } } } }), covers: covers("cookies", "defaultCookieAttributes") }, (stage) => everyCookie(stage, plain)),

  scenario("names", { options: advanced({ cookiePrefix: "my-app", cookies: { session_token: { name: "sid" }, session_data: { name: "sid_data" } } }), covers: covers("cookies") }, (stage) => everyCookie(stage, { token: "sid", data: "sid_data", dont: "my-app.dont_remember" })),

  scenario("secure-names", { options: advanced({ useSecureCookies: true, cookies: { session_token: { name: "sid" }, dont_remember: { name: "__Host-short" } } }), covers: covers("cookies") }, (stage) => everyCookie(stage, { token: "__Secure-sid", data: "__Secure-better-auth.session_data", dont: "__Secure-__Host-short" })),

  scenario("host-only-names", { options: advanced({ defaultCookieAttributes: { path: "/api", domain: "example.com" }, cookies: { session_token: { name: "__Host-sid" }, session_data: { name: "__Host-data" } } }), covers: covers("cookies") }, (stage) => everyCookie(stage, { token: "__Host-sid", data: "__Host-data", dont: plain.dont })),

  scenario("shared-with-sub-domains", { options: advanced({ crossSubDomainCookies: { enabled: true } }, { baseURL: "https://auth.example.com" }), covers: covers("crossSubDomainCookies") }, (stage) => everyCookie(stage, prefixed("__Secure-"))),

  scenario("shared-within-a-domain", { options: advanced({ crossSubDomainCookies: { enabled: true, domain: ".example.com", additionalCookies: ["session_token"] }, cookies: { dont_remember: { attributes: { domain: "" } } } }, { baseURL: "https://auth.example.com" }), covers: covers("crossSubDomainCookies", "cookies") }, (stage) => everyCookie(stage, prefixed("__Secure-"))),

  scenario("not-shared", { options: advanced({ crossSubDomainCookies: { enabled: false, domain: "example.com" } }), covers: covers("crossSubDomainCookies") }, (stage) => everyCookie(stage, plain)),
]);
