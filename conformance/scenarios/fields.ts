/** Fields of the operator's own: additionalFields of users, sessions and accounts. */
import { area, options, PASSWORD, scenario } from "../lib/scenario.ts";
import { refusedValue } from "../lib/intents.ts";
import { type Intent, type Json, type Options, SECONDARY } from "../lib/types.ts";

const SIGN_UP = "POST /sign-up/email";
const FIELDS = `${SIGN_UP}@user.additionalFields`;

/** One of every type. */
const kinds: Options = {
  nickname: { type: "string", required: false },
  level: { type: ["beginner", "advanced"], required: false, fieldName: "experience_level" },
  age: { type: "number", required: false },
  distance: { type: "number", required: false, bigint: true },
  subscribed: { type: "boolean", required: false },
  born: { type: "date", required: false },
  settings: { type: "json", required: false },
  tags: { type: "string[]", required: false },
  scores: { type: "number[]", required: false },
};

/** PostgreSQL's driver hands 64 bits out as text, and upstream passes them on. */
const aNumber: Intent = {
  decision: "keys-and-numbers",
  narthex: ({ body, rows }, database) => {
    const inNumbers = (text: string) => text.replace(/"distance":"(\d+)"/, '"distance":$1');
    const kept = (rows[SECONDARY] ?? []).map((row) => ({ ...row, value: inNumbers(String(row.value)) }));
    return { ...(typeof body === "string" ? { body: inNumbers(body) } : {}), rows: { [database]: { [SECONDARY]: kept } } };
  },
};

/** Every way in which a field can be filled or not. */
const ways: Options = {
  required: { type: "string", required: true },
  role: { type: "string", required: false, defaultValue: "user", input: false },
  plan: { type: "string", required: true, defaultValue: "free" },
  credits: { type: "number", required: false, defaultValue: 10 },
  active: { type: "boolean", required: true, defaultValue: true },
  joined: { type: "date", required: true, defaultValue: "now" },
  secret: { type: "string", required: false, returned: false },
  locked: { type: "string", required: false, input: false },
  handle: { type: "string", required: false, unique: true },
  city: { type: "string", required: false, index: true, sortable: true },
  tier: { type: "string", required: false, index: true, unique: true, fieldName: "tier_name" },
};

const everything = {
  nickname: "Countess",
  level: "advanced",
  age: 36,
  subscribed: true,
  born: "1815-12-10T00:00:00.000Z",
  settings: { theme: "dark", nested: { list: [1, "two", null] } },
  tags: ["a", "b"],
  scores: [1, 2.5, -3],
};

export default area("fields", [
  scenario("kinds", { options: options({ user: { additionalFields: kinds } }), covers: [FIELDS] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com", everything);
    await stage.get("/get-session", { cookie: ada.cookies });
    const eve = await stage.signUp("eve@example.com");
    await stage.get("/get-session", { cookie: eve.cookies });
    await stage.signUp("nil@example.com", { nickname: null, level: null, age: null, subscribed: null, born: null, tags: null, scores: null });
    await stage.signUp("low@example.com", { subscribed: false, age: -5, nickname: "", tags: [], scores: [], settings: {} });
    await stage.post("/update-user", { age: 37, subscribed: false, tags: ["c"], settings: { theme: "light" } }, { cookie: ada.cookies });
    await stage.post("/update-user", { nickname: null, born: "1815-12-11T12:00:00.000Z", scores: [4] }, { cookie: ada.cookies });
    await stage.get("/get-session", { cookie: ada.cookies });
    await stage.signIn("ada@example.com");
  }),

  scenario("fractions", { databases: ["sqlite"], options: options({ user: { additionalFields: kinds } }), covers: [FIELDS] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com", { age: 1.5, distance: 9007199254740991 });
    await stage.get("/get-session", { cookie: ada.cookies });
  }),

  scenario("ways", { options: options({ user: { additionalFields: ways } }), covers: [FIELDS, `${SIGN_UP}#MISSING_FIELD`, `${SIGN_UP}#FIELD_NOT_ALLOWED`] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com", { required: "yes", secret: "hidden", city: "London", handle: "ada" });
    await stage.get("/get-session", { cookie: ada.cookies });
    await stage.signUp("missing@example.com");
    await stage.signUp("locked@example.com", { required: "yes", locked: "x" });
    await stage.signUp("unlocked@example.com", { required: "yes", locked: "" });
    await stage.signUp("role@example.com", { required: "yes", role: "admin" });
    await stage.signUp("given@example.com", { required: "yes", plan: "pro", credits: 0, active: false, joined: "2020-01-01T00:00:00.000Z", tier: "gold" });
    await stage.signUp("handle@example.com", { required: "yes", handle: "ada" });
    await stage.signUp("unknown@example.com", { required: "yes", emailVerified: true, createdAt: "2020-01-01T00:00:00.000Z", id: "x", whatever: 1 });
    await stage.post("/update-user", { role: "admin" }, { cookie: ada.cookies });
    await stage.post("/update-user", { locked: "x" }, { cookie: ada.cookies });
    await stage.post("/update-user", { role: "", locked: null }, { cookie: ada.cookies });
    await stage.post("/update-user", { role: "", name: "Ada Lovelace", secret: "other" }, { cookie: ada.cookies });
    await stage.get("/get-session", { cookie: ada.cookies });
  }),

  scenario("address-taken", { options: options({ emailAndPassword: { autoSignIn: false }, user: { additionalFields: { ...ways, ...kinds } } }), covers: [FIELDS] }, async (stage) => {
    const fields = { required: "yes", secret: "hidden", nickname: "N", settings: { a: 1 }, tags: ["x"] };
    await stage.signUp("ada@example.com", fields);
    await stage.signUp("ada@example.com", fields);
    await stage.signUp("ada@example.com");
  }),

  scenario("as-form", { options: options({ user: { additionalFields: { nickname: { type: "string", required: false }, age: { type: "number", required: false } } } }), covers: [FIELDS] }, async (stage) => {
    await stage.post("/sign-up/email", undefined, { form: { email: "ada@example.com", password: PASSWORD, name: "Ada", nickname: "N", age: "36" } });
  }),

  // Upstream writes what it is given, and some of it cannot be read again.
  ...(["sqlite", "postgres"] as const).map((database) => scenario(`wrong-types-on-${database}`, { databases: [database], options: options({ user: { additionalFields: kinds } }), covers: [FIELDS] }, async (stage) => {
    const none = { user: null, session: null, account: null };
    let count = 0;
    const wrong = async (field: string, value: Json, problem: string) => {
      count += 1;
      await stage.signUp(`a${count}@example.com`, { [field]: value }, { differs: refusedValue(`[body.${field}] ${problem}`, none) });
    };
    await wrong("nickname", 5, "Invalid input: expected string, received number");
    await wrong("level", "expert", 'Invalid option: expected one of "beginner"|"advanced"');
    await wrong("age", "thirty", "Invalid input: expected number, received string");
    await wrong("subscribed", "yes", "Invalid input: expected boolean, received string");
    await wrong("born", "yesterday", "Invalid input: expected date, received Date");
    await wrong("tags", "a", "Invalid input: expected array, received string");
  })),

  scenario("numbers-postgres-cannot-hold", { databases: ["postgres"], options: options({ user: { additionalFields: kinds } }), covers: [FIELDS] }, async (stage) => {
    const none = { user: null, session: null, account: null };
    await stage.signUp("a@example.com", { age: 1.5 }, { differs: refusedValue("[body.age] Invalid input: expected int, received number", none) });
    await stage.signUp("b@example.com", { age: 2147483648 }, { differs: refusedValue("[body.age] Too big: expected int to be <=2147483647", none) });
  }),

  scenario("large-numbers", { databases: ["postgres"], options: options({ user: { additionalFields: kinds } }), covers: [FIELDS], differs: aNumber }, async (stage) => {
    const ada = await stage.signUp("ada@example.com", { distance: 9007199254740991 });
    await stage.get("/get-session", { cookie: ada.cookies });
  }),

  scenario("references", { options: options({ user: { additionalFields: { invitedBy: { type: "string", required: false, index: true, references: { model: "user", field: "id", onDelete: "set null" } } } } }), covers: [FIELDS] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    const { user } = ada.json as { user: { id: string } };
    await stage.signUp("eve@example.com", { invitedBy: user.id });
    await stage.signUp("bad@example.com", { invitedBy: "nobody" });
  }),

  scenario("references-counted", { options: options({ advanced: { database: { generateId: "serial" } }, user: { modelName: "people", additionalFields: { invitedBy: { type: "string", required: false, references: { model: "user", field: "id" }, fieldName: "invited_by" } } } }), covers: [FIELDS] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await stage.signUp("eve@example.com", { invitedBy: "1" });
    await stage.post("/update-user", { invitedBy: "2" }, { cookie: ada.cookies });
    await stage.get("/get-session", { cookie: ada.cookies });
    await stage.signUp("bad@example.com", { invitedBy: "99" });
  }),

  scenario("accounts", { options: options({ account: { additionalFields: { label: { type: "string", required: false }, source: { type: "string", required: true, defaultValue: "web" } } }, verification: { additionalFields: { reason: { type: "string", required: false } } } }), covers: [`${SIGN_UP}@account.additionalFields`, `${SIGN_UP}@verification.additionalFields`] }, async (stage) => {
    await stage.signUp("ada@example.com", { label: "x", source: "y" });
  }),
]);
