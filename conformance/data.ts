/**
 * A database changes hands: written by upstream it is served by Narthex, and the other way round.
 *
 * Old passwords and old session cookies must work on the other server, and neither may find anything to
 * migrate. Narthex hashes with upstream's scheme here; its other schemes are upstream's to refuse.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createStore, dropDatabases } from "./lib/database.ts";
import { options, scenario, Stage } from "./lib/scenario.ts";
import { MissingTool, startServer, stopHosts, type Target } from "./lib/servers.ts";
import type { Database } from "./lib/types.ts";

const PASSWORDS = ["correct horse battery", "Zoë 漢字 😀 pass", "ﬁﬁﬁﬁﬁﬁﬁﬁ"];

const shared = scenario("handover", { options: options({ baseURL: "http://localhost:3000" }) }, async () => undefined);

async function handover(database: Database, first: Target, second: Target): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "narthex-conformance-"));
  const store = await createStore(database, directory);
  const wanted = { options: shared.options, environment: shared.environment, databaseUrl: store.url, directory, fakeTime: false };
  const on = async (target: Target, work: (stage: Stage) => Promise<void>) => {
    const server = await startServer(target, wanted);
    try {
      await work(new Stage(shared, database, server, store));
    } catch (error) {
      throw new Error(`${target}: ${error instanceof Error ? error.message : String(error)}\n${server.log()}`);
    } finally {
      await server.stop();
    }
  };
  const cookies: string[] = [];
  try {
    let schema: string[] = [];
    await on(first, async (stage) => {
      schema = await store.ddl();
      for (const [index, password] of PASSWORDS.entries()) {
        cookies.push((await stage.signUp(`user${index}@example.com`, { password, name: `User ${index}` })).cookies);
      }
    });
    const back: string[] = [];
    await on(second, async (stage) => {
      stage.expect(JSON.stringify(await store.ddl()) === JSON.stringify(schema), `${second} changed the schema ${first} made`);
      for (const [index, password] of PASSWORDS.entries()) {
        const session = await stage.get("/get-session", { cookie: cookies[index] ?? "" });
        stage.expect(session.json?.user?.name === `User ${index}`, `the session of user ${index} holds: ${session.text}`);
        const reply = await stage.signIn(`user${index}@example.com`, { password });
        stage.expect(reply.status === 200, `user ${index} signs in: ${reply.text}`);
        back.push(reply.cookies);
        const wrong = await stage.signIn(`user${index}@example.com`, { password: `${password}!` });
        stage.expect(wrong.status === 401, `a wrong password is refused: ${wrong.text}`);
      }
      await stage.post("/sign-out", undefined, { cookie: cookies[0] ?? "" });
      back.push((await stage.signUp("late@example.com", { name: "Late" })).cookies);
    });
    await on(first, async (stage) => {
      stage.expect(JSON.stringify(await store.ddl()) === JSON.stringify(schema), `the schema is still the one ${first} made`);
      const gone = await stage.get("/get-session", { cookie: cookies[0] ?? "" });
      stage.expect(gone.text === "null", `a session ended by ${second} has ended: ${gone.text}`);
      for (const cookie of back) {
        const session = await stage.get("/get-session", { cookie });
        stage.expect(session.json !== null, `a session made by ${second} holds: ${session.text}`);
      }
      const late = await stage.signIn("late@example.com");
      stage.expect(late.json?.user?.name === "Late", `a user made by ${second} signs in: ${late.text}`);
      const taken = await stage.signUp("late@example.com");
      stage.expect(taken.status === 422, `and is known: ${taken.text}`);
    });
  } finally {
    await store.release();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

let failed = 0;
let passed = 0;
for (const database of ["sqlite", "postgres"] as const) {
  for (const [first, second] of [["upstream", "narthex"], ["narthex", "upstream"]] as const) {
    const label = `${first} -> ${second} -> ${first} [${database}]`;
    try {
      await handover(database, first, second);
      passed += 1;
      console.log(`ok   ${label}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${label}\n  ${error instanceof Error ? error.message.replaceAll("\n", "\n  ") : String(error)}`);
      if (error instanceof MissingTool) break;
    }
  }
}
await stopHosts();
await dropDatabases();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
