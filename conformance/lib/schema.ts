/** A database's schema as it is stored: what must not change when another server starts on it. */
import Sqlite from "better-sqlite3";
import pg from "pg";
import { OWN_TABLES } from "./own-tables.ts";

/**
 * Tables that Narthex adds to a database of upstream's, each by a decision: they and their rows are not compared,
 * and with any of them a database of upstream's has something to migrate. Upstream's own must stay untouched.
 */
export const ONLY_OURS: string[] = Object.keys(OWN_TABLES);

/**
 * SQLite keeps the text of each statement. PostgreSQL keeps rows in its catalogues; the transaction that wrote
 * each of them last is part of the answer, so that even a statement that changed nothing shows.
 */
export async function storedSchema(url: string): Promise<string> {
  if (url.startsWith("sqlite://")) {
    const database = new Sqlite(url.slice("sqlite://".length), { readonly: true });
    try {
      const statement = database.prepare("SELECT tbl_name, type, name, rootpage, sql FROM sqlite_master ORDER BY rowid");
      const rows = (statement.raw().all() as unknown[][]).filter(([table]) => !ONLY_OURS.includes(String(table)));
      return rows.map((row) => row.join(" | ")).join("\n");
    } finally {
      database.close();
    }
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ line: string }>(
      `WITH ours AS (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY ($1)),
      relation AS (SELECT *, xmin AS made FROM pg_class WHERE relnamespace = 'public'::regnamespace AND oid NOT IN (SELECT oid FROM ours)
        AND oid NOT IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM ours)))
      SELECT 'relation ' || relname || ' ' || relkind::text || ' ' || oid || ' ' || relfilenode || ' ' || made AS line FROM relation
      UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' || xmin
        FROM pg_attribute WHERE attrelid IN (SELECT oid FROM relation)
      UNION ALL SELECT 'default ' || adrelid::regclass || ' ' || pg_get_expr(adbin, adrelid) || ' ' || xmin
        FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM relation)
      UNION ALL SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || xmin
        FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relation)
      UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) || ' ' || xmin FROM pg_index WHERE indrelid IN (SELECT oid FROM relation)
      UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relation)
      UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)'
      ORDER BY 1`,
      [ONLY_OURS],
    );
    return rows.map(({ line }) => line).join("\n");
  } finally {
    await client.end();
  }
}

/** The lines only one of two schemas has. */
export function schemaDifference(before: string, after: string): string {
  const [left, right] = [before, after].map((text) => text.split("\n"));
  const gone = (left ?? []).filter((line) => !right?.includes(line)).map((line) => `- ${line}`);
  const added = (right ?? []).filter((line) => !left?.includes(line)).map((line) => `+ ${line}`);
  return [...gone, ...added].join("\n");
}
