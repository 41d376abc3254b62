/**
 * Node and Narthex serve one database at the same time, with or without a Redis that both keep sessions in, and clients
 * cannot tell.
 *
 * Upstream fills a database alone; then Narthex starts beside it with `password.hash = "auto"`, and a relay on one
 * port sends each request of a random walk to the one or the other. Every answer must be what the walk expects,
 * and headers, bodies and rows what the same walk gets where a second Node stands in Narthex's place.
 * A second part asks both at once, and a third holds the SQLite file's write lock meanwhile.
 *
 * `npm run alternate -- [--seed <n>] [--steps <n>] [--only <text>] [--upstream] [--show]`
 */
import { parseArgs } from "node:util";
import Sqlite from "better-sqlite3";
import { compareRuns, render } from "./lib/compare.ts";
import { dropDatabases, type Store, withStore } from "./lib/database.ts";
import { fromGuide } from "./lib/guide.ts";
import { exchange } from "./lib/http.ts";
import { listsOfWhatIsThere, publishedKeys } from "./lib/intents.ts";
import { type NormalStep, normalise } from "./lib/normalise.ts";
import { BCRYPT, ODD_PASSWORDS, SCRYPT } from "./lib/passwords.ts";
import { startRelay } from "./lib/relay.ts";
import { options, scenario, Stage } from "./lib/scenario.ts";
import { ONLY_OURS, schemaDifference, storedSchema } from "./lib/schema.ts";
import { createSecondary, type Secondary } from "./lib/secondary.ts";
import { type Server, startServer, stopHosts, type Target, type Wanted } from "./lib/servers.ts";
import { type Database, type Options, SECONDARY, type Tables } from "./lib/types.ts";
import { ENDPOINTS, randomness, Walk } from "./lib/walk.ts";

/** The walk fails without these. EXTEND this list with each endpoint that Narthex gets; all that can be used are in `lib/walk.ts`. */
const REQUIRED = [
  "GET /ok",
  "POST /sign-up/email",
  "POST /sign-in/email",
  "POST /sign-out",
  "GET /get-session",
  "GET /list-sessions",
  "POST /revoke-session",
  "POST /revoke-sessions",
  "POST /revoke-other-sessions",
  "POST /change-password",
  "POST /verify-password",
  "POST /update-user",
  "POST /update-session",
  "GET /list-accounts",
  "POST /unlink-account",
  "GET /token",
  "GET /jwks",
];

/** What the two share, and how far the walk goes. */
interface Shared {
  database: Database;
  steps: number;
  /** Where sessions are besides the database, or instead of it. */
  redis?: true;
  session?: Options;
}

const SHARED: { [label: string]: Shared } = {
  postgres: { database: "postgres", steps: 200 },
  sqlite: { database: "sqlite", steps: 50 },
  "postgres and redis": { database: "postgres", steps: 200, redis: true },
  "postgres and redis, sessions in both": { database: "postgres", steps: 50, redis: true, session: { storeSessionInDatabase: true } },
};

const { values: flags } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    steps: { type: "string" },
    only: { type: "string" },
    /** Every endpoint, Node in both places: checks the walk itself. Two Nodes in one process cannot rush: each would
     * wait for the lock of the other without letting it go on. */
    upstream: { type: "boolean", default: false },
    show: { type: "boolean", default: false },
  },
});
const seed = Number(flags.seed);
const second: Target = flags.upstream ? "upstream" : "narthex";

const stepsOf = (shared: Shared) => Number(flags.steps ?? shared.steps);

/** Which server gets a request: 0 is Node, 1 stands beside it. */
const ORDERS: { [name: string]: () => (request: number) => number } = {
  random: () => {
    const random = randomness(seed + 1);
    return () => (random() < 0.5 ? 0 : 1);
  },
  alternating: () => (request) => request % 2,
  "the other first": () => (request) => (request + 1) % 2,
};

const base = (extra: Options = {}) => scenario("side-by-side", { options: options(extra) }, async () => undefined);

function wanted(store: Store, directory: string, extra: Options, secondary?: Secondary): Wanted {
  const { options } = base(extra);
  return { options, environment: "development", databaseUrl: store.url, directory, fakeTime: false, hash: "auto", ...(secondary ? { secondary: secondary.order } : {}) };
}

/** A database, and a Redis if they share one, for as long as the work takes. */
function withShared<T>({ database, redis }: Shared, work: (store: Store, directory: string, secondary?: Secondary) => Promise<T>): Promise<T> {
  return withStore(database, async (store, directory) => {
    if (!redis) return work(store, directory);
    const secondary = await createSecondary();
    try {
      return await work(store, directory, secondary);
    } finally {
      await secondary.release();
    }
  });
}

async function withServers<T>(starts: (() => Promise<Server>)[], work: (servers: Server[]) => Promise<T>): Promise<T> {
  const servers: Server[] = [];
  try {
    for (const start of starts) servers.push(await start());
    return await work(servers);
  } catch (error) {
    const logs = servers.map((server) => server.log().trim().slice(-1500)).filter((log) => log !== "");
    throw new Error([error instanceof Error ? error.message : String(error), ...logs].join("\nlog: "));
  } finally {
    for (const server of servers) await server.stop();
  }
}

interface Known {
  endpoints: Set<string>;
  options: Options;
}

/** What Narthex has of what the walk can use: the option is accepted, and the path is not 404. */
async function probe(): Promise<Known> {
  const known: Known = { endpoints: new Set(), options: {} };
  if (second === "upstream") {
    return { endpoints: new Set(ENDPOINTS.keys()), options: Object.assign({}, ...ENDPOINTS.values()) as Options };
  }
  for (const needs of new Set([...ENDPOINTS.values()].map((each) => JSON.stringify(each)))) {
    const extra = JSON.parse(needs) as Options;
    const asked = [...ENDPOINTS].filter(([, each]) => JSON.stringify(each) === needs).map(([endpoint]) => endpoint);
    const found = await withStore("sqlite", async (store, directory) => {
      const start = () => startServer("narthex", wanted(store, directory, extra));
      return withServers([start], async ([server]) => {
        const answers = asked.map(async (endpoint) => {
          const [method = "", path = ""] = endpoint.split(" ");
          const body = method === "POST" ? "{}" : null;
          const { status } = await exchange(server?.port ?? 0, "localhost:3000", { method, target: `/api/auth${path}`, headers: [["content-type", "application/json"]], body });
          return status === 404 ? [] : [endpoint];
        });
        return (await Promise.all(answers)).flat();
      });
    }).catch((error: unknown) => {
      // Without extra options nothing may go wrong; with them it means that they are not known yet.
      if (needs === "{}") throw error;
      return [];
    });
    for (const endpoint of found) known.endpoints.add(endpoint);
    if (found.length > 0) Object.assign(known.options, extra);
  }
  return known;
}

interface Walked {
  steps: NormalStep[];
  made: Map<string, number>;
  served: number[];
  /** How many users each of the two made. */
  users: number[];
}

function checkHashes(tables: Tables, format: RegExp): void {
  for (const { password } of tables.account ?? []) {
    if (typeof password !== "string" || !format.test(password)) throw new Error(`a password is stored as ${JSON.stringify(password)}`);
  }
}

function walk(shared: Shared, other: Target, order: string, known: Known): Promise<Walked> {
  const { database } = shared;
  const extra = { ...known.options, session: { ...(known.options.session as Options | undefined), ...shared.session } };
  return withShared(shared, (store, directory, secondary) => {
    const all = wanted(store, directory, extra, secondary);
    return withServers([() => startServer("upstream", all)], ([node]) => {
      const ports = [node?.port ?? 0];
      const turn = ORDERS[order]?.() ?? (() => 0);
      let alone = 0;
      let forced: number | undefined = 0;
      return withRelay(ports, (request) => forced ?? turn(request - alone), async (relay) => {
        const port = { port: relay.port, offset: () => 0, advance: () => undefined, log: () => "", stop: async () => undefined };
        const stage = new Stage(base(extra), database, port, store, secondary);
        const walk = new Walk(stage, seed, known.endpoints);
        await walk.begin();
        const schema = await storedSchema(store.url);
        return withServers([() => startServer(other, all)], async ([beside]) => {
          ports.push(beside?.port ?? 0);
          // Whatever the walk does, each of the two makes a user.
          for (forced = 0; forced < 2; forced += 1) await walk.arrival();
          forced = undefined;
          alone = relay.served.length;
          const users = [1, 1];
          for (let step = 1; step <= stepsOf(shared); step += 1) {
            const before = walk.users.length;
            try {
              await walk.step();
            } catch (error) {
              const by = relay.served.at(-1) === 0 ? "Node" : other;
              throw new Error(`step ${step}, answered by ${by}: ${error instanceof Error ? error.message : String(error)}`);
            }
            const place = relay.served.at(-1) ?? 0;
            if (walk.users.length > before) users[place] = (users[place] ?? 0) + 1;
          }
          const served = relay.served.slice(alone);
          // Whoever made them: each user can sign in at either.
          for (forced = 0; forced < 2; forced += 1) {
            for (const user of walk.users) {
              const reply = await stage.signIn(user.email, { password: user.password });
              stage.expect(reply.status === 200 && reply.json?.user.name === user.name, `at ${forced === 0 ? "Node" : other}: ${user.email} signs in: ${reply.text}`);
            }
          }
          checkHashes(await store.rows(), SCRYPT);
          const change = schemaDifference(schema, await storedSchema(store.url));
          stage.expect(change === "", `the schema stays as it was:\n${change}`);
          for (const step of stage.steps) if ("rows" in step) for (const table of ONLY_OURS) delete step.rows[table];
          return { steps: normalise({ steps: stage.steps, ddl: [], log: "" }, database, all.options), made: walk.made, served, users };
        });
      });
    });
  });
}

async function withRelay<T>(ports: number[], choose: (request: number) => number, work: (relay: { port: number; served: number[] }) => Promise<T>): Promise<T> {
  const relay = await startRelay(() => ports, choose);
  try {
    return await work(relay);
  } finally {
    await relay.close();
  }
}

/**
 * Eight clients at once, each of whom asks one server about what the other has just written.
 *
 * With `hash` both write scrypt, because Node was there first, or both bcrypt, because Narthex was.
 */
function rush(shared: Shared, hash: "auto" | "bcrypt"): Promise<string> {
  return withShared(shared, (store, directory, secondary) => {
    const lines = { sqliteModule: fromGuide("sqlite.mjs"), ...(hash === "bcrypt" ? { passwordModule: fromGuide("password.mjs") } : {}) };
    const all = { ...wanted(store, directory, { session: shared.session ?? {} }, secondary), hash, ...lines };
    const order = hash === "auto" ? (["upstream", "narthex"] as const) : (["narthex", "upstream"] as const);
    return withServers([() => startServer(order[0], all)], async ([first]) => {
      const on = (server: Server | undefined) => {
        if (!server) throw new Error("a server is missing");
        return new Stage(base(), shared.database, server, store, secondary);
      };
      await on(first).signUp("first@example.com");
      return withServers([() => startServer(order[1], all)], async ([beside]) => {
        let steps = 0;
        const lane = async (number: number) => {
          for (let round = 0; round < 3; round += 1) {
            const [here, there] = (number + round) % 2 === 0 ? [on(first), on(beside)] : [on(beside), on(first)];
            const email = `lane${number}round${round}@example.com`;
            const password = ODD_PASSWORDS[(number + round) % ODD_PASSWORDS.length] ?? "";
            const up = await here.signUp(email, { password });
            here.expect(up.status === 200, `sign-up: ${up.text}`);
            const seen = await there.get("/get-session", { cookie: up.cookies });
            here.expect(seen.json?.user.email === email, `the new session is there at once: ${seen.text}`);
            const taken = await there.signUp(email);
            here.expect(taken.status === 422, `the address is taken at once: ${taken.text}`);
            const signedIn = await there.signIn(email, { password });
            here.expect(signedIn.status === 200, `sign-in: ${signedIn.text}`);
            const back = await here.get("/get-session", { cookie: signedIn.cookies });
            here.expect(back.json?.user.email === email, `and the way back: ${back.text}`);
            const out = await there.post("/sign-out", undefined, { cookie: up.cookies });
            here.expect(out.json?.success === true, `sign-out: ${out.text}`);
            const gone = await here.get("/get-session", { cookie: up.cookies });
            here.expect(gone.text === "null", `the ended session is over at once: ${gone.text}`);
            steps += 7;
          }
        };
        const outcomes = await Promise.allSettled(Array.from({ length: 8 }, (_, number) => lane(number)));
        for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
        checkHashes(await store.rows(), hash === "auto" ? SCRYPT : BCRYPT);
        return `${steps} steps of 8 clients at once`;
      });
    });
  });
}

/** How long another program holds the write lock of the SQLite file: less than either server waits. */
const HELD_MILLISECONDS = 1500;

/** While a third program writes to the file, both servers wait for their turn to write, and Narthex goes on reading. */
function locked(): Promise<string> {
  return withStore("sqlite", (store, directory) => {
    const all = { ...wanted(store, directory, {}), sqliteModule: fromGuide("sqlite.mjs") };
    const starts = (["upstream", "narthex"] as const).map((target) => () => startServer(target, all));
    return withServers(starts, async (servers) => {
      const [node, beside] = servers.map((server) => new Stage(base(), "sqlite", server, store));
      if (!node || !beside) throw new Error("a server is missing");
      const { cookies } = await node.signUp("first@example.com");
      const program = new Sqlite(store.url.slice("sqlite://".length));
      try {
        program.exec("BEGIN IMMEDIATE");
        program.prepare(`UPDATE "user" SET name = 'Renamed'`).run();
        const began = Date.now();
        const writes = [node.signUp("node@example.com"), beside.signUp("beside@example.com")];
        // A Node server stands still while it waits for the lock, so only the other can be asked meanwhile.
        const reader = new Stage(base(), "sqlite", servers[1] as Server, store);
        let read = 0;
        while (Date.now() - began < HELD_MILLISECONDS) {
          const session = await reader.get("/get-session", { cookie: cookies });
          reader.expect(session.json?.user.name === "Ada", `what is not committed is not seen: ${session.text}`);
          read += 1;
        }
        const early = await Promise.race([...writes, Promise.resolve(undefined)]);
        node.expect(early === undefined, "nobody writes while another program does");
        program.exec("COMMIT");
        for (const reply of await Promise.all(writes)) node.expect(reply.status === 200, `the write came through: ${reply.text}`);
        for (const stage of [node, beside]) {
          const session = await stage.get("/get-session", { cookie: cookies });
          stage.expect(session.json?.user.name === "Renamed", `the other program's write is seen at once: ${session.text}`);
        }
        return `two writes waited ${HELD_MILLISECONDS} ms, ${read} reads did not`;
      } finally {
        program.close();
      }
    });
  });
}

const began = Date.now();
let passed = 0;
let failed = 0;

async function check(label: string, work: () => Promise<string>): Promise<void> {
  if (flags.only !== undefined && !label.includes(flags.only)) return;
  const started = Date.now();
  try {
    const said = await work();
    passed += 1;
    console.log(`ok   ${label}: ${said}, ${((Date.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${label}\n  ${(error instanceof Error ? error.message : String(error)).replaceAll("\n", "\n  ")}`);
  }
}

/** What was got, without what Narthex says beside the keys on purpose: whoever asks again may get the one or the other. */
function asFromNode(actual: NormalStep[], expected: NormalStep[]): NormalStep[] {
  return actual.map((step, index) => {
    const reference = expected[index];
    if (step.kind !== "exchange" || reference?.kind !== "exchange") return step;
    const { headers } = publishedKeys.narthex(reference.response);
    const isOurs = headers !== undefined && JSON.stringify(step.response.headers) === JSON.stringify(headers);
    return isOurs ? { ...step, response: { ...step.response, headers: reference.response.headers } } : step;
  });
}

/** Of several sessions that end at once Node leaves on the list those that are overtaken, and Narthex none. */
function withoutLeftovers(steps: NormalStep[]): NormalStep[] {
  return steps.map((step) => ("rows" in step && step.rows[SECONDARY] ? { ...step, rows: { ...step.rows, [SECONDARY]: listsOfWhatIsThere(step.rows) } } : step));
}

async function main(): Promise<void> {
  const known = await probe();
  const leftOut = [...ENDPOINTS.keys()].filter((endpoint) => !known.endpoints.has(endpoint));
  console.log(`seed ${seed}; walking over ${[...known.endpoints].join(", ")}`);
  if (leftOut.length > 0) console.log(`left out, because the binary does not have them: ${leftOut.join(", ")}`);
  const missing = REQUIRED.filter((endpoint) => !known.endpoints.has(endpoint));
  if (missing.length > 0) {
    failed += 1;
    console.log(`FAIL the binary must have ${missing.join(", ")}`);
  }
  for (const [label, shared] of Object.entries(SHARED)) {
    let reference: Promise<Walked> | undefined;
    for (const order of Object.keys(ORDERS)) {
      await check(`walk, ${order} [${label}]`, async () => {
        reference ??= walk(shared, "upstream", "alternating", known);
        const expected = await reference;
        const actual = await walk(shared, second, order, known);
        if (flags.show) for (const [name, times] of actual.made) console.log(`     ${String(times).padStart(4)} × ${name}`);
        const differences = compareRuns(withoutLeftovers(expected.steps), withoutLeftovers(asFromNode(actual.steps, expected.steps)), () => "");
        if (differences.length > 0) throw new Error(`${differences.length} differences from Node alone\n${differences.slice(0, 5).map(render).join("\n")}`);
        const [node = 0, other = 0] = [0, 1].map((place) => actual.served.filter((each) => each === place).length);
        if (other === 0 || node === 0) throw new Error("one of the two answered nothing");
        return `${stepsOf(shared)} steps as with Node alone; Node answered ${node} and made ${actual.users[0]} users, ${second} ${other} and ${actual.users[1]}`;
      });
    }
    if (flags.upstream) continue;
    await check(`rush, Node first [${label}]`, () => rush(shared, "auto"));
    await check(`rush, Narthex first [${label}]`, () => rush(shared, "bcrypt"));
  }
  if (!flags.upstream) await check("locked by another program [sqlite]", locked);
}

try {
  await main();
} catch (error) {
  failed += 1;
  console.error(error instanceof Error ? error.message : error);
} finally {
  await stopHosts();
  await dropDatabases();
}
console.log(`${passed} passed, ${failed} failed, ${((Date.now() - began) / 1000).toFixed(0)} s`);
process.exitCode = failed > 0 ? 1 : 0;
