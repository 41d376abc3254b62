/** Which paths lead to an endpoint: those that are switched off, slashes at the end, base paths, repeated queries. */
import { area, options, scenario, type Stage } from "../lib/scenario.ts";
import type { Intent } from "../lib/types.ts";

const raw = (stage: Stage, method: string, target: string, differs?: Intent) => stage.send({ method, target, headers: [], body: null }, differs);

/** A path is compared as it was sent. */
const onlyOneSpelling: Intent = {
  decision: "strict-requests",
  narthex: ({ status, body }) => (status === 404 && body === null ? {} : { status: 404, headers: [], body: null }),
};

/** What is not below the base path is nobody's, switched off or not. */
const outside: Intent = {
  decision: "rate-limit-keys",
  narthex: { status: 404, headers: [], body: null },
};

export default area("paths", [
  scenario("disabled", { options: options({ disabledPaths: ["/sign-up/email", "/ok", "/no-such-endpoint"] }), covers: ["POST /sign-up/email@disabledPaths", "GET /ok@disabledPaths"] }, async (stage) => {
    await stage.signUp("ada@example.com");
    for (const method of ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE"]) await stage.request(method, "/ok");
    await stage.get("/sign-up/email");
    await stage.get("/no-such-endpoint");
    await stage.get("/another");
    await stage.get("/ok?a=b");
    for (const path of ["/ok/", "/ok//", "/ok/more", "//ok", "/OK", "/%6fk", "/ok%2f", "/ok;x", "/sign-up//email", "/sign-up/email/", "/sign-up/email///", "/sign-up"]) await raw(stage, "POST", `/api/auth${path}`);
    await stage.post("/sign-up/email", undefined, { text: "{bad", headers: { "content-type": "text/plain" }, cookie: "any=1", origin: false });
    await stage.signIn("ada@example.com");
    await stage.get("/get-session");
  }),

  scenario("disabled-get-session", { options: options({ disabledPaths: ["/get-session", "/sign-out", "/sign-in/email"] }), covers: ["GET /get-session@disabledPaths", "POST /get-session@disabledPaths", "POST /sign-out@disabledPaths", "POST /sign-in/email@disabledPaths"] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.post("/get-session", undefined, { cookie: reply.cookies });
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
    await stage.signIn("ada@example.com");
  }),

  scenario("disabled-by-another-spelling", { options: options({ disabledPaths: ["/ok"] }), differs: onlyOneSpelling }, async (stage) => {
    for (const path of ["/./ok", "/x/../ok", "/%2e/ok", "\\ok"]) await raw(stage, "GET", `/api/auth${path}`);
  }),

  scenario("disabled-outside", { options: options({ disabledPaths: ["/ok"] }), covers: ["GET /ok@disabledPaths"] }, async (stage) => {
    await raw(stage, "GET", "/api/auth/ok");
    await raw(stage, "GET", "/ok", outside);
    await raw(stage, "GET", "/other/ok");
  }),

  scenario("slashes-at-the-end", { options: options({ advanced: { skipTrailingSlashes: true } }), covers: ["GET /ok@advanced.skipTrailingSlashes", "POST /sign-up/email@advanced.skipTrailingSlashes", "POST /sign-in/email@advanced.skipTrailingSlashes", "POST /sign-out@advanced.skipTrailingSlashes", "GET /get-session@advanced.skipTrailingSlashes", "POST /get-session@advanced.skipTrailingSlashes"] }, async (stage) => {
    for (const path of ["/ok", "/ok/", "/ok//", "/ok///", "//ok/", "/ok/?a=b", "/ok%2f", "/ok/.", "/", "", "//", "/ok/more/"]) {
      if (path !== "/ok/.") await raw(stage, "GET", `/api/auth${path}`);
    }
    for (const method of ["POST", "HEAD", "OPTIONS"]) await raw(stage, method, "/api/auth/ok/");
    for (const path of ["/sign-up/email", "/sign-in/email"]) await stage.post(path, {});
    for (const path of ["/sign-out", "/get-session"]) await stage.post(path);
    await stage.get("/get-session");
    const reply = await stage.post("/sign-up/email/", { email: "ada@example.com", password: "correct horse battery", name: "Ada" });
    await stage.get("/get-session/", { cookie: reply.cookies });
    await stage.post("/get-session/", undefined, { cookie: reply.cookies });
    await stage.post("/sign-in/email/", { email: "ada@example.com", password: "correct horse battery" });
    await stage.post("/sign-in/email/", { email: "ada@example.com", password: "correct horse battery" }, { headers: { origin: "http://evil.example" }, cookie: "any=1" });
    await stage.post("/sign-out/", undefined, { cookie: reply.cookies });
  }),

  scenario("slashes-at-the-end-do-not-switch-on", { options: options({ advanced: { skipTrailingSlashes: true }, disabledPaths: ["/sign-up/email", "/ok"] }), covers: ["GET /ok@disabledPaths"] }, async (stage) => {
    for (const path of ["/ok", "/ok/", "/ok//"]) await raw(stage, "GET", `/api/auth${path}`);
    await stage.post("/sign-up/email/", { email: "ada@example.com", password: "correct horse battery", name: "Ada" });
  }),

  scenario("slashes-at-the-end-are-counted", { options: options({ advanced: { skipTrailingSlashes: true }, rateLimit: { enabled: true, storage: "memory", max: 2 } }), clock: true, covers: ["GET /ok@rateLimit.max"] }, async (stage) => {
    for (const path of ["/ok", "/ok/", "/ok/", "/ok"]) await raw(stage, "GET", `/api/auth${path}`);
  }),

  scenario("base-path-with-slashes", { options: options({ basePath: "/auth/" }), covers: ["GET /ok@basePath"] }, async (stage) => {
    for (const target of ["/auth/ok", "/auth//ok", "/auth", "/auth/", "/api/auth/ok", "/ok"]) await raw(stage, "GET", target);
  }),

  scenario("base-path-of-nothing", { options: options({ basePath: "/" }), covers: ["GET /ok@basePath"] }, async (stage) => {
    for (const target of ["/ok", "//ok", "/", "/api/auth/ok", "/ok/"]) await raw(stage, "GET", target);
  }),

  scenario("repeated-queries", { covers: ["GET /get-session@session.expiresIn"] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    for (const query of ["disableCookieCache=true&disableCookieCache=true", "disableCookieCache=true&disableCookieCache=false", "disableRefresh=true&disableRefresh=true", "a=1&a=2&a=3", "disableCookieCache[]=true", "=1&=2"]) {
      await stage.get(`/get-session?${query}`, { cookie: reply.cookies });
    }
  }),
]);
