/** Who makes the ids of new rows: advanced.database.generateId. */
import { area, options, scenario, type Stage } from "../lib/scenario.ts";
import type { Intent, Json, Options } from "../lib/types.ts";

const ids = (generateId: Json, more: Options = {}) => options({ advanced: { database: { generateId } }, ...more });
const SIGN_UP = "POST /sign-up/email@advanced.database.generateId";

/** Letters among numbers would say that the address is taken. */
const theNext: Intent = {
  decision: "keys-and-numbers",
  narthex: ({ body }) => (typeof body === "string" ? { body: body.replace(/"id":"<rand32:\d+>"/, '"id":"2"') } : {}),
};

/** A person signs up, is known, signs in elsewhere, and leaves. */
async function lives(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  await stage.get("/get-session", { cookie: ada.cookies });
  const eve = await stage.signUp("eve@example.com", { image: "https://example.com/e.png", rememberMe: false });
  await stage.get("/get-session", { cookie: eve.cookies });
  await stage.signUp("ada@example.com");
  const again = await stage.signIn("ada@example.com");
  await stage.get("/get-session", { cookie: again.cookies });
  await stage.post("/update-user", { name: "Ada Lovelace" }, { cookie: again.cookies });
  await stage.post("/sign-out", undefined, { cookie: ada.cookies });
  await stage.get("/get-session", { cookie: ada.cookies });
  await stage.get("/get-session", { cookie: again.cookies });
}

export default area("ids", [
  scenario("uuid", { options: ids("uuid"), covers: [SIGN_UP, "GET /get-session@advanced.database.generateId"] }, lives),
  scenario("serial", { options: ids("serial"), covers: [SIGN_UP] }, lives),
  scenario("letters", { covers: [] }, lives),

  scenario("uuid-address-taken", { options: ids("uuid", { emailAndPassword: { enabled: true, autoSignIn: false } }), covers: [SIGN_UP] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("ada@example.com");
  }),

  scenario("serial-address-taken", { options: ids("serial", { emailAndPassword: { enabled: true, autoSignIn: false } }), covers: [SIGN_UP] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("ada@example.com", {}, { differs: theNext });
  }),

  scenario("database", { options: ids(false), covers: [SIGN_UP] }, async (stage) => {
    // Nothing makes an id here.
    await stage.signUp("ada@example.com");
  }),
]);
