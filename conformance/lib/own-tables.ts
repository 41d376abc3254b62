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
  audit_log: {
    decision: "audit-log",
    schema: {
      sqlite: [
        "audit_log.id #0 TEXT notnull=1 default=null pk=1 hidden=0",
        "audit_log.created_at #1 date notnull=1 default=null pk=0 hidden=0",
        "audit_log.event #2 TEXT notnull=1 default=null pk=0 hidden=0",
        "audit_log.outcome #3 TEXT notnull=1 default=null pk=0 hidden=0",
        "audit_log.reason #4 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.actor #5 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.user_id #6 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.session_id #7 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.account #8 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.ip_address #9 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.user_agent #10 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.request_id #11 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log.details #12 TEXT notnull=0 default=null pk=0 hidden=0",
        "audit_log index audit_log_account_idx (account) unique=0 origin=c partial=0",
        "audit_log index audit_log_user_id_idx (user_id) unique=0 origin=c partial=0",
        "audit_log index sqlite_autoindex_audit_log_1 (id) unique=1 origin=pk partial=0",
      ],
      postgres: [
        "public.audit_log.id #1 text text length=- precision=- null=NO default=- identity=NO",
        "public.audit_log.created_at #2 timestamp with time zone timestamptz length=- precision=6 null=NO default=- identity=NO",
        "public.audit_log.event #3 text text length=- precision=- null=NO default=- identity=NO",
        "public.audit_log.outcome #4 text text length=- precision=- null=NO default=- identity=NO",
        "public.audit_log.reason #5 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.actor #6 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.user_id #7 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.session_id #8 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.account #9 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.ip_address #10 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.user_agent #11 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.request_id #12 text text length=- precision=- null=YES default=- identity=NO",
        "public.audit_log.details #13 jsonb jsonb length=- precision=- null=YES default=- identity=NO",
        "public CREATE INDEX audit_log_account_idx ON public.audit_log USING btree (account)",
        "public CREATE INDEX audit_log_user_id_idx ON public.audit_log USING btree (user_id)",
        "public CREATE UNIQUE INDEX audit_log_pkey ON public.audit_log USING btree (id)",
        "audit_log audit_log_pkey PRIMARY KEY (id)",
      ],
    },
    isRow: ({ id, event, outcome, ...rest }) =>
      /^\d{26}$/.test(String(id)) && /^[a-z-]+\.[a-z-]+$/.test(String(event)) && /^(success|failure)$/.test(String(outcome)) && Object.keys(rest).length === 10,
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
