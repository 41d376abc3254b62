/** POST /update-session. */
import { area, options, scenario } from "../lib/scenario.ts";
import { refusedValue } from "../lib/intents.ts";
import type { Options } from "../lib/types.ts";

const ENDPOINT = "POST /update-session";
const REFUSALS = [
  "BAD_REQUEST",
  "UNSUPPORTED_MEDIA_TYPE",
  "MISSING_OR_NULL_ORIGIN",
  "INVALID_ORIGIN",
  "INVALID_CALLBACK_URL",
  "INVALID_REDIRECT_URL",
  "INVALID_ERROR_CALLBACK_URL",
  "INVALID_NEW_USER_CALLBACK_URL",
];
const FIELDS = `${ENDPOINT}@session.additionalFields`;

const fields: Options = {
  theme: { type: "string", required: false },
  visits: { type: "number", required: true, defaultValue: 0 },
  pinned: { type: "boolean", required: false, defaultValue: false, fieldName: "is_pinned" },
  device: { type: "string", required: false, input: false },
  trusted: { type: "boolean", required: false, input: false, defaultValue: false },
  note: { type: "string", required: false, returned: false },
};

export default area("update-session", [
  scenario("without-fields", { covers: [ENDPOINT, `${ENDPOINT}#VALIDATION_ERROR`, `${ENDPOINT}#UNAUTHORIZED`, ...REFUSALS.map((code) => `${ENDPOINT}#${code}`)] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.post("/update-session", {}, { cookie });
    await stage.post("/update-session", { userId: "x", token: "y", expiresAt: "2099-01-01T00:00:00.000Z", id: "z" }, { cookie });
    await stage.post("/update-session", { activeOrganizationId: "x", activeTeamId: "y", impersonatedBy: "z" }, { cookie });
    await stage.post("/update-session", [], { cookie });
    await stage.post("/update-session", undefined, { cookie });
    await stage.post("/update-session", { theme: "dark" });
    await stage.post("/update-session", { theme: "dark" }, { cookie, headers: { origin: "https://evil.example" } });
    await stage.post("/update-session", { theme: "dark" }, { cookie, origin: false });
    await stage.post("/update-session", undefined, { cookie, text: "{", headers: { "content-type": "application/json" } });
    await stage.post("/update-session", undefined, { cookie, text: "{}", headers: { "content-type": "text/plain" } });
    for (const name of ["callbackURL", "redirectTo", "errorCallbackURL", "newUserCallbackURL"]) {
      await stage.post("/update-session", { [name]: "https://evil.example/" }, { cookie });
    }
  }),

  scenario("changes", { options: options({ session: { additionalFields: fields } }), covers: [ENDPOINT, FIELDS, `${ENDPOINT}#FIELD_NOT_ALLOWED`, "POST /sign-up/email@session.additionalFields"] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.get("/get-session", { cookie });
    await stage.post("/update-session", { theme: "dark" }, { cookie });
    await stage.post("/update-session", { visits: 3, pinned: true, note: "hidden" }, { cookie });
    await stage.post("/update-session", { theme: null, pinned: null }, { cookie });
    await stage.post("/update-session", { device: "phone" }, { cookie });
    await stage.post("/update-session", { trusted: true }, { cookie });
    await stage.post("/update-session", { trusted: false, device: null }, { cookie });
    await stage.post("/update-session", { theme: "light", userId: "x", expiresAt: "2099-01-01T00:00:00.000Z" }, { cookie });
    await stage.get("/get-session", { cookie });
    await stage.signIn("ada@example.com", { theme: "dark", visits: 5 });
  }),

  ...(["sqlite", "postgres"] as const).map((database) => scenario(`wrong-types-on-${database}`, { databases: [database], options: options({ session: { additionalFields: fields } }), covers: [FIELDS] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    const before = { theme: null, visits: stage.database === "sqlite" ? 0 : "0", updatedAt: "<step1+0s>" };
    const refused = (field: string, problem: string) => refusedValue(`[body.${field}] Invalid input: expected ${problem}`, { session: before });
    await stage.post("/update-session", { theme: 5 }, { cookie, differs: refused("theme", "string, received number") });
    await stage.post("/update-session", { visits: "many" }, { cookie, differs: refused("visits", "number, received string") });
    await stage.post("/update-session", { visits: null }, { cookie, differs: refused("visits", "number, received null") });
  })),

  scenario("keeps-the-kind-of-session", { options: options({ session: { additionalFields: fields } }), covers: [FIELDS] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com", { rememberMe: false });
    await stage.post("/update-session", { theme: "dark" }, { cookie });
    await stage.get("/get-session", { cookie });
  }),

  scenario("is-renewed", { clock: true, options: options({ session: { updateAge: 60, additionalFields: fields } }), covers: [`${ENDPOINT}@session.updateAge`] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.advance(120);
    await stage.post("/update-session", { theme: "dark" }, { cookie });
    await stage.get("/get-session", { cookie });
  }),
]);
