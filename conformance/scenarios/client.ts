/** Upstream's own client against the endpoints in reach: it must get from us what it gets from upstream. */
import { area, options, PASSWORD, scenario } from "../lib/scenario.ts";
import type { Options } from "../lib/types.ts";

/** Two that are required and one that is not. */
const FIELDS: Options = {
  level: { type: "string", required: true },
  profession: { type: "string", required: true },
  company: { type: "string", required: false },
};

const hasFields = (user: object | undefined, fields: object) =>
  Object.entries(fields).every(([name, value]) => (user as { [field: string]: unknown } | undefined)?.[name] === value);

export default area("client", [
  scenario("a-visit", { covers: ["POST /sign-up/email", "POST /sign-in/email", "GET /get-session", "POST /sign-out"] }, async (stage) => {
    const client = stage.client({ headers: { "user-agent": "Mozilla/5.0 (conformance)" } });
    const nobody = await stage.result(client.getSession());
    stage.expect(nobody.data === null && nobody.error === null, "no session before sign-up");
    const up = await stage.result(client.signUp.email({ email: "Ada@example.com", password: PASSWORD, name: "Ada", image: "https://example.com/a.png" }));
    stage.expect(up.data?.user.email === "ada@example.com", "sign-up returns the user");
    const session = await stage.result(client.getSession());
    stage.expect(session.data?.session.token === up.data?.token, "the session is the one sign-up made");
    stage.expect(session.data?.user.createdAt instanceof Date, "dates are dates");
    const out = await stage.result(client.signOut());
    stage.expect(out.data?.success === true, "signed out");
    stage.expect((await stage.result(client.getSession())).data === null, "no session after sign-out");
    const again = await stage.result(client.signIn.email({ email: "ada@example.com", password: PASSWORD, rememberMe: false }));
    stage.expect(again.data?.redirect === false, "no redirect without a callback");
    await stage.result(client.getSession({ query: { disableCookieCache: true, disableRefresh: true } }));
    await stage.result(client.signIn.email({ email: "ada@example.com", password: PASSWORD }));
    await stage.result(client.getSession());
    await stage.result(client.signIn.email({ email: "ada@example.com", password: PASSWORD, callbackURL: "/dashboard" }));
    await stage.result(client.$fetch("/ok"));
    await stage.result(client.$fetch("/no-such-endpoint"));
  }),

  scenario("errors", { covers: ["POST /sign-up/email#PASSWORD_TOO_SHORT", "POST /sign-in/email#INVALID_EMAIL_OR_PASSWORD", "POST /sign-in/email#INVALID_CALLBACK_URL"] }, async (stage) => {
    const client = stage.client();
    const short = await stage.result(client.signUp.email({ email: "ada@example.com", password: "short", name: "Ada" }));
    stage.expect(short.error?.code === "PASSWORD_TOO_SHORT" && short.error.status === 400, "the error carries code and status");
    await stage.result(client.signUp.email({ email: "bad", password: PASSWORD, name: "Ada" }));
    await stage.result(client.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada" }));
    await stage.result(client.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada" }));
    await stage.result(client.signIn.email({ email: "ada@example.com", password: "wrong password" }));
    await stage.result(client.signIn.email({ email: "nobody@example.com", password: PASSWORD }));
    await stage.result(client.signIn.email({ email: "ada@example.com", password: PASSWORD, callbackURL: "http://evil.example" }));
    await stage.result(client.$fetch("/get-session", { method: "POST" }));
  }),

  scenario("fields", { options: options({ user: { additionalFields: FIELDS } }), covers: ["POST /sign-up/email@user.additionalFields", "POST /sign-up/email#MISSING_FIELD", "POST /sign-up/email#PASSWORD_TOO_SHORT"] }, async (stage) => {
    const client = stage.client();
    const ada = { email: "ada@example.com", name: "Ada" };
    const fields = { level: "advanced", profession: "engineer" };
    const weak = await stage.result(client.signUp.email({ ...ada, ...fields, password: "weak" }));
    stage.expect(weak.data === null && weak.error?.code === "PASSWORD_TOO_SHORT", "a weak password is refused");
    const missing = await stage.result(client.signUp.email({ ...ada, level: "advanced", password: PASSWORD } as typeof ada & { password: string }));
    stage.expect(missing.data === null && missing.error?.code === "MISSING_FIELD", "a field that is required is asked for");
    const user = (await stage.result(client.signUp.email({ ...ada, ...fields, password: PASSWORD }))).data?.user;
    stage.expect(hasFields(user, { ...fields, company: null }), "sign-up shows all fields, also the one that nobody gave");
    const session = await stage.result(client.getSession());
    stage.expect(hasFields(session.data?.user, { ...fields, company: null }), "so does the session");
  }),

  scenario("two-browsers", { covers: ["GET /get-session"] }, async (stage) => {
    const [ada, eve] = [stage.client(), stage.client()];
    await stage.result(ada.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada" }));
    await stage.result(eve.signUp.email({ email: "eve@example.com", password: PASSWORD, name: "Eve" }));
    const session = await stage.result(eve.getSession());
    stage.expect(session.data?.user.name === "Eve", "each browser has its own session");
    await stage.result(ada.signOut());
    stage.expect((await stage.result(eve.getSession())).data !== null, "the other browser stays signed in");
  }),

  scenario("deferred-refresh", { options: options({ session: { deferSessionRefresh: true } }), clock: true, covers: ["GET /get-session@session.deferSessionRefresh"] }, async (stage) => {
    const client = stage.client();
    await stage.result(client.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada" }));
    await stage.result(client.getSession());
    await stage.advance(90_000);
    await stage.result(client.getSession());
    await stage.result(client.getSession({ fetchOptions: { method: "POST" } }));
    await stage.result(client.getSession());
  }),
]);
