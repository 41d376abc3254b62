/** Starts and stops the two servers a scenario is played against, with a faked clock when it needs one. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { SecondaryOrder } from "./secondary.ts";
import { toToml } from "./toml.ts";
import type { Environment, Options } from "./types.ts";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

export type Target = "upstream" | "narthex";

export interface Server {
  port: number;
  /** Milliseconds by which the server's clock is ahead of ours. */
  offset: () => number;
  advance: (seconds: number) => void;
  log: () => string;
  stop: () => Promise<void>;
}

export interface Wanted {
  options: Options;
  environment: Environment;
  databaseUrl: string;
  directory: string;
  fakeTime: boolean;
  /** Narthex's `password.hash`; upstream's scheme unless told otherwise, or password rows could not be compared. */
  hash?: "auto" | "bcrypt" | "scrypt";
  /** Where sessions are kept instead of in the database. */
  secondary?: SecondaryOrder;
  /** Narthex's `database.migrate`. */
  migrate?: "check";
  /** A module whose `password` upstream gets as `emailAndPassword.password`. */
  passwordModule?: string;
  /** A module whose `openSqlite` opens a SQLite file for upstream. */
  sqliteModule?: string;
}

export class MissingTool extends Error {}

export function narthexBinary(): string {
  const named = process.env.NARTHEX_BIN;
  if (named) return path.resolve(root, named);
  const built = ["target/release/narthex", "target/debug/narthex"].map((file) => path.join(root, file));
  const found = built.find((file) => fs.existsSync(file));
  if (!found) throw new MissingTool("no narthex binary: build one (cargo build --release) or set NARTHEX_BIN");
  return found;
}

function fakeTimeLibrary(): string {
  for (const triplet of fs.existsSync("/usr/lib") ? fs.readdirSync("/usr/lib") : []) {
    const library = `/usr/lib/${triplet}/faketime/libfaketime.so.1`;
    if (fs.existsSync(library)) return library;
  }
  throw new MissingTool("libfaketime is missing: install the package that holds it (Debian, Ubuntu: apt-get install faketime)");
}

/** The environment of a server: nothing that would configure it behind the scenario's back. */
function environmentOf(wanted: Wanted): { env: NodeJS.ProcessEnv; advance: (seconds: number) => void; offset: () => number } {
  const env: NodeJS.ProcessEnv = { PATH: process.env.PATH, HOME: process.env.HOME, TZ: "UTC" };
  if (wanted.environment !== "unset") env.NODE_ENV = wanted.environment;
  let offset = 0;
  if (!wanted.fakeTime) {
    const advance = () => {
      throw new Error("this scenario advances the clock but does not say `clock: true`");
    };
    return { env, advance, offset: () => 0 };
  }
  const file = path.join(wanted.directory, "clock");
  const write = () => fs.writeFileSync(file, `+${offset}\n`);
  write();
  env.LD_PRELOAD = fakeTimeLibrary();
  env.FAKETIME_TIMESTAMP_FILE = file;
  env.FAKETIME_NO_CACHE = "1";
  env.FAKETIME_DONT_FAKE_MONOTONIC = "1";
  // Of two threads that ask for the time at once libfaketime may tell one the real time.
  env.TOKIO_WORKER_THREADS = "1";
  const advance = (seconds: number) => {
    offset += seconds;
    write();
  };
  return { env, advance, offset: () => offset * 1000 };
}

function collect(child: ChildProcess): () => string {
  let text = "";
  const add = (chunk: Buffer) => {
    text = (text + chunk.toString("utf8")).slice(-20_000);
  };
  child.stdout?.on("data", add);
  child.stderr?.on("data", add);
  return () => text;
}

function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const hard = setTimeout(() => child.kill("SIGKILL"), 3000);
    child.once("exit", () => {
      clearTimeout(hard);
      resolve();
    });
    child.kill("SIGTERM");
  });
}

interface Host {
  child: ChildProcess;
  log: () => string;
  waiting: Map<number, (message: { port?: number; error?: string }) => void>;
}
const hosts = new Map<string, Host>();
let lastId = 0;

function host(env: NodeJS.ProcessEnv): Host {
  const script = path.join(root, "conformance/upstream/host.mjs");
  const child = fork(script, [], { env, execArgv: [], stdio: ["ignore", "pipe", "pipe", "ipc"], cwd: path.join(root, "conformance") });
  const made: Host = { child, log: collect(child), waiting: new Map() };
  child.on("message", (message: { id: number; port?: number; error?: string }) => {
    made.waiting.get(message.id)?.(message);
    made.waiting.delete(message.id);
  });
  child.on("exit", () => {
    for (const settle of made.waiting.values()) settle({ error: `the upstream host died:\n${made.log()}` });
    for (const [key, value] of hosts) if (value === made) hosts.delete(key);
  });
  return made;
}

function ask(to: Host, id: number, order: object): Promise<{ port?: number; error?: string }> {
  return new Promise((resolve) => {
    to.waiting.set(id, resolve);
    to.child.send(order);
  });
}

async function startUpstream(wanted: Wanted): Promise<Server> {
  const { env, advance, offset } = environmentOf(wanted);
  let used: Host;
  if (wanted.fakeTime) used = host(env);
  else {
    used = hosts.get(wanted.environment) ?? host(env);
    hosts.set(wanted.environment, used);
  }
  const id = ++lastId;
  const { options, databaseUrl: url, secondary, passwordModule, sqliteModule } = wanted;
  const answer = await ask(used, id, { start: { id, options, url, secondary, passwordModule, sqliteModule } });
  if (answer.port === undefined) throw new Error(answer.error);
  const stop = async () => {
    if (used.child.connected) await ask(used, id, { stop: id });
    if (wanted.fakeTime) await killed(used.child);
  };
  return { port: answer.port, advance, offset, log: used.log, stop };
}

async function startNarthex(wanted: Wanted): Promise<Server> {
  const { env, advance, offset } = environmentOf(wanted);
  const config = path.join(wanted.directory, "narthex.toml");
  const quiet: Options = wanted.options.rateLimit === undefined ? { "rate-limit": { enabled: false } } : {};
  const database = { url: wanted.databaseUrl, ...(wanted.migrate ? { migrate: wanted.migrate } : {}) };
  const { url, keyPrefix } = wanted.secondary ?? {};
  const secondary: Options = url === undefined ? {} : { "secondary-storage": { url, ...(keyPrefix === undefined ? {} : { "key-prefix": keyPrefix }) } };
  // Upstream leaves CORS to what is around it; without a word of ours, trusted origins would switch it on.
  const local = { listen: "127.0.0.1:0", "data-dir": wanted.directory, cors: { origins: [] }, metrics: { enabled: false }, database, ...secondary, ...quiet };
  fs.writeFileSync(config, narthexToml(wanted.options, local, wanted.hash));
  const child = spawn(narthexBinary(), ["serve", "--config", config], { env, stdio: ["ignore", "pipe", "pipe"], cwd: wanted.directory });
  const log = collect(child);
  const deadline = Date.now() + 15_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`narthex exited with ${child.exitCode}:\n${log()}`);
    const port = Number(/listening +127\.0\.0\.1:(\d+)/.exec(log())?.[1]);
    const ready = port > 0 && (await fetch(`http://127.0.0.1:${port}/ready`).then((reply) => reply.status === 200, () => false));
    if (ready) return { port, advance, offset, log, stop: () => killed(child) };
    if (Date.now() > deadline) {
      await killed(child);
      throw new Error(`narthex was not ready in time:\n${log()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}

export function narthexToml(options: Options, local: Options = {}, hash = "scrypt"): string {
  return toToml(options, { ...local, password: { hash } });
}

export function startServer(target: Target, wanted: Wanted): Promise<Server> {
  return target === "upstream" ? startUpstream(wanted) : startNarthex(wanted);
}

export async function stopHosts(): Promise<void> {
  await Promise.all([...hosts.values()].map((each) => killed(each.child)));
}
