/** Who makes the ids of new rows: advanced.database.generateId. */
import { area, options, PASSWORD, scenario, type Stage } from "../lib/scenario.ts";
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

const ASKED = ["GET /list-sessions", "GET /list-accounts", "POST /sign-in/email", "POST /verify-password", "POST /update-user", "POST /update-session", "POST /unlink-account", "POST /revoke-session", "POST /revoke-other-sessions", "POST /revoke-sessions", "POST /change-password"];

/** Links an account to the user, as a sign-in over there would have. Its times are the user's, and its id, where nobody counts, is `id`. */
const link = (stage: Stage, provider: string, email: string, id: string | null) =>
  stage.sql(
    `INSERT INTO "account" (${id === null ? "" : '"id", '}"accountId", "providerId", "userId", "createdAt", "updatedAt")
     SELECT ${id === null ? "" : `'${id}', `}'at-${provider}', '${provider}', "id", "createdAt", "updatedAt" FROM "user" WHERE "email" = '${email}'`,
  );

/** Everything that shows an id, takes one, or looks for rows by one. `linked` are ids of accounts, where nobody counts. */
async function asks(stage: Stage, linked: [string, string] | null) {
  const ada = await stage.signUp("ada@example.com");
  const eve = await stage.signUp("eve@example.com", { name: "Eve" });
  const again = await stage.signIn("ada@example.com");
  const cookie = again.cookies;
  await stage.get("/list-sessions", { cookie });
  await link(stage, "github", "ada@example.com", linked && linked[0]);
  await link(stage, "github", "eve@example.com", linked && linked[1]);
  const [own, github] = (await stage.get("/list-accounts", { cookie })).json as { id: string }[];
  const [, hers] = (await stage.get("/list-accounts", { cookie: eve.cookies })).json as { id: string }[];
  await stage.post("/verify-password", { password: PASSWORD }, { cookie });
  await stage.post("/update-user", { name: "Ada Lovelace" }, { cookie });
  await stage.post("/update-session", { theme: "dark" }, { cookie });
  for (const accountId of [hers?.id ?? "", "unknown", "", ` ${github?.id ?? ""}`, github?.id ?? "", own?.id ?? ""]) await stage.post("/unlink-account", { accountId }, { cookie });
  await stage.post("/revoke-session", { token: String(eve.json.token) }, { cookie });
  await stage.post("/revoke-session", { token: String(ada.json.token) }, { cookie });
  await stage.signIn("ada@example.com");
  // The newest session stays, because SQLite counts on from the highest number that is left.
  await stage.signIn("eve@example.com");
  await stage.post("/revoke-other-sessions", {}, { cookie });
  const changed = await stage.post("/change-password", { currentPassword: PASSWORD, newPassword: "another fine phrase", revokeOtherSessions: true }, { cookie });
  await stage.get("/list-sessions", { cookie: changed.cookies });
  await stage.post("/revoke-sessions", {}, { cookie: changed.cookies });
  await stage.get("/list-sessions", { cookie: eve.cookies });
}

const theme: Options = { session: { additionalFields: { theme: { type: "string", required: false } } } };
const LINKED: { [kind: string]: [string, string] | null } = { uuid: ["0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"], serial: null };

export default area("ids", [
  ...Object.entries(LINKED).flatMap(([kind, linked]) => [
    scenario(`${kind}-asks`, { options: ids(kind, theme), covers: ASKED.map((endpoint) => `${endpoint}@advanced.database.generateId`) }, (stage) => asks(stage, linked)),

    scenario(`${kind}-deferred`, { options: ids(kind, { session: { deferSessionRefresh: true, updateAge: 0 } }), covers: ["POST /get-session@advanced.database.generateId"] }, async (stage) => {
      const { cookies: cookie } = await stage.signUp("ada@example.com");
      await stage.get("/get-session", { cookie });
      await stage.post("/get-session", undefined, { cookie });
    }),

    // What a cookie remembers has the ids as replies do.
    scenario(`${kind}-remembered`, { options: ids(kind, { session: { cookieCache: { enabled: true }, ...(theme.session as Options) } }), covers: [] }, (stage) => asks(stage, linked)),
  ]),

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
