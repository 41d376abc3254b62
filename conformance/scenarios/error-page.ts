/** GET /error: where a browser ends up when something failed and no application asked to be told. */
import { errorPage } from "../lib/intents.ts";
import { area, options, scenario, type Stage } from "../lib/scenario.ts";

/** Query, the code upstream shows, and the description as it stands in our page. */
const QUERIES: [query: string, code: string, description?: string][] = [
  ["", "UNKNOWN"],
  ["?error=invalid_token", "invalid_token"],
  ["?error=please_restart_the_process&error_description=It%20took%20too+long", "please_restart_the_process", "It took too long"],
  ["?error=it's-a_CODE-9", "it&#39;s-a_CODE-9"],
  ["?error=", "UNKNOWN"],
  ["?error=first&error=second", "first"],
  ["?error=&error=second", "UNKNOWN"],
  ["?error=a%20b", "UNKNOWN"],
  ["?error=a%0A", "UNKNOWN"],
  ["?error=%3Cscript%3Ealert(1)%3C/script%3E", "UNKNOWN"],
  ["?error=x&error_description=", "x"],
  ["?error=x&error_description=%3Cscript%3Ealert(1)%3C/script%3E", "x", "&lt;script&gt;alert(1)&lt;/script&gt;"],
  ["?error=x&error_description=%22onload=%27a%27%26lt;%26%2360;", "x", "&quot;onload=&#39;a&#39;&amp;lt;&amp;#60;"],
  ["?error=x&error_description=%C3%A9%FF%F0%9F%98%80", "x", "\u00e9\ufffd\u{1f600}"],
  ["?error_description=alone", "UNKNOWN", "alone"],
  ["?Error=x", "UNKNOWN"],
];

async function all(stage: Stage, page: boolean) {
  for (const [query, code, description] of QUERIES) await stage.get(`/error${query}`, page ? { differs: errorPage(code, description) } : {});
}

export default area("error-page", [
  scenario("development", { covers: ["GET /error"] }, async (stage) => {
    await all(stage, true);
    for (const method of ["POST", "HEAD", "OPTIONS", "PUT"]) await stage.request(method, "/error");
    await stage.get("/error/");
    await stage.get("/error?error=x", { cookie: "any=1", headers: { origin: "http://evil.example" }, differs: errorPage("x") });
  }),

  scenario("without-an-environment", { environment: "unset", covers: ["GET /error"] }, async (stage) => {
    await stage.get("/error?error=x", { differs: errorPage("x") });
  }),

  scenario("production", { environment: "production", covers: ["GET /error"] }, async (stage) => {
    await all(stage, false);
    await stage.get("/error?error=x&callbackURL=http://evil.example");
  }),

  scenario("error-url", { options: options({ onAPIError: { errorURL: "https://app.example/failed?from=auth#top" } }), covers: ["GET /error@onAPIError.errorURL"] }, async (stage) => {
    await all(stage, false);
  }),

  scenario("error-url-in-production", { options: options({ onAPIError: { errorURL: "http://localhost:3000" } }), environment: "production", covers: ["GET /error@onAPIError.errorURL"] }, async (stage) => {
    await all(stage, false);
  }),

  scenario("error-url-that-is-a-path", { options: options({ onAPIError: { errorURL: "/failed?a=%20b&" } }), covers: ["GET /error@onAPIError.errorURL"] }, async (stage) => {
    await all(stage, false);
  }),

  scenario("below-another-base-path", { options: options({ basePath: "/auth", onAPIError: { errorURL: "/failed" } }), covers: ["GET /error@basePath"] }, async (stage) => {
    await stage.get("/error?error=x");
  }),

  scenario("disabled", { options: options({ disabledPaths: ["/error"] }), covers: ["GET /error@disabledPaths"] }, async (stage) => {
    await stage.get("/error?error=x");
  }),
], "no sessions");
