/**
 * What a run keeps in Redis: under a prefix of its own, read whole after each step, removed at the end.
 *
 * Only a scenario that is about the prefix itself takes a database of the server's for itself.
 */
import { Redis } from "ioredis";
import { MissingTool } from "./servers.ts";
import type { SecondaryChange, StoredValue } from "./types.ts";

const server = process.env.TEST_REDIS ?? "redis://127.0.0.1:6379";

/** What both servers are told. */
export interface SecondaryOrder {
  url: string;
  /** Left out, each takes the one it has anyway. */
  keyPrefix?: string;
}

export interface Secondary {
  order: SecondaryOrder;
  /** Every key, without the run's own prefix. */
  values: () => Promise<StoredValue[]>;
  change: (change: SecondaryChange) => Promise<void>;
  /** Lets so much time pass that keys end which would have ended by then. */
  age: (seconds: number) => Promise<void>;
  release: () => Promise<void>;
}

/** At one moment: each key, what it holds, and when it ends, in milliseconds of the server's clock. */
const READ = `
local found = {}
for _, key in ipairs(redis.call("KEYS", ARGV[1])) do
  local kind = redis.call("TYPE", key).ok
  local value = kind == "string" and redis.call("GET", key) or "(a " .. kind .. ")"
  local ends = redis.call("PEXPIRETIME", key)
  table.insert(found, { key, value, ends < 0 and "" or string.format("%.0f", ends) })
end
return found`;

/** As if so many milliseconds had passed. */
const AGE = `
for _, key in ipairs(redis.call("KEYS", ARGV[1])) do
  local ends = redis.call("PEXPIRETIME", key)
  if ends >= 0 then redis.call("PEXPIREAT", key, ends - ARGV[2]) end
end`;

let made = 0;
/** Databases that a scenario of this process has for itself. */
const taken = new Set<number>();
const SHARED = 0;
const DATABASES = 16;

async function connect(database: number): Promise<{ client: Redis; url: string }> {
  const url = new URL(server);
  if (database !== SHARED) url.pathname = `/${database}`;
  const client = new Redis(url.href, { lazyConnect: true, maxRetriesPerRequest: 1, retryStrategy: () => null });
  // The call that meets the error reports it.
  client.on("error", () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw new MissingTool(`no Redis at ${url.href}: ${error instanceof Error ? error.message : String(error)}; start one or say in TEST_REDIS where it is`);
  }
  return { client, url: url.href };
}

/** An empty database that this process uses for nothing else. */
async function whole(): Promise<{ client: Redis; url: string; database: number }> {
  for (let database = DATABASES - 1; database > SHARED; database -= 1) {
    if (taken.has(database)) continue;
    taken.add(database);
    const { client, url } = await connect(database);
    if ((await client.dbsize()) === 0) return { client, url, database };
    client.disconnect();
    taken.delete(database);
  }
  throw new MissingTool(`all databases of the Redis at ${server} hold something`);
}

/** `keyPrefix`, if given, is what the servers get, and `null` leaves it to them. */
export async function createSecondary(keyPrefix?: string | null): Promise<Secondary> {
  made += 1;
  const own = keyPrefix === undefined ? `narthex-conformance-${process.pid}-${made}:` : "";
  const { client, url, database } = own === "" ? await whole() : { ...(await connect(SHARED)), database: SHARED };
  const prefix = keyPrefix === undefined ? own : keyPrefix;
  const values = async () => {
    const found = (await client.eval(READ, 0, `${own}*`)) as [string, string, string][];
    return found.map(([key, value, ends]): StoredValue => ({ key: key.slice(own.length), value, ends: ends === "" ? null : Number(ends) }));
  };
  return {
    order: { url, ...(prefix === null ? {} : { keyPrefix: prefix }) },
    values,
    async change({ set = [], delete: gone = [] }) {
      for (const { key, value, seconds } of set) {
        if (seconds === undefined) await client.set(`${own}${key}`, value, "KEEPTTL");
        else await client.set(`${own}${key}`, value, "EX", seconds);
      }
      for (const key of gone) await client.del(`${own}${key}`);
    },
    async age(seconds) {
      await client.eval(AGE, 0, `${own}*`, seconds * 1000);
    },
    async release() {
      for (const { key } of await values()) await client.del(`${own}${key}`);
      client.disconnect();
      taken.delete(database);
    },
  };
}
