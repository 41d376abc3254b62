/**
 * A database changes hands: written by one server it is served by the other, and given back.
 *
 * Old passwords, old session cookies and the key that signs tokens work on the other server, neither finds anything to
 * migrate, and the schema stays as it is stored, byte for byte. Upstream reads Narthex's bcrypt with the lines of
 * `docs/guides/beside-better-auth.md`, and without them answers 500, as that page says.
 */
import { pathToFileURL } from "node:url";
import { hashPassword } from "better-auth/crypto";
import { dropDatabases, type Store, withStore } from "./lib/database.ts";
import { fromGuide } from "./lib/guide.ts";
import { KeyRing, toldKeys } from "./lib/keys.ts";
import { BCRYPT, ODD_PASSWORDS, SCRYPT } from "./lib/passwords.ts";
import { options, scenario, Stage } from "./lib/scenario.ts";
import { ONLY_OURS, schemaDifference, storedSchema } from "./lib/schema.ts";
import { MissingTool, startServer, stopHosts, type Target, type Wanted } from "./lib/servers.ts";
import type { Database } from "./lib/types.ts";

const PASSWORDS = ["correct horse battery", ...ODD_PASSWORDS, "ﬁﬁﬁﬁﬁﬁﬁﬁ", "x".repeat(71), "x".repeat(72), "é".repeat(36)];

interface Side {
  target: Target;
  with?: Pick<Wanted, "hash" | "migrate"> & { lines?: boolean };
}

/** Narthex refuses to start when a database of upstream's lacks anything it knows of. */
const NOTHING_TO_ADD: Pick<Wanted, "migrate"> = ONLY_OURS.length === 0 ? { migrate: "check" } : {};

interface Handover {
  label: string;
  first: Side;
  second: Side;
  /** What every stored password must look like, whoever hashed it. */
  hashes: RegExp;
  database: Database;
}

const HANDOVERS: Omit<Handover, "database">[] = [
  { label: "filled by Node, served by Narthex (auto)", first: { target: "upstream" }, second: { target: "narthex", with: { hash: "auto", ...NOTHING_TO_ADD } }, hashes: SCRYPT },
  { label: "filled by Narthex (scrypt), served by Node", first: { target: "narthex", with: { hash: "scrypt" } }, second: { target: "upstream" }, hashes: SCRYPT },
  { label: "filled by Narthex (auto), served by Node with the guide's lines", first: { target: "narthex", with: { hash: "auto" } }, second: { target: "upstream", with: { lines: true } }, hashes: BCRYPT },
  { label: "filled by Node with the guide's lines, served by Narthex (auto)", first: { target: "upstream", with: { lines: true } }, second: { target: "narthex", with: { hash: "auto", ...NOTHING_TO_ADD } }, hashes: BCRYPT },
];

const shared = scenario("handover", { options: options({ plugins: { jwt: {}, bearer: {} } }) }, async () => undefined);

async function on(database: Database, store: Store, directory: string, side: Side, work: (stage: Stage) => Promise<void>): Promise<void> {
  const { lines, ...rest } = side.with ?? {};
  const server = await startServer(side.target, {
    options: shared.options,
    environment: shared.environment,
    databaseUrl: store.url,
    directory,
    fakeTime: false,
    ...rest,
    ...(lines ? { passwordModule: fromGuide("password.mjs") } : {}),
  });
  try {
    await work(new Stage(shared, database, server, store));
  } catch (error) {
    throw new Error(`${side.target}: ${error instanceof Error ? error.message : String(error)}\n${server.log()}`);
  } finally {
    await server.stop();
  }
}

/** Each account's stored password by the account's id. */
async function hashes(store: Store): Promise<Map<string, string>> {
  const { account = [] } = await store.rows();
  return new Map(account.map(({ id, password }) => [String(id), String(password)]));
}

async function checkSignIns(stage: Stage, index: number, password: string): Promise<string[]> {
  const email = `user${index}@example.com`;
  const cookies: string[] = [];
  for (const typed of new Set([password, password.normalize("NFKC")])) {
    const reply = await stage.signIn(email, { password: typed, rememberMe: index % 2 === 0 });
    stage.expect(reply.status === 200 && reply.json?.user.name === `User ${index}`, `${email} signs in with ${JSON.stringify(typed)}: ${reply.text}`);
    cookies.push(reply.cookies);
  }
  for (const wrong of [`${password}!`, [...password].slice(0, -1).join("")]) {
    const reply = await stage.signIn(email, { password: wrong });
    stage.expect(reply.status === 401, `${JSON.stringify(wrong)} is not the password of ${email}: ${reply.status} ${reply.text}`);
  }
  return cookies;
}

/** Signs a token with the one key there is; whoever made the key, and the tokens before, this server tells it. */
async function checkTokens(stage: Stage, cookie: string, before: string[]): Promise<string[]> {
  const made = await stage.get("/token", { cookie });
  const carried = await stage.get("/token", { headers: { authorization: `Bearer ${decodeURIComponent(/(?<=session_token=)[^;]+/.exec(cookie)?.[0] ?? "")}` } });
  const told = await stage.get("/jwks");
  const keys = new KeyRing({});
  const count = keys.learn(toldKeys(told.json.keys)).length;
  stage.expect(count === 1, `one key: ${told.text}`);
  const tokens = [...before, String(made.json.token), String(carried.json.token)];
  for (const token of tokens) stage.expect(keys.open(token) !== undefined, `${token} is signed with the key of ${told.text}`);
  return tokens;
}

function handover({ first, second, hashes: format, database }: Handover): Promise<void> {
  return withStore(database, async (store, directory) => {
    const at = (side: Side, work: (stage: Stage) => Promise<void>) => on(database, store, directory, side, work);
    const cookies: string[] = [];
    const back: string[] = [];
    let tokens: string[] = [];
    let schema = "";
    const unchanged = async (stage: Stage, by: Side) => {
      const change = schemaDifference(schema, await storedSchema(store.url));
      stage.expect(change === "", `${by.target} changed the schema:\n${change}`);
    };
    await at(first, async (stage) => {
      schema = await storedSchema(store.url);
      for (const [index, password] of PASSWORDS.entries()) {
        const reply = await stage.signUp(`user${index}@example.com`, { password, name: `User ${index}`, rememberMe: index % 2 === 0 });
        stage.expect(reply.status === 200, `user ${index} signs up: ${reply.text}`);
        cookies.push(reply.cookies);
      }
      tokens = await checkTokens(stage, cookies[0] ?? "", tokens);
    });
    const before = await hashes(store);
    await at(second, async (stage) => {
      await unchanged(stage, second);
      for (const [index, password] of PASSWORDS.entries()) {
        const session = await stage.get("/get-session", { cookie: cookies[index] ?? "" });
        stage.expect(session.json?.user?.name === `User ${index}`, `the session of user ${index} holds: ${session.text}`);
        back.push(...(await checkSignIns(stage, index, password)));
        const late = await stage.signUp(`late${index}@example.com`, { password, name: `Late ${index}` });
        stage.expect(late.status === 200, `late user ${index} signs up: ${late.text}`);
        back.push(late.cookies);
      }
      tokens = await checkTokens(stage, cookies[0] ?? "", tokens);
      await stage.post("/sign-out", undefined, { cookie: cookies[0] ?? "" });
      await unchanged(stage, second);
    });
    const after = await hashes(store);
    for (const [id, hash] of before) if (after.get(id) !== hash) throw new Error(`${second.target} rewrote ${hash} as ${after.get(id)}`);
    for (const hash of after.values()) if (!format.test(hash)) throw new Error(`a password is stored as ${hash}`);
    await at(first, async (stage) => {
      const gone = await stage.get("/get-session", { cookie: cookies[0] ?? "" });
      stage.expect(gone.text === "null", `a session ended by ${second.target} has ended: ${gone.text}`);
      for (const cookie of back) {
        const session = await stage.get("/get-session", { cookie });
        stage.expect(session.json !== null, `a session made by ${second.target} holds: ${session.text}`);
      }
      for (const [index, password] of PASSWORDS.entries()) {
        const late = await stage.signIn(`late${index}@example.com`, { password });
        stage.expect(late.json?.user?.name === `Late ${index}`, `a user made by ${second.target} signs in with ${JSON.stringify(password)}: ${late.text}`);
      }
      await checkTokens(stage, back[0] ?? "", tokens);
      const taken = await stage.signUp("late0@example.com");
      stage.expect(taken.status === 422, `and is known: ${taken.text}`);
      await unchanged(stage, first);
    });
  });
}

/** Hashes made by Python's bcrypt and passlib, as in the Rust tests, and by upstream. */
async function theLines(): Promise<void> {
  const { password: lines } = (await import(pathToFileURL(fromGuide("password.mjs")).href)) as {
    password: { hash: (password: string) => Promise<string>; verify: (both: { hash: string; password: string }) => Promise<boolean> };
  };
  const phrase = "correct horse battery staple";
  const right: [string, string][] = [
    [phrase, "$2a$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"],
    [phrase, "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$h8GCYhBqatMGV8VIjRD4nhRxM87r3yu"],
    ["x".repeat(72), "$bcrypt-sha256$v=2,t=2b,r=10$..CA.uOD/eaGAOmJB.yMBu$L5xjTT6LDoNCeQVf4Q3TBAvI7av3Sd2"],
    ["x".repeat(71), "$2b$04$abcdefghijklmnopqrstuu.gc7UY/21CSNJGJg21jJzx9QiOpJ9bO"],
    ["a\0b", "$bcrypt-sha256$v=2,t=2b,r=10$..CA.uOD/eaGAOmJB.yMBu$udKFzSlx9un3.rdl6WjEwJgZFNCjdPa"],
    ["pa\u0308sswo\u0308rd".repeat(10), await lines.hash("p\u00e4ssw\u00f6rd".repeat(10))],
    [phrase, await hashPassword(phrase)],
    ["a", await lines.hash("a")],
  ];
  for (const [password, hash] of right) {
    if (!(await lines.verify({ hash, password }))) throw new Error(`${JSON.stringify(password)} is refused for ${hash}`);
    // scrypt pads a short password with zero bytes, wherever it is computed.
    for (const wrong of [`${password}x`, ...(SCRYPT.test(hash) ? [] : [`${password}\0`]), `${password}\0${password}`]) {
      if (await lines.verify({ hash, password: wrong })) throw new Error(`${JSON.stringify(wrong)} is accepted for ${hash}`);
    }
  }
}

/** Why the guide's lines are needed. */
function withoutTheLines(database: Database): Promise<void> {
  return withStore(database, async (store, directory) => {
    const at = (side: Side, work: (stage: Stage) => Promise<void>) => on(database, store, directory, side, work);
    let cookie = "";
    await at({ target: "narthex", with: { hash: "auto" } }, async (stage) => {
      cookie = (await stage.signUp("ada@example.com")).cookies;
    });
    await at({ target: "upstream" }, async (stage) => {
      const session = await stage.get("/get-session", { cookie });
      stage.expect(session.json?.user.email === "ada@example.com", `the session holds: ${session.text}`);
      const reply = await stage.signIn("ada@example.com");
      stage.expect(reply.status === 500, `bcrypt is unknown to it: ${reply.status} ${reply.text}`);
    });
  });
}

let failed = 0;
let passed = 0;

async function check(label: string, work: () => Promise<void>): Promise<void> {
  const started = Date.now();
  try {
    await work();
    passed += 1;
    console.log(`ok   ${label} ${((Date.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    if (error instanceof MissingTool) throw error;
    failed += 1;
    console.log(`FAIL ${label}\n  ${error instanceof Error ? error.message.replaceAll("\n", "\n  ") : String(error)}`);
  }
}

try {
  await check("the guide's lines read bcrypt in both forms and upstream's scrypt", theLines);
  for (const database of ["sqlite", "postgres"] as const) {
    for (const each of HANDOVERS) await check(`${each.label}, and back [${database}]`, () => handover({ ...each, database }));
    await check(`filled by Narthex (auto), Node without the guide's lines: 500 [${database}]`, () => withoutTheLines(database));
  }
} catch (error) {
  failed += 1;
  console.error(error instanceof MissingTool ? error.message : error);
}
await stopHosts();
await dropDatabases();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
