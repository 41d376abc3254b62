/** Plays one scenario once: a fresh database, one server, one recorded run. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createStore } from "./database.ts";
import { type Scenario, Stage } from "./scenario.ts";
import { createSecondary, type Secondary } from "./secondary.ts";
import { MissingTool, startServer, type Target } from "./servers.ts";
import type { Database, Run } from "./types.ts";

export async function play(scenario: Scenario, database: Database, target: Target): Promise<Run> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "narthex-conformance-"));
  const store = await createStore(database, directory);
  const run: Run = { steps: [], ddl: [], log: "" };
  let secondary: Secondary | undefined;
  try {
    if (scenario.secondary) secondary = await createSecondary(scenario.keyPrefix);
    const server = await startServer(target, {
      options: scenario.options,
      environment: scenario.environment,
      databaseUrl: store.url,
      directory,
      fakeTime: scenario.clock,
      ...(secondary ? { secondary: secondary.order } : {}),
    });
    try {
      run.ddl = await store.ddl();
      const stage = new Stage(scenario, database, server, store, secondary);
      run.steps = stage.steps;
      await scenario.play(stage);
    } finally {
      run.log = server.log();
      await server.stop();
    }
  } catch (error) {
    if (error instanceof MissingTool) throw error;
    run.failure = error instanceof Error ? error.message : String(error);
  } finally {
    await secondary?.release();
    await store.release();
    fs.rmSync(directory, { recursive: true, force: true });
  }
  return run;
}
