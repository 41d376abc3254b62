/** GET /list-accounts and POST /unlink-account. Accounts of other providers are put into the table. */
import { area, options, scenario, signed, type Stage } from "../lib/scenario.ts";
import type { Json } from "../lib/types.ts";

const LIST = "GET /list-accounts";
const UNLINK = "POST /unlink-account";
const DAY = 86_400;
const UNKNOWN_TOKEN = "0123456789abcdefghijABCDEFGHIJ00";

/** Links an account of `provider` to the user with this address, as a sign-in over there would have. Its times are the user's. */
const link = (stage: Stage, id: string, provider: string, email = "ada@example.com", scope: string | null = null, tokens = false) =>
  stage.sql(
    `INSERT INTO "account" ("id", "accountId", "providerId", "userId", "accessToken", "refreshToken", "idToken", "scope", "createdAt", "updatedAt")
     SELECT '${id}', 'at-${provider}', '${provider}', "id", ${tokens ? "'access', 'refresh', 'identity'" : "NULL, NULL, NULL"}, ${scope === null ? "NULL" : `'${scope}'`}, "createdAt", "updatedAt" FROM "user" WHERE "email" = '${email}'`,
  );
const list = (stage: Stage, cookie: string, query = "") => stage.get(`/list-accounts${query}`, { cookie });
const unlink = (stage: Stage, accountId: Json, cookie?: string) => stage.post("/unlink-account", { accountId }, cookie === undefined ? {} : { cookie });

export default area("account", [
  scenario("list", { covers: [LIST, `${LIST}#UNAUTHORIZED`] }, async (stage) => {
    await stage.get("/list-accounts");
    const ada = await stage.signUp("ada@example.com");
    const eve = await stage.signUp("eve@example.com", { name: "Eve" });
    await list(stage, ada.cookies);
    await list(stage, eve.cookies, "?userId=someone&disableRefresh=true");
    for (const value of ["", ada.json.token, signed(UNKNOWN_TOKEN)]) await list(stage, `better-auth.session_token=${value}`);
    await list(stage, `${ada.cookies}; better-auth.session_data=x`);
    await stage.post("/list-accounts", {}, { cookie: ada.cookies });
  }),

  scenario("list-of-several", { covers: [LIST] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await link(stage, "github-1", "github", "ada@example.com", "user:email,repo", true);
    await link(stage, "google-1", "google", "ada@example.com", " openid , ,email profile,", true);
    await link(stage, "empty-1", "empty", "ada@example.com", "");
    await list(stage, ada.cookies);
  }),

  scenario("unlink", { covers: [UNLINK, `${UNLINK}#UNAUTHORIZED`, `${UNLINK}#ACCOUNT_NOT_FOUND`, `${UNLINK}#FAILED_TO_UNLINK_LAST_ACCOUNT`] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    const eve = await stage.signUp("eve@example.com", { name: "Eve" });
    await unlink(stage, "github-1");
    await unlink(stage, "unknown", ada.cookies);
    const [own] = (await list(stage, ada.cookies)).json as { id: string; accountId: string }[];
    await unlink(stage, own?.id ?? "", ada.cookies);
    await link(stage, "github-1", "github");
    await link(stage, "github-2", "github", "eve@example.com");
    await link(stage, "google-1", "google");
    for (const accountId of ["unknown", "", "github", "at-github", own?.accountId ?? "", "github-2", "GITHUB-1", "x".repeat(5_000)]) await unlink(stage, accountId, ada.cookies);
    await unlink(stage, "github-1", ada.cookies);
    await unlink(stage, "github-1", ada.cookies);
    await stage.post("/unlink-account", { accountId: own?.id ?? "", providerId: "google", userId: "x" }, { cookie: ada.cookies });
    await stage.signIn("ada@example.com");
    await unlink(stage, "google-1", ada.cookies);
    await unlink(stage, "unknown", ada.cookies);
    await list(stage, ada.cookies);
    await list(stage, eve.cookies);
    await stage.sql(`DELETE FROM "account"`);
    await unlink(stage, "google-1", ada.cookies);
  }),

  scenario("unlink-the-last", { options: options({ account: { accountLinking: { allowUnlinkingAll: true } } }), covers: [`${UNLINK}@account.accountLinking.allowUnlinkingAll`] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    const [own] = (await list(stage, ada.cookies)).json as { id: string }[];
    await unlink(stage, "unknown", ada.cookies);
    await unlink(stage, own?.id ?? "", ada.cookies);
    await list(stage, ada.cookies);
    await unlink(stage, own?.id ?? "", ada.cookies);
  }),

  scenario("unlink-bodies", { covers: [`${UNLINK}#VALIDATION_ERROR`, `${UNLINK}#BAD_REQUEST`, `${UNLINK}#UNSUPPORTED_MEDIA_TYPE`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const bodies: Json[] = [{}, { accountId: 1 }, { accountId: null }, { accountId: ["a"] }, { providerId: "credential" }, [], null, "text"];
    for (const body of bodies) await stage.post("/unlink-account", body);
    await stage.post("/unlink-account");
    await stage.post("/unlink-account", {}, { cookie: reply.cookies });
    const send = (text: string, type: string) => stage.post("/unlink-account", undefined, { text, headers: type === "" ? {} : { "content-type": type } });
    for (const text of ["{bad", ""]) await send(text, "application/json");
    for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) await send('{"accountId":"a"}', type);
  }),

  scenario("origins", { covers: [`${UNLINK}#MISSING_OR_NULL_ORIGIN`, `${UNLINK}#INVALID_ORIGIN`, `${UNLINK}#INVALID_CALLBACK_URL`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    const body = { accountId: "x" };
    await stage.post("/unlink-account", body, { cookie: reply.cookies, origin: false });
    await stage.post("/unlink-account", body, { cookie: reply.cookies, headers: { origin: "http://evil.example" } });
    await stage.post("/unlink-account", { ...body, callbackURL: "http://evil.example" }, { cookie: reply.cookies });
    await stage.get("/unlink-account", { cookie: reply.cookies });
    await stage.get("/list-accounts", { cookie: reply.cookies, headers: { origin: "http://evil.example" } });
  }),

  scenario("long-after-signing-in", { clock: true, covers: [`${UNLINK}#SESSION_NOT_FRESH`, `${UNLINK}@session.freshAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.advance(DAY + 30);
    await unlink(stage, "unknown", reply.cookies);
    await list(stage, reply.cookies);
    await unlink(stage, 1, reply.cookies);
    await stage.advance(8 * DAY);
    await unlink(stage, "unknown", reply.cookies);
  }),

  scenario("renewed-by-the-guard", { options: options({ session: { updateAge: 0 } }), covers: [`${LIST}@session.updateAge`, `${UNLINK}@session.updateAge`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await list(stage, reply.cookies);
    await unlink(stage, "unknown", reply.cookies);
  }),

  scenario("official-client", { covers: [LIST, UNLINK] }, async (stage) => {
    const client = stage.client();
    await stage.result(client.signUp.email({ email: "ada@example.com", password: "correct horse battery", name: "Ada" }));
    await link(stage, "github-1", "github", "ada@example.com", "user:email,repo");
    const accounts = await stage.result(client.listAccounts());
    stage.expect(accounts.data?.[1]?.scopes.join(" ") === "user:email repo", "scopes are a list");
    await stage.result(client.unlinkAccount({ accountId: "github-1" }));
    await stage.result(client.unlinkAccount({ accountId: accounts.data?.[0]?.id ?? "" }));
  }),
]);
