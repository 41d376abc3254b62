/** One database per run: empty at first, read raw after each step, removed at the end. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import Sqlite from "better-sqlite3";
import pg from "pg";
import type { Cell, Database, Row, Tables } from "./types.ts";

const admin = process.env.TEST_POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/postgres";

export interface Store {
  url: string;
  rows: () => Promise<Tables>;
  ddl: () => Promise<string[]>;
  execute: (sql: string) => Promise<void>;
  release: () => Promise<void>;
}

export function createStore(database: Database, directory: string): Promise<Store> {
  return database === "sqlite" ? sqlite(path.join(directory, "auth.db")) : postgres();
}

/** A database, and a folder for what belongs to it, for as long as the work takes. */
export async function withStore<T>(database: Database, work: (store: Store, directory: string) => Promise<T>): Promise<T> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "narthex-conformance-"));
  const store = await createStore(database, directory);
  try {
    return await work(store, directory);
  } finally {
    await store.release();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

async function sqlite(file: string): Promise<Store> {
  let opened: Sqlite.Database | undefined;
  const open = () => {
    if (!opened) {
      if (!fs.existsSync(file)) throw new Error(`no database at ${file}`);
      opened = new Sqlite(file);
      opened.pragma("busy_timeout = 5000");
      opened.defaultSafeIntegers(true);
    }
    return opened;
  };
  const tables = () =>
    open()
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")
      .pluck()
      .all() as string[];
  return {
    url: `sqlite://${file}`,
    async rows() {
      const result: Tables = {};
      for (const table of tables()) {
        const rows = open().prepare(`SELECT * FROM ${quote(table)}`).all() as Record<string, unknown>[];
        result[table] = rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, sqliteCell(value)])));
      }
      return result;
    },
    async ddl() {
      const lines: string[] = [];
      const pragma = (text: string) => open().pragma(text) as Record<string, unknown>[];
      for (const table of tables()) {
        for (const column of pragma(`table_xinfo(${quote(table)})`)) {
          const { cid, name, type, notnull, dflt_value: fallback, pk, hidden } = column;
          lines.push(`${table}.${name} #${cid} ${type} notnull=${notnull} default=${fallback} pk=${pk} hidden=${hidden}`);
        }
        for (const key of pragma(`foreign_key_list(${quote(table)})`)) {
          lines.push(`${table} foreign key ${key.from} -> ${key.table}.${key.to} on update ${key.on_update} on delete ${key.on_delete}`);
        }
        for (const index of pragma(`index_list(${quote(table)})`)) {
          const columns = pragma(`index_info(${quote(String(index.name))})`).map((column) => column.name);
          lines.push(`${table} index ${index.name} (${columns.join(", ")}) unique=${index.unique} origin=${index.origin} partial=${index.partial}`);
        }
      }
      const other = open()
        .prepare("SELECT type, name, sql FROM sqlite_master WHERE type NOT IN ('table', 'index') ORDER BY type, name")
        .all() as { type: string; name: string; sql: string }[];
      lines.push(...other.map(({ type, name, sql }) => `${type} ${name}: ${sql}`));
      return lines.sort();
    },
    async execute(sql) {
      open().exec(sql);
    },
    async release() {
      opened?.close();
    },
  };
}

function sqliteCell(value: unknown): Cell {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : `integer ${value}`;
  if (typeof value === "number") return { real: value };
  if (Buffer.isBuffer(value)) return { blob: value.toString("hex") };
  throw new Error(`unexpected SQLite value ${String(value)}`);
}

/** Values exactly as PostgreSQL prints them. */
const rawText = { getTypeParser: () => (value: unknown) => value };

async function withAdmin<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: admin });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Databases that no run uses at the moment: emptying one is much quicker than making one. */
const idle: string[] = [];
const made: string[] = [];

/** Drops every PostgreSQL database this process made. */
export async function dropDatabases(): Promise<void> {
  if (made.length === 0) return;
  await withAdmin(async (client) => {
    for (const name of made.splice(0)) await client.query(`DROP DATABASE IF EXISTS ${quote(name)} WITH (FORCE)`);
  });
}

async function take(): Promise<string> {
  const free = idle.pop();
  if (free !== undefined) return free;
  const name = `narthex_conformance_${process.pid}_${made.length}`;
  made.push(name);
  await withAdmin((client) => client.query(`CREATE DATABASE ${quote(name)} TEMPLATE template0`));
  return name;
}

async function postgres(): Promise<Store> {
  const name = await take();
  const url = new URL(admin);
  url.pathname = `/${name}`;
  const client = new pg.Client({ connectionString: url.href, types: rawText as pg.CustomTypesConfig });
  await client.connect();
  await client.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  await client.query("SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET extra_float_digits = 1");
  const tables = async () => {
    const { rows } = await client.query(
      "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2",
    );
    return (rows as { table_schema: string; table_name: string }[]).map(({ table_schema: schema, table_name: table }) => ({
      label: schema === "public" ? table : `${schema}.${table}`,
      sql: `${quote(schema)}.${quote(table)}`,
    }));
  };
  let known: { label: string; sql: string }[] | undefined;
  return {
    url: url.href,
    async rows() {
      known ??= await tables();
      const result: Tables = {};
      for (const { label, sql } of known) {
        const { rows, fields } = await client.query({ text: `SELECT * FROM ${sql}`, rowMode: "array" });
        result[label] = (rows as (string | null)[][]).map(
          (row): Row => Object.fromEntries(fields.map((field, index) => [field.name, row[index] ?? null])),
        );
      }
      return result;
    },
    async ddl() {
      known = undefined;
      const list = async (text: string) =>
        (await client.query({ text, rowMode: "array" })).rows.map((row: unknown[]) => row.map((value) => String(value)).join(" "));
      const own = "NOT IN ('pg_catalog', 'information_schema')";
      return [
        ...(await list(
          `SELECT table_schema || '.' || table_name || '.' || column_name, '#' || ordinal_position, data_type, udt_name, 'length=' || coalesce(character_maximum_length::text, '-'), 'precision=' || coalesce(datetime_precision::text, '-'), 'null=' || is_nullable, 'default=' || coalesce(column_default, '-'), 'identity=' || is_identity FROM information_schema.columns WHERE table_schema ${own} ORDER BY 1`,
        )),
        ...(await list(`SELECT schemaname, indexdef FROM pg_indexes WHERE schemaname ${own} ORDER BY 1, 2`)),
        ...(await list(
          `SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1::text, 2`,
        )),
        ...(await list(
          `SELECT 'other', relkind, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('r', 'i') ORDER BY 3`,
        )),
      ];
    },
    async execute(sql) {
      await client.query(sql);
    },
    async release() {
      const others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
      await client.query(others);
      await client.end();
      idle.push(name);
    },
  };
}
