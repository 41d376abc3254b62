/** POST /update-user. */
import { area, options, scenario } from "../lib/scenario.ts";
import { refusedValue } from "../lib/intents.ts";
import type { Intent, Options } from "../lib/types.ts";

const ENDPOINT = "POST /update-user";
const CALLBACKS = ["INVALID_CALLBACK_URL", "INVALID_REDIRECT_URL", "INVALID_ERROR_CALLBACK_URL", "INVALID_NEW_USER_CALLBACK_URL"];

const fields: Options = {
  nickname: { type: "string", required: false },
  age: { type: "number", required: false },
  level: { type: "number", required: false, input: false },
  handle: { type: "string", required: false, unique: true },
};

/** Not a failure of the server's. */
const takenValue: Intent = {
  decision: "checked-fields",
  narthex: { status: 422, headers: [["content-type", "application/json"]], body: JSON.stringify({ message: "Failed to update user", code: "FAILED_TO_UPDATE_USER" }) },
};

export default area("update-user", [
  scenario("changes", { covers: [ENDPOINT] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com", { image: "https://example.com/a.png" });
    await stage.post("/update-user", { name: "Ada Lovelace" }, { cookie });
    await stage.get("/get-session", { cookie });
    await stage.post("/update-user", { image: "https://example.com/b.png" }, { cookie });
    await stage.get("/get-session", { cookie });
    await stage.post("/update-user", { image: null, name: "" }, { cookie });
    await stage.get("/get-session", { cookie });
    await stage.post("/update-user", { name: "A", image: "" }, { cookie });
    // Names that are no field, or are core's own, are not looked at.
    await stage.post("/update-user", { name: "B", email: "", emailVerified: true, id: "x", createdAt: "2020-01-01", role: "admin" }, { cookie });
    await stage.post("/update-user", { name: "C", email: null }, { cookie });
    await stage.get("/get-session", { cookie });
  }),

  scenario("refuses", { covers: [ENDPOINT, `${ENDPOINT}#EMAIL_CAN_NOT_BE_UPDATED`, `${ENDPOINT}#UNAUTHORIZED`, `${ENDPOINT}#VALIDATION_ERROR`, `${ENDPOINT}#UNSUPPORTED_MEDIA_TYPE`, `${ENDPOINT}#MISSING_OR_NULL_ORIGIN`, `${ENDPOINT}#INVALID_ORIGIN`] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.post("/update-user", {}, { cookie });
    await stage.post("/update-user", { emailVerified: true }, { cookie });
    await stage.post("/update-user", { email: "eve@example.com" }, { cookie });
    await stage.post("/update-user", { email: "eve@example.com", name: "Eve" }, { cookie });
    await stage.post("/update-user", { email: 1 }, { cookie });
    await stage.post("/update-user", undefined, { cookie });
    await stage.post("/update-user", [], { cookie });
    await stage.post("/update-user", ["name"], { cookie });
    await stage.post("/update-user", "name", { cookie });
    await stage.post("/update-user", null, { cookie });
    await stage.post("/update-user", 5, { cookie });
    await stage.post("/update-user", { name: "Eve" });
    await stage.post("/update-user", { name: "Eve" }, { cookie: "better-auth.session_token=x.y" });
    await stage.post("/update-user", { name: "Eve" }, { cookie, origin: false });
    await stage.post("/update-user", { name: "Eve" }, { cookie, headers: { origin: "https://evil.example" } });
    await stage.post("/update-user", undefined, { cookie, form: { name: "Eve" } });
    await stage.get("/update-user", { cookie });
    await stage.get("/get-session", { cookie });
  }),

  scenario("bad-json", { covers: [`${ENDPOINT}#BAD_REQUEST`] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.post("/update-user", undefined, { cookie, text: "{", headers: { "content-type": "application/json" } });
    await stage.post("/update-user", undefined, { cookie, text: "{}", headers: { "content-type": "text/plain" } });
  }),

  scenario("callbacks", { covers: CALLBACKS.map((code) => `${ENDPOINT}#${code}`) }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    for (const name of ["callbackURL", "redirectTo", "errorCallbackURL", "newUserCallbackURL"]) {
      await stage.post("/update-user", { name: "Eve", [name]: "https://evil.example/" }, { cookie });
    }
  }),

  scenario("wrong-types", { covers: [ENDPOINT] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    const before = { name: "Ada", image: null, updatedAt: "<step1+0s>" };
    const refused = (field: string, received: string) =>
      refusedValue(`[body.${field}] Invalid input: expected string, received ${received}`, { user: before });
    await stage.post("/update-user", { name: 5 }, { cookie, differs: refused("name", "number") });
    await stage.post("/update-user", { name: null }, { cookie, differs: refused("name", "null") });
    await stage.post("/update-user", { image: 5 }, { cookie, differs: refused("image", "number") });
    await stage.post("/update-user", { image: true }, { cookie, differs: refused("image", "boolean") });
  }),

  scenario("fields", { options: options({ user: { additionalFields: fields } }), covers: [`${ENDPOINT}@user.additionalFields`, `${ENDPOINT}#FIELD_NOT_ALLOWED`] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.post("/update-user", { nickname: "Countess", age: 36 }, { cookie });
    await stage.post("/update-user", { level: 3 }, { cookie });
    await stage.post("/update-user", { nickname: null }, { cookie });
    await stage.get("/get-session", { cookie });
  }),

  scenario("value-of-another", { options: options({ user: { additionalFields: fields } }), covers: [ENDPOINT] }, async (stage) => {
    await stage.signUp("eve@example.com", { handle: "eve" });
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.post("/update-user", { handle: "eve" }, { cookie, differs: takenValue });
    await stage.get("/get-session", { cookie });
  }),

  scenario("keeps-the-kind-of-session", { covers: [ENDPOINT] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com", { rememberMe: false });
    await stage.post("/update-user", { name: "Ada Lovelace" }, { cookie });
    await stage.get("/get-session", { cookie });
  }),

  scenario("is-renewed", { clock: true, options: options({ session: { updateAge: 60 } }), covers: [`${ENDPOINT}@session.updateAge`] }, async (stage) => {
    const { cookies: cookie } = await stage.signUp("ada@example.com");
    await stage.advance(120);
    await stage.post("/update-user", { name: "Ada Lovelace" }, { cookie });
    await stage.advance(30);
    await stage.post("/update-user", { name: "Ada" }, { cookie });
    await stage.get("/get-session", { cookie });
    await stage.advance(604_801);
    await stage.post("/update-user", { name: "Eve" }, { cookie });
  }),

  scenario("client", { covers: [ENDPOINT] }, async (stage) => {
    const client = stage.client();
    await stage.result(client.signUp.email({ email: "ada@example.com", password: "correct horse battery", name: "Ada" }));
    await stage.result(client.updateUser({ name: "Ada Lovelace" }));
    await stage.result(client.updateUser({}));
    await stage.result(client.getSession());
  }),
]);
