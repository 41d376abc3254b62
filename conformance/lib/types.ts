/** Words shared by the harness: what a scenario is, what one run of it records. */

export type Database = "sqlite" | "postgres";
export type Environment = "development" | "production" | "unset";
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Options = { [key: string]: Json };

/** Name and value as they travel: one character is one byte (latin-1). */
export type Header = [name: string, value: string];
/** Text is sent as UTF-8; `hex` is for bytes that are not UTF-8. */
export type Body = string | null | { hex: string };

export interface RawRequest {
  method: string;
  /** The request target exactly as sent, query included. */
  target: string;
  /** Everything but Host and Content-Length, which are implied unless listed. */
  headers: Header[];
  body: Body;
}

export interface RawResponse {
  status: number;
  /** As received, names in lower case, sorted by name; equal names keep their order. */
  headers: Header[];
  body: Body;
}

export type Cell = null | string | number | { real: number } | { blob: string };
export type Row = { [column: string]: Cell };
export type Tables = { [table: string]: Row[] };

/** Under this name what the secondary storage holds stands among the tables. */
export const SECONDARY = "secondaryStorage";

/** A key of the secondary storage, and the millisecond of the server's clock in which it ends. */
export interface StoredValue {
  key: string;
  value: string;
  ends: number | null;
}

/** Values to be put under keys, for some seconds, or else for as long as the key was to live before; and keys to be removed. */
export interface SecondaryChange {
  set?: { key: string; value: string; seconds?: number }[];
  delete?: string[];
}

/** What Narthex must answer instead; fields left out must equal upstream's. */
export interface Change {
  status?: number;
  headers?: Header[];
  body?: string | null;
  /** What cookies remember of a session. */
  caches?: string[];
  /** What tokens say. */
  tokens?: string[];
  /** Whole tables; those not listed must equal upstream's. */
  rows?: { [database in Database]?: Tables };
}

/** A difference on purpose. */
export interface Differs {
  /** The page under docs/decisions that explains why, by its name without number and ending. */
  decision: string;
  narthex: Change;
}

/** As scenarios write it: what must happen instead may be computed from upstream's placeholders. */
export interface Intent {
  decision: string;
  /** Of what it says of tables, those that the scenario's options leave out are passed over. */
  narthex: Change | ((upstream: { status: number; headers: Header[]; body: Body; rows: Tables }, database: Database, before: Tables) => Change);
}

export type Sql = { sqlite: string; postgres: string };

/** One step of a run before normalisation. Times are milliseconds of the server's clock. */
export type RecordedStep =
  | { kind: "advance"; seconds: number }
  | { kind: "sql"; sql: Sql; rows: Tables }
  | { kind: "secondary"; change: SecondaryChange; started: number; ended: number; rows: Tables }
  | {
      kind: "exchange";
      request: RawRequest;
      response: RawResponse;
      started: number;
      ended: number;
      rows: Tables;
      differs?: Intent;
    }
  /** What the official client made of the exchanges before it. */
  | { kind: "client"; result: string };

export interface Run {
  steps: RecordedStep[];
  ddl: string[];
  /** Set when the scenario itself threw: an expectation failed or the server went away. */
  failure?: string;
  log: string;
}
