/**
 * Tables that upstream does not have.
 *
 * Each names the decision that made it and its exact schema: Narthex must have these besides upstream's, and
 * nothing else. What is in them no step of upstream's can say; each row must look as described here, and what the
 * rows count is for the Rust tests.
 */
import type { Difference } from "./compare.ts";
import type { Database, Row, Run } from "./types.ts";

interface OwnTable {
  decision: string;
  schema: { [database in Database]: string[] };
  isRow: (row: Row) => boolean;
}

export const OWN_TABLES: { [table: string]: OwnTable } = {
  narthexGuess: {
    decision: "guessing",
    schema: {
      sqlite: [
        "narthexGuess.id #0 TEXT notnull=1 default=null pk=1 hidden=0",
        "narthexGuess.failures #1 bigint notnull=1 default=null pk=0 hidden=0",
        "narthexGuess.lastAttempt #2 date notnull=1 default=null pk=0 hidden=0",
        "narthexGuess index narthexGuess_lastAttempt_idx (lastAttempt) unique=0 origin=c partial=0",
        "narthexGuess index sqlite_autoindex_narthexGuess_1 (id) unique=1 origin=pk partial=0",
      ],
      postgres: [
        "public.narthexGuess.id #1 text text length=- precision=- null=NO default=- identity=NO",
        "public.narthexGuess.failures #2 bigint int8 length=- precision=- null=NO default=- identity=NO",
        "public.narthexGuess.lastAttempt #3 timestamp with time zone timestamptz length=- precision=6 null=NO default=- identity=NO",
        `public CREATE INDEX "narthexGuess_lastAttempt_idx" ON public."narthexGuess" USING btree ("lastAttempt")`,
        `public CREATE UNIQUE INDEX "narthexGuess_pkey" ON public."narthexGuess" USING btree (id)`,
        `"narthexGuess" narthexGuess_pkey PRIMARY KEY (id)`,
      ],
    },
    isRow: ({ id, failures, lastAttempt, ...rest }) =>
      /^[\w-]{24}$/.test(String(id)) && Number(failures) > 0 && Number(failures) <= 100 && typeof lastAttempt === "string" && Object.keys(rest).length === 0,
  },
};

/** What Narthex's schema has besides upstream's. */
export function ownSchema(database: Database): string[] {
  return Object.values(OWN_TABLES).flatMap(({ schema }) => schema[database]);
}

/** Takes the rows of these tables out of a run of Narthex's; answers those that do not look as they should. */
export function takeOwnRows(run: Run): Difference[] {
  const found: Difference[] = [];
  run.steps.forEach((step, index) => {
    if (!("rows" in step)) return;
    for (const [table, { isRow }] of Object.entries(OWN_TABLES)) {
      const odd = (step.rows[table] ?? []).filter((row) => !isRow(row));
      if (odd.length > 0) found.push({ where: `record ${index + 1} of the run`, what: `rows of ${table}`, expected: "rows as lib/own-tables.ts describes them", actual: JSON.stringify(odd) });
      delete step.rows[table];
    }
  });
  return found;
}
