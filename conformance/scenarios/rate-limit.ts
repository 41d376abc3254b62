/** How often a client may ask: whose request it is, which rule applies, what is answered and what is remembered. */
import { area, options, scenario, type Stage } from "../lib/scenario.ts";
import type { Intent, Options } from "../lib/types.ts";

const limited = (more: Options = {}) => options({ rateLimit: { enabled: true, storage: "memory", ...more } });

const wrong = (stage: Stage) => stage.post("/sign-in/email", { email: "not an address", password: "x" });

/** One bucket for every path that is nobody's route, and one for every path that a route with a parameter takes. */
const keyedByRoute = (status: number, retry?: number): Intent => ({
  decision: "rate-limit-keys",
  narthex:
    status === 429
      ? {
          status,
          headers: [
            ["content-type", "application/json"],
            ["x-retry-after", String(retry)],
          ],
          body: '{"message":"Too many requests. Please try again later."}',
        }
      : { status },
});

/** The same rows under other keys. */
const otherKeys = (decision: string, from: string, to: string): Intent => ({
  decision,
  narthex: ({ rows }, database) => {
    const renamed = (rows.rateLimit ?? []).map((row) => ({ ...row, key: String(row.key).replace(from, to) }));
    return { rows: { [database]: { rateLimit: renamed } } };
  },
});
const oneRow = otherKeys("rate-limit-keys", "|/no-such-endpoint", "|*");
const peerRow = otherKeys("client-address", "no-trusted-ip|", "127.0.0.1|");

export default area("rate-limit", [
  scenario("window", { options: limited({ window: 10, max: 4 }), clock: true, covers: ["GET /ok@rateLimit.enabled", "GET /ok@rateLimit.max", "GET /ok@rateLimit.window", "GET /ok@rateLimit.storage"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await stage.get("/ok");
    await stage.get("/ok");
    for (const method of ["POST", "HEAD", "OPTIONS", "DELETE"]) await stage.request(method, "/ok");
    await stage.get("/ok?other=query");
    await stage.get("/ok/");
    await stage.get("/get-session");
    await stage.advance(4);
    await stage.get("/ok");
    await stage.advance(4);
    await stage.get("/ok");
    await stage.advance(3);
    await stage.get("/ok");
  }),

  scenario("an-allowed-request-begins-the-window-anew", { options: limited({ window: 10, max: 3 }), clock: true, covers: ["GET /get-session@rateLimit.enabled", "GET /get-session@rateLimit.max", "GET /get-session@rateLimit.window"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) {
      await stage.get("/get-session");
      await stage.advance(8);
    }
    await stage.get("/get-session");
    await stage.advance(1);
    await stage.post("/get-session");
    await stage.advance(2);
    await stage.get("/get-session");
  }),

  scenario("special-rules", { options: limited(), clock: true, covers: ["POST /sign-in/email@rateLimit.enabled", "POST /sign-up/email@rateLimit.enabled", "POST /sign-out@rateLimit.enabled"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await wrong(stage);
    for (let count = 0; count < 4; count += 1) await stage.post("/sign-up/email", {});
    for (let count = 0; count < 4; count += 1) await stage.get("/sign-up/email");
    for (let count = 0; count < 5; count += 1) await stage.post("/sign-out");
    await stage.advance(10);
    await stage.signUp("ada@example.com");
    await stage.signIn("ada@example.com");
    await stage.request("OPTIONS", "/sign-in/email");
    await stage.post("/sign-in/email/", {});
    await stage.signIn("ada@example.com");
  }),

  scenario("the-default-rule", { options: limited({}), clock: true, covers: ["GET /ok@rateLimit.enabled"] }, async (stage) => {
    for (let count = 0; count < 101; count += 1) await stage.get("/ok");
  }),

  scenario("no-such-endpoint", { options: limited({ max: 2 }), clock: true, covers: ["GET /ok@rateLimit.max"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/no-such-endpoint");
    await stage.get("/another", { differs: keyedByRoute(429, 10) });
    await stage.get("/", { differs: keyedByRoute(429, 10) });
    await stage.get("//ok", { differs: keyedByRoute(429, 10) });
    await stage.get("/ok");
  }),

  scenario("no-such-sign-in", { options: limited(), clock: true, covers: ["GET /ok@rateLimit.enabled"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await stage.post("/sign-in/nobody", {});
    await stage.post("/sign-in", {}, { differs: keyedByRoute(429, 10) });
    await stage.post("/sign-in/email", {});
    await stage.get("/ok");
  }),

  scenario(
    "custom-rules",
    {
      options: limited({
        customRules: {
          "/ok": { window: 60, max: 1 },
          "/sign-in/*": { window: 20, max: 4 },
          "/sign-in/email": { window: 5, max: 1 },
          "/sign-up/**": false,
          "/sign-out": { window: 5, max: 2 },
          "/*": { window: 30, max: 3 },
        },
      }),
      clock: true,
      covers: ["GET /ok@rateLimit.customRules", "POST /sign-in/email@rateLimit.customRules", "POST /sign-up/email@rateLimit.customRules", "POST /sign-out@rateLimit.customRules", "GET /get-session@rateLimit.customRules"],
    },
    async (stage) => {
      for (let count = 0; count < 2; count += 1) await stage.get("/ok");
      for (let count = 0; count < 5; count += 1) await wrong(stage);
      for (let count = 0; count < 5; count += 1) await stage.post("/sign-up/email", {});
      for (let count = 0; count < 3; count += 1) await stage.post("/sign-out");
      for (let count = 0; count < 4; count += 1) await stage.get("/get-session");
      await stage.advance(5);
      await stage.post("/sign-out");
      await wrong(stage);
      await stage.advance(16);
      await wrong(stage);
      await stage.get("/get-session");
    },
  ),

  scenario("addresses", { options: limited({ max: 1, customRules: { "/get-session": false } }), clock: true, covers: ["GET /ok@rateLimit.max"] }, async (stage) => {
    const from = (address: string) => stage.get("/ok", { headers: { "x-forwarded-for": address } });
    for (const address of ["192.0.2.1", "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2", "::ffff:c000:202"]) await from(address);
    for (const address of ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:0db8:0000:0001:0000:0000:0000:0001", "2001:db8:0:2::1"]) await from(address);
    await stage.get("/ok");
    await from("no address");
    for (let count = 0; count < 2; count += 1) await stage.get("/get-session");
  }),

  scenario("address-options", { options: options({ rateLimit: { enabled: true, storage: "memory", max: 1 }, advanced: { ipAddress: { ipAddressHeaders: ["x-client-ip", "x-forwarded-for"], ipv6Subnet: 48 } } }), clock: true, covers: ["GET /ok@advanced.ipAddress.ipAddressHeaders", "GET /ok@advanced.ipAddress.ipv6Subnet", "POST /sign-up/email@advanced.ipAddress.ipAddressHeaders", "POST /sign-up/email@advanced.ipAddress.ipv6Subnet"] }, async (stage) => {
    const from = (headers: { [name: string]: string }) => stage.get("/ok", { headers });
    await from({ "x-client-ip": "192.0.2.1" });
    await from({ "x-client-ip": "192.0.2.1", "x-forwarded-for": "192.0.2.2" });
    await from({ "x-forwarded-for": "192.0.2.1" });
    await from({ "x-client-ip": "nothing", "x-forwarded-for": "192.0.2.1" });
    await from({ "x-client-ip": "nothing", "x-forwarded-for": "192.0.2.3" });
    await from({ "x-client-ip": "2001:db8:1:1::1" });
    await from({ "x-client-ip": "2001:db8:1:2::1" });
    await from({ "x-client-ip": "2001:db8:2:1::1" });
    await stage.signUp("ada@example.com", {}, { headers: { "x-client-ip": "2001:db8:3:4::1" } });
  }),

  scenario("without-addresses", { options: options({ rateLimit: { enabled: true, storage: "memory", max: 1 }, advanced: { ipAddress: { disableIpTracking: true } } }), clock: true, covers: ["GET /ok@advanced.ipAddress.disableIpTracking", "POST /sign-up/email@advanced.ipAddress.disableIpTracking"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/ok", { headers: { "x-forwarded-for": "192.0.2.1" } });
    for (let count = 0; count < 5; count += 1) await wrong(stage);
    await stage.signUp("ada@example.com", {}, { headers: { "x-forwarded-for": "192.0.2.1" } });
  }),

  scenario("on-in-production", { options: options({ rateLimit: { max: 2, storage: "memory" } }), environment: "production", clock: true, covers: ["GET /ok@rateLimit.enabled"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/ok");
    for (let count = 0; count < 3; count += 1) await stage.get("/ok", { headers: { "x-forwarded-for": "192.0.2.1" } });
  }),

  scenario("off-in-development", { options: options({ rateLimit: { max: 2, storage: "memory" } }), clock: true, covers: ["GET /ok@rateLimit.enabled"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await stage.get("/ok");
    for (let count = 0; count < 5; count += 1) await wrong(stage);
  }),

  scenario("off", { options: limited({ enabled: false, max: 1 }), environment: "production", clock: true, covers: ["GET /ok@rateLimit.enabled"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await stage.get("/ok");
  }),

  scenario("database", { options: limited({ storage: "database", max: 3 }), clock: true, covers: ["GET /ok@rateLimit.storage", "GET /get-session@rateLimit.storage", "POST /sign-in/email@rateLimit.storage"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await stage.get("/ok");
    for (let count = 0; count < 4; count += 1) await wrong(stage);
    await stage.get("/get-session", { headers: { "x-forwarded-for": "2001:db8::1" } });
    await stage.get("/get-session", { headers: { "x-forwarded-for": "2001:db8::2" } });
    await stage.advance(4);
    await stage.get("/ok");
    await stage.advance(7);
    await stage.get("/ok");
    await stage.get("/get-session", { headers: { "x-forwarded-for": "2001:db8::1" } });
  }),

  scenario("database-by-other-names", { options: limited({ storage: "database", max: 2, modelName: "Counts", fields: { key: "who", count: "order" } }), clock: true, covers: ["GET /ok@rateLimit.modelName", "GET /ok@rateLimit.fields"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await stage.get("/ok");
    await stage.advance(11);
    await stage.get("/ok");
  }),

  scenario("database-no-such-endpoint", { options: limited({ storage: "database", max: 2 }), clock: true, differs: oneRow, covers: ["GET /ok@rateLimit.storage"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/no-such-endpoint");
    await stage.get("/ok");
  }),

  scenario("database-in-production", { options: limited({ storage: "database", max: 2 }), environment: "production", clock: true, differs: peerRow, covers: ["GET /ok@rateLimit.storage"] }, async (stage) => {
    for (let count = 0; count < 3; count += 1) await stage.get("/ok");
    await stage.get("/ok", { headers: { "x-forwarded-for": "192.0.2.1" } });
  }),

  scenario("disabled-paths-come-first", { options: options({ rateLimit: { enabled: true, storage: "memory", max: 2 }, disabledPaths: ["/ok"] }), clock: true, covers: ["GET /ok@disabledPaths"] }, async (stage) => {
    for (let count = 0; count < 4; count += 1) await stage.get("/ok");
  }),

  scenario("origins-come-later", { options: limited({ max: 1 }), clock: true, covers: ["POST /sign-out@rateLimit.max"] }, async (stage) => {
    const evil = { headers: { origin: "http://evil.example" }, cookie: "any=1" };
    await stage.post("/sign-out", undefined, evil);
    await stage.post("/sign-out", undefined, evil);
    await stage.post("/sign-out", undefined, { text: "{bad", headers: { "content-type": "application/json" } });
  }),
], "no sessions");
