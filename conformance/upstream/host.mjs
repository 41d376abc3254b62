/**
 * Serves upstream's own server over real HTTP, one port per scenario.
 *
 * It runs as a child process and is told over IPC which options and which database to serve, so that
 * scenarios with the same NODE_ENV share one Node start. Plain JavaScript, because it is started often.
 */
import http from "node:http";
import { pathToFileURL } from "node:url";
import { redisStorage } from "@better-auth/redis-storage";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { bearer } from "better-auth/plugins/bearer";
import { jwt } from "better-auth/plugins/jwt";
import Sqlite from "better-sqlite3";
import { Redis } from "ioredis";
import { Pool } from "pg";

/** @type {Map<number, () => Promise<void>>} */
const running = new Map();

/**
 * What makes the plugins that a scenario names, in its order.
 *
 * @type {{ [id: string]: (options: any) => any }}
 */
const PLUGINS = { jwt, bearer };

/** @param {Record<string, any>} named */
function plugins(named) {
  return Object.entries(named).map(([id, options]) => {
    const make = PLUGINS[id];
    if (!make) throw new Error(`no plugin is called ${id}`);
    return make(options);
  });
}

/**
 * Functions cannot be told over IPC: "now" stands for the one that dates begin with.
 *
 * @param {any} options
 */
function revive(options) {
  for (const table of ["user", "session", "account", "verification"]) {
    for (const field of Object.values(options[table]?.additionalFields ?? {})) {
      if (field.type === "date" && field.defaultValue === "now") field.defaultValue = () => new Date();
    }
  }
  return options;
}

/**
 * @param {string} url
 * @param {(file: string) => Sqlite.Database} [openSqlite]
 */
function open(url, openSqlite = (file) => new Sqlite(file)) {
  if (url.startsWith("sqlite://")) {
    const database = openSqlite(url.slice("sqlite://".length));
    return { database, close: async () => void database.close() };
  }
  const database = new Pool({ connectionString: url, max: 4 });
  // The database is dropped right after the pool ends; a connection still closing then must not end us.
  database.on("error", () => undefined);
  database.on("connect", (client) => client.on("error", () => undefined));
  return { database, close: () => database.end() };
}

/** @param {{ url: string, keyPrefix?: string }} order */
async function openSecondary({ url, ...prefix }) {
  const client = new Redis(url, { lazyConnect: true });
  client.on("error", (error) => console.error("redis:", error));
  await client.connect();
  return { storage: redisStorage({ client, ...prefix }), close: () => client.disconnect() };
}

/**
 * @param {{ id: number, options: Record<string, unknown>, url: string, secondary?: { url: string, keyPrefix?: string }, passwordModule?: string, sqliteModule?: string }} order
 * @returns {Promise<number>} the port
 */
async function start({ id, options, url, secondary, passwordModule, sqliteModule }) {
  const { password } = passwordModule ? await import(pathToFileURL(passwordModule).href) : {};
  const { openSqlite } = sqliteModule ? await import(pathToFileURL(sqliteModule).href) : {};
  const { database, close } = open(url, openSqlite);
  const second = secondary ? await openSecondary(secondary) : undefined;
  const all = {
    ...revive(options),
    ...(options.plugins ? { plugins: plugins(options.plugins) } : {}),
    ...(password ? { emailAndPassword: { ...options.emailAndPassword, password } } : {}),
    database,
    ...(second ? { secondaryStorage: second.storage } : {}),
    // Off unless the scenario has a word to say about it, as `startNarthex` does it for Narthex.
    rateLimit: options.rateLimit ?? { enabled: false },
    telemetry: { enabled: false },
    logger: { disabled: true },
  };
  await (await getMigrations(all)).runMigrations();
  const handle = toNodeHandler(betterAuth(all));
  const server = http.createServer((request, response) => {
    handle(request, response).catch((error) => {
      // Upstream lets this escape as an unhandled rejection; the referee must outlive it.
      console.error("escaped from the handler:", error);
      response.destroy();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  running.set(id, async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await close();
    second?.close();
  });
  return server.address().port;
}

process.on("message", async (order) => {
  if ("start" in order) {
    const { id } = order.start;
    try {
      process.send?.({ id, port: await start(order.start) });
    } catch (error) {
      process.send?.({ id, error: String(error instanceof Error ? error.stack : error) });
    }
    return;
  }
  await running.get(order.stop)?.();
  running.delete(order.stop);
  process.send?.({ id: order.stop, stopped: true });
});
process.on("disconnect", () => process.exit(0));
