/** Who may send requests and where replies may lead: CSRF, Origin and callback URLs, on every endpoint in reach. */
import { area, options, scenario, type Stage } from "../lib/scenario.ts";
import type { Header, Intent, Json, Options } from "../lib/types.ts";

const SIGN_IN = "POST /sign-in/email";
const SIGN_UP = "POST /sign-up/email";
const SIGN_OUT = "POST /sign-out";

type Headers = { [name: string]: string };
/** Let through, it is refused for its email address, which costs no password hash. */
const signIn = (stage: Stage, headers: Headers | Header[], body: { [key: string]: Json } = {}) => stage.signIn("not an address", body, { headers });
/** Nobody is believed about the scheme. */
const signedOutAllTheSame: Intent = {
  decision: "configured-scheme",
  narthex: {
    status: 200,
    headers: [
      ["content-type", "application/json"],
      ...["session_token", "session_data", "dont_remember"].map((name): Header => ["set-cookie", `better-auth.${name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax`]),
    ],
    body: JSON.stringify({ success: true }),
  },
};

const signOut = (stage: Stage, headers: Headers | Header[]) => stage.post("/sign-out", undefined, { headers });

const FETCH: Headers[] = [
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", origin: "http://localhost:3000" },
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", origin: "http://localhost:3000" },
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" },
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "Navigate", origin: "http://localhost:3000" },
  { "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate" },
  { "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", origin: "http://localhost:3000" },
  { "sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", origin: "http://evil.example" },
  { "sec-fetch-site": "none" },
  { "sec-fetch-dest": "document" },
  { "sec-fetch-dest": "empty", referer: "http://localhost:3000/x" },
  { "sec-fetch-site": "" },
  { "sec-fetch-site": " ", "sec-fetch-mode": " " },
];

const CALLBACKS = ["//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\\/evil.example", "/a\\b", "/%2fevil", "/%2Fevil", "/%5cevil", "/a%5C", "/?a=%2f%5c", "/#%2f", "/\tevil", "/a\nb", "/\u0000", "/\u0085", "http://evil.example", "http://localhost:3000.evil.example", "http://localhost:3000@evil.example", "http://evil.example@localhost:3000/", "http://localhost:3001", "https://localhost:3000", "http://LOCALHOST:3000/x", "HTTP://localhost:3000", "http://localhost", "http:localhost:3000", "http:/localhost:3000", "http:\\\\localhost:3000", "localhost:3000", "javascript:alert(1)", "data:text/html,x", "myapp://callback", "x", " /x", "/x ", "?x", "#x", ".", "http://", "http://[::1]:3000", "null", "about:blank", "file:///etc/passwd", "/caf\u00e9", "/漢字", "/a b"];

export default area("origin", [
  scenario(
    "origin-header",
    { covers: [`${SIGN_IN}#MISSING_OR_NULL_ORIGIN`, `${SIGN_IN}#INVALID_ORIGIN`, `${SIGN_OUT}#MISSING_OR_NULL_ORIGIN`, `${SIGN_OUT}#INVALID_ORIGIN`, `${SIGN_UP}#MISSING_OR_NULL_ORIGIN`, `${SIGN_UP}#INVALID_ORIGIN`] },
    async (stage) => {
      const origins = ["http://localhost:3000", "http://localhost:3000/", "http://localhost:3000/path", "HTTP://LOCALHOST:3000", "http://localhost:3001", "https://localhost:3000", "http://localhost", "http://127.0.0.1:3000", "http://evil.example", "null", "NULL", "", "/", "/x", "//localhost:3000", "localhost:3000", "undefined", "http://localhost:3000, http://localhost:3000", "http://user@localhost:3000", "file://", "chrome-extension://abc"];
      for (const origin of origins) {
        await signOut(stage, { cookie: "a=1", origin });
        await signIn(stage, { origin });
      }
      await signOut(stage, { cookie: "a=1" });
      await signOut(stage, { cookie: "" });
      await signOut(stage, {});
      await signOut(stage, { origin: "http://evil.example" });
      await signIn(stage, { cookie: "a=1" });
      await signIn(stage, { cookie: "a=1", origin: "null" });
      await signIn(stage, { cookie: "a=1", origin: "http://localhost:3000" });
      await signIn(stage, [["origin", "http://localhost:3000"], ["origin", "http://localhost:3000"]]);
      for (const headers of [{ cookie: "a=1" }, { origin: "http://evil.example" }, { cookie: "a=1", origin: "http://evil.example" }, { origin: "null" }] as Headers[]) {
        await stage.signUp("refused@example.com", {}, { headers });
      }
      await stage.signUp("accepted@example.com", {}, { headers: { origin: "http://localhost:3000" } });
    },
  ),

  scenario("referer", { covers: [`${SIGN_OUT}#INVALID_ORIGIN`] }, async (stage) => {
    const referers = ["http://localhost:3000", "http://localhost:3000/", "http://localhost:3000/a/b?c#d", "http://evil.example/http://localhost:3000", "http://localhost:3001/", "", "null", "/path", "about:blank"];
    for (const referer of referers) {
      await signOut(stage, { cookie: "a=1", referer });
      await signIn(stage, { referer });
    }
    await signOut(stage, { cookie: "a=1", origin: "http://evil.example", referer: "http://localhost:3000/" });
    await signOut(stage, { cookie: "a=1", origin: "http://localhost:3000", referer: "http://evil.example/" });
    await signOut(stage, { cookie: "a=1", origin: "null", referer: "http://localhost:3000/" });
    await signOut(stage, { cookie: "a=1", origin: "", referer: "http://localhost:3000/" });
  }),

  scenario("fetch-metadata", { covers: [`${SIGN_IN}#CROSS_SITE_NAVIGATION_LOGIN_BLOCKED`, `${SIGN_UP}#CROSS_SITE_NAVIGATION_LOGIN_BLOCKED`, `${SIGN_IN}#MISSING_OR_NULL_ORIGIN`] }, async (stage) => {
    for (const headers of FETCH) {
      await signIn(stage, headers);
      await signIn(stage, { cookie: "a=1", origin: "http://localhost:3000", ...headers });
      await signOut(stage, headers);
      await stage.signUp("bad", {}, { headers });
    }
    await stage.signUp("refused@example.com", {}, { headers: FETCH[0] ?? {} });
    await signIn(stage, FETCH[0] ?? {}, { email: 1 });
    await signIn(stage, FETCH[0] ?? {}, { callbackURL: "http://evil.example" });
  }),

  scenario("null-origin-of-the-same-origin", { covers: [SIGN_OUT] }, async (stage) => {
    const same = { origin: "null", "sec-fetch-site": "same-origin" };
    await signOut(stage, { cookie: "a=1", ...same });
    await signIn(stage, same);
    await signIn(stage, { cookie: "a=1", ...same });
    await signOut(stage, { cookie: "a=1", origin: "null", "sec-fetch-site": "same-site" });
    await signOut(stage, { cookie: "a=1", origin: "null", "sec-fetch-site": "Same-Origin" });
    await signOut(stage, { cookie: "a=1", "sec-fetch-site": "same-origin" });
    await signOut(stage, { cookie: "a=1", origin: "http://evil.example", "sec-fetch-site": "same-origin" });
    await signOut(stage, { host: "evil.example", cookie: "a=1", ...same });
    await signOut(stage, { host: "LOCALHOST:3000", cookie: "a=1", ...same });
    await signOut(stage, { cookie: "a=1", "x-forwarded-host": "evil.example", ...same });
    await signIn(stage, { ...same, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" });
  }),

  scenario("forwarded-protocol", { covers: [SIGN_OUT] }, async (stage) => {
    const same = { origin: "null", "sec-fetch-site": "same-origin", cookie: "a=1" };
    await stage.post("/sign-out", undefined, { headers: { "x-forwarded-proto": "https", ...same }, differs: signedOutAllTheSame });
    await signOut(stage, { "x-forwarded-proto": "http", ...same });
  }),

  scenario("callback-urls", { covers: [`${SIGN_IN}#INVALID_CALLBACK_URL`, `${SIGN_UP}#INVALID_CALLBACK_URL`] }, async (stage) => {
    for (const callbackURL of CALLBACKS) await signIn(stage, {}, { callbackURL });
    for (const callbackURL of ["http://evil.example", "//evil.example", "javascript:alert(1)"]) await stage.signUp("refused@example.com", { callbackURL });
    await signIn(stage, {}, { callbackURL: "http://evil.example", email: 1 });
    await stage.post("/sign-in/email", { callbackURL: "http://evil.example" });
    await signIn(stage, { origin: "http://evil.example", cookie: "a=1" }, { callbackURL: "http://evil.example" });
    await signIn(stage, { origin: "http://evil.example" }, { callbackURL: "http://evil.example" });
  }),

  scenario(
    "other-redirects",
    { covers: [SIGN_IN, SIGN_UP, SIGN_OUT].flatMap((endpoint) => ["INVALID_REDIRECT_URL", "INVALID_ERROR_CALLBACK_URL", "INVALID_NEW_USER_CALLBACK_URL"].map((code) => `${endpoint}#${code}`)) },
    async (stage) => {
      const values: Json[] = ["http://evil.example", "//evil.example", "/fine", "http://localhost:3000/fine", 1, true, ["/fine"], {}, 0, false, null, ""];
      for (const field of ["redirectTo", "errorCallbackURL", "newUserCallbackURL", "callbackURL"]) {
        for (const value of values) await stage.post("/sign-out", { [field]: value });
      }
      for (const field of ["redirectTo", "errorCallbackURL", "newUserCallbackURL"]) {
        await signIn(stage, {}, { [field]: "http://evil.example" });
        await signIn(stage, {}, { [field]: 1 });
        await signIn(stage, {}, { [field]: "/fine" });
        await stage.signUp("refused@example.com", { [field]: "http://evil.example" });
      }
      const all = { callbackURL: "http://evil.example", redirectTo: "http://evil.example", errorCallbackURL: "http://evil.example", newUserCallbackURL: "http://evil.example" };
      await stage.post("/sign-out", all);
      await stage.post("/sign-out", { ...all, callbackURL: "/x" });
      await stage.post("/sign-out", { ...all, callbackURL: "/x", redirectTo: "/x" });
      await stage.post("/sign-out", { ...all, callbackURL: "/x", redirectTo: "/x", errorCallbackURL: "/x" });
      await stage.post("/sign-out?redirectTo=http://evil.example&errorCallbackURL=http://evil.example");
      await stage.post("/sign-out?callbackURL=http://evil.example", { callbackURL: "/fine" });
      await stage.post("/sign-out?callbackURL=http://evil.example", { callbackURL: "" });
      await stage.post("/sign-out?callbackURL=/a&callbackURL=http://evil.example", {});
      await stage.post("/sign-out?callbackURL=", {});
      await stage.get("/ok?callbackURL=http://evil.example");
    },
  ),

  scenario("trusted-origins", { options: trusting(["http://app.example", "https://app.example:8443", "https://*.apps.example", "*.wild.example", "http://port.example:*", "myapp://", "exp://host/path", "https://trailing.example/", "https://UPPER.example", "10.0.0.*:3000", "https://q?.example", "**.deep.example"]), covers: [`${SIGN_OUT}@trustedOrigins`, `${SIGN_IN}@trustedOrigins`, `${SIGN_UP}@trustedOrigins`] }, async (stage) => {
    const origins = ["http://app.example", "https://app.example", "http://app.example:80", "http://app.example:8080", "https://app.example:8443", "https://a.apps.example", "https://a.b.apps.example", "https://apps.example", "http://a.apps.example", "https://a.apps.example:444", "https://evil.example/.apps.example", "https://a.wild.example", "http://a.b.wild.example", "https://wild.example", "https://a.wild.example:8443", "https://a.wild.example.evil.example", "http://port.example:1234", "http://port.example", "myapp://anything", "myapp:x", "myapp2://x", "exp://host/path", "exp://host/path/more", "exp://host/pathmore", "exp://host/other", "exp://other/path", "EXP://HOST/path", "exp://host/path/../evil", "https://trailing.example", "https://trailing.example/", "https://upper.example", "https://UPPER.example", "http://10.0.0.7:3000", "https://10.0.0.7:3000", "http://10.0.0.7", "http://10.0.0.evil.example:3000", "https://q1.example", "https://q12.example", "https://a.b.deep.example", "http://localhost:3000"];
    for (const origin of origins) await signOut(stage, { cookie: "a=1", origin });
    for (const callbackURL of origins) await signIn(stage, {}, { callbackURL });
    await stage.signUp("ada@example.com", { callbackURL: "myapp://home" }, { headers: { origin: "http://app.example" } });
    await stage.signIn("ada@example.com", { callbackURL: "myapp://home" });
    await stage.signIn("ada@example.com", { callbackURL: "https://a.apps.example/home?x=1" });
  }),

  scenario("csrf-check-disabled", { options: options({ advanced: { disableCSRFCheck: true } }), covers: [`${SIGN_IN}@advanced.disableCSRFCheck`, `${SIGN_OUT}@advanced.disableCSRFCheck`, `${SIGN_UP}@advanced.disableCSRFCheck`] }, (stage) => lenient(stage)),
  scenario("origin-check-disabled", { options: options({ advanced: { disableOriginCheck: true } }), covers: [`${SIGN_IN}@advanced.disableOriginCheck`, `${SIGN_OUT}@advanced.disableOriginCheck`, `${SIGN_UP}@advanced.disableOriginCheck`] }, (stage) => lenient(stage)),
  scenario("origin-check-disabled-but-not-csrf", { options: options({ advanced: { disableOriginCheck: true, disableCSRFCheck: false } }), covers: [`${SIGN_IN}@advanced.disableOriginCheck`] }, (stage) => lenient(stage)),
  scenario("both-checks-disabled", { options: options({ advanced: { disableOriginCheck: true, disableCSRFCheck: true } }), covers: [`${SIGN_IN}@advanced.disableOriginCheck`] }, (stage) => lenient(stage)),
  scenario("origin-check-not-disabled", { options: options({ advanced: { disableOriginCheck: false, disableCSRFCheck: false } }), covers: [`${SIGN_IN}@advanced.disableOriginCheck`] }, (stage) => lenient(stage)),
  scenario("origin-check-disabled-for-paths", { options: options({ advanced: { disableOriginCheck: ["/sign-in", "/sign-o", "/sign-up/email/"] } }), covers: [`${SIGN_IN}@advanced.disableOriginCheck`, `${SIGN_OUT}@advanced.disableOriginCheck`] }, (stage) => lenient(stage)),
  scenario("origin-check-disabled-for-no-path", { options: options({ advanced: { disableOriginCheck: [] } }), covers: [`${SIGN_IN}@advanced.disableOriginCheck`] }, (stage) => lenient(stage)),

  scenario("production", { environment: "production", covers: [`${SIGN_OUT}#INVALID_ORIGIN`] }, (stage) => lenient(stage)),
]);

function trusting(trustedOrigins: string[]): Options {
  return options({ trustedOrigins });
}

/** What is still refused when some checks are off. */
async function lenient(stage: Stage): Promise<void> {
  const evil = "http://evil.example";
  for (const headers of [{}, { cookie: "a=1" }, { origin: evil }, { cookie: "a=1", origin: evil }, { cookie: "a=1", origin: "null" }, { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" }, { "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" }] as Headers[]) {
    await signIn(stage, headers);
    await signOut(stage, headers);
    await stage.signUp("bad", {}, { headers });
  }
  for (const callbackURL of [evil, "//evil.example", "javascript:alert(1)", 1] as Json[]) {
    await signIn(stage, {}, { callbackURL });
    await stage.post("/sign-out", { callbackURL });
    await stage.signUp("bad", { callbackURL });
  }
  await stage.post("/sign-out?callbackURL=http://evil.example", { redirectTo: evil });
  await stage.signUp("ada@example.com", { callbackURL: "/fine" }, { headers: { origin: "http://localhost:3000", "x-forwarded-for": "203.0.113.9" } });
}
