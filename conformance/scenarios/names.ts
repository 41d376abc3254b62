/** Tables and columns by names of the operator's: modelName, fields, fieldName. */
import { area, options, scenario, type Stage } from "../lib/scenario.ts";
import type { Options } from "../lib/types.ts";

const renamed: Options = {
  user: { modelName: "people", fields: { email: "email_address", emailVerified: "order", createdAt: "created_at", updatedAt: "group" } },
  session: { modelName: "auth-sessions", fields: { userId: "user_id", token: "select", expiresAt: "expires_at" } },
  account: { modelName: "Accounts", fields: { userId: "user_id", accountId: "account_id", providerId: "provider", password: "secret_hash" } },
  verification: { modelName: "table", fields: { identifier: "what", value: "values" } },
};

const NAMES = [
  "user.modelName",
  "user.fields",
  "session.modelName",
  "session.fields",
  "account.modelName",
  "account.fields",
  "verification.modelName",
  "verification.fields",
];

async function lives(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  await stage.get("/get-session", { cookie: ada.cookies });
  await stage.signUp("ada@example.com");
  const again = await stage.signIn("ada@example.com", { rememberMe: false });
  await stage.get("/get-session", { cookie: again.cookies });
  await stage.post("/update-user", { name: "Ada Lovelace", image: null }, { cookie: again.cookies });
  await stage.get("/get-session", { cookie: ada.cookies });
  await stage.post("/sign-out", undefined, { cookie: ada.cookies });
  await stage.get("/get-session", { cookie: ada.cookies });
  await stage.get("/get-session", { cookie: again.cookies });
}

export default area("names", [
  scenario("renamed", { options: options(renamed), covers: NAMES.map((option) => `POST /sign-up/email@${option}`) }, lives),

  scenario("renamed-and-counted", { options: options({ ...renamed, advanced: { database: { generateId: "serial" } } }), covers: [] }, lives),

  scenario("renamed-with-uuids", { options: options({ ...renamed, advanced: { database: { generateId: "uuid" } } }), covers: [] }, lives),

  scenario("long-names", { options: options({ session: { modelName: "sessions_of_everybody_who_ever_signed_in_to_this_application", fields: { userId: "the_user_who_signed_in" } } }), covers: [] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await stage.get("/get-session", { cookie: ada.cookies });
  }),

  scenario("renewed", { clock: true, options: options({ ...renamed, session: { ...(renamed.session as Options), updateAge: 60 } }), covers: [] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await stage.advance(120);
    await stage.get("/get-session", { cookie: ada.cookies });
    await stage.advance(604_801);
    await stage.get("/get-session", { cookie: ada.cookies });
  }),
]);
