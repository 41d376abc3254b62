/** GET /ok and what the router decides before any endpoint runs. */
import { area, options, scenario, type Stage } from "../lib/scenario.ts";
import type { Intent } from "../lib/types.ts";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/** A path is compared as it was sent. */
const onlyOneSpelling: Intent = {
  decision: "strict-requests",
  narthex: ({ status }) => (status === 404 ? {} : { status: 404, headers: [], body: null }),
};

const raw = (stage: Stage, method: string, target: string) => stage.send({ method, target, headers: [], body: null });

export default area("ok", [
  scenario("methods", { covers: ["GET /ok"] }, async (stage) => {
    for (const method of METHODS) await stage.request(method, "/ok");
    for (const method of METHODS) await stage.request(method, "/no-such-endpoint");
    for (const method of ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]) await stage.request(method, "/get-session");
    for (const method of ["GET", "PUT", "HEAD", "OPTIONS"]) await stage.request(method, "/sign-in/email");
    for (const method of ["GET", "DELETE", "OPTIONS"]) await stage.request(method, "/sign-up/email");
    for (const method of ["GET", "PUT", "OPTIONS"]) await stage.request(method, "/sign-out");
    await stage.post("/ok", { any: "body" });
    await stage.get("/ok", { text: "{}", headers: { "content-type": "application/json" } });
    await stage.get("/ok", { text: "text", headers: { "content-type": "text/plain" } });
    await stage.get("/ok", { cookie: "any=1" });
    await stage.get("/ok", { headers: { origin: "http://evil.example" }, cookie: "any=1" });
    await stage.request("OPTIONS", "/sign-in/email", {
      headers: { origin: "http://localhost:3000", "access-control-request-method": "POST", "access-control-request-headers": "content-type" },
    });
    await stage.post("/no-such-endpoint", { any: "body" }, { cookie: "any=1", origin: false });
    await stage.post("/no-such-endpoint", undefined, { text: "{bad", headers: { "content-type": "application/json" } });
  }),

  scenario("paths", { covers: ["GET /ok"] }, async (stage) => {
    const under = ["/ok/", "//ok", "/ok//", "/OK", "/ok/more", "/%6fk", "/ok%2F", "/ok;x", "", "/", "//", "/ok#fragment"];
    for (const path of under) await raw(stage, "GET", `/api/auth${path}`);
    for (const target of ["/", "/ok", "/api", "/api/", "/api/authok", "/api/auth2/ok", "//api/auth/ok", "/api//auth/ok", "/API/auth/ok", "/api%2Fauth/ok"]) {
      await raw(stage, "GET", target);
    }
    for (const query of ["?", "?a=1", "?a=1&a=2", "?=", "?&&", "?a=%ZZ", "?callbackURL=http://evil.example", "?//", "/?a=1"]) await raw(stage, "GET", `/api/auth/ok${query}`);
    await raw(stage, "POST", "/api/auth/sign-out/");
    await raw(stage, "POST", "/api/auth//sign-out");
    await raw(stage, "POST", "/api/auth/sign-in//email");
    await raw(stage, "POST", "/api/auth/sign-in");
    await raw(stage, "POST", "/api/auth/sign-in/email/");
    await raw(stage, "GET", "/api/auth/get-session/");
  }),

  scenario("dot-segments-and-backslashes", { differs: onlyOneSpelling }, async (stage) => {
    const under = ["/./ok", "/x/../ok", "/%2e/ok", "/x/%2e%2e/ok", "/x/.%2E/ok", "/ok/.", "/ok/..", "/../auth/ok", "/../../api/auth/ok", "\\ok", "/ok\\", "/x\\..\\ok"];
    for (const path of under) await raw(stage, "GET", `/api/auth${path}`);
    await raw(stage, "POST", "/api/auth/x/../sign-out");
  }),

  scenario("host-header", {}, async (stage) => {
    for (const host of ["localhost:3000", "other.example", "127.0.0.1", "LOCALHOST:3000", "[::1]:3000"]) await stage.get("/ok", { headers: { host } });
    await stage.get("/ok", { headers: { "x-forwarded-host": "evil.example", "x-forwarded-proto": "https" } });
  }),

  scenario("base-path", { options: options({ basePath: "/auth" }), covers: ["GET /ok@basePath"] }, async (stage) => {
    await stage.get("/ok");
    for (const target of ["/api/auth/ok", "/auth", "/auth/", "/authok", "/auth/ok/"]) await raw(stage, "GET", target);
    const reply = await stage.signUp("ada@example.com");
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
  }),

  scenario("base-path-in-base-url", { options: options({ baseURL: "http://localhost:3000/custom", basePath: "/auth" }), covers: ["GET /ok@baseURL"] }, async (stage) => {
    await stage.get("/ok");
    for (const target of ["/api/auth/ok", "/auth/ok", "/custom", "/custom/auth/ok"]) await raw(stage, "GET", target);
    const reply = await stage.signUp("ada@example.com");
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.signIn("ada@example.com", { callbackURL: "http://localhost:3000/elsewhere" });
  }),

  scenario("production", { environment: "production", covers: ["GET /ok"] }, async (stage) => {
    for (const method of METHODS) await stage.request(method, "/ok");
    await stage.get("/no-such-endpoint");
  }),
], "no sessions");
