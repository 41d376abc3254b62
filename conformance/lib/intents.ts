/** Differences on purpose that more than one scenario meets; each names the page that says why. */
import { type Intent, type Json, type Row, SECONDARY, type Tables } from "./types.ts";

/** Every session that the secondary storage holds, as something else; what else it holds stays. */
export function keptSessions(rows: Tables, edit: (session: { [field: string]: Json }, index: number) => { [field: string]: Json }): Row[] {
  let count = 0;
  return (rows[SECONDARY] ?? []).map((row) => {
    if (typeof row.value !== "string" || !row.value.startsWith('{"session":')) return row;
    const { session, ...rest } = JSON.parse(row.value) as { session: { [field: string]: Json } };
    count += 1;
    return { ...row, value: JSON.stringify({ session: edit(session, count - 1), ...rest }) };
  });
}

/** What no double, and no UTF-8, can hold is a syntax error, and nothing is written. */
export const badSyntax: Intent = {
  decision: "strict-requests",
  narthex: (_, database, before) => ({
    status: 400,
    headers: [["content-type", "application/json"]],
    body: JSON.stringify({ message: "Invalid JSON in request body", code: "BAD_REQUEST" }),
    rows: { [database]: { user: [], session: [], account: [], [SECONDARY]: before[SECONDARY] ?? [] } },
  }),
};

/** A value that its field cannot have is refused: no row is made where `tables` says null, else the rows still have what it says. */
export const refusedValue = (message: string, tables: { [table: string]: Row | null }): Intent => ({
  decision: "checked-fields",
  narthex: ({ rows }, database, before) => ({
    status: 400,
    headers: [["content-type", "application/json"]],
    body: JSON.stringify({ message, code: "VALIDATION_ERROR" }),
    rows: {
      [database]: {
        ...Object.fromEntries(Object.entries(tables).map(([table, was]) => [table, was === null ? [] : (rows[table] ?? []).map((row) => ({ ...row, ...was }))])),
        [SECONDARY]: before[SECONDARY] ?? [],
      },
    },
  }),
});

/** A media type is compared whole. */
export const unknownType = (type: string, allowed: string): Intent => ({
  decision: "strict-requests",
  narthex: {
    status: 415,
    headers: [["content-type", "application/json"]],
    body: JSON.stringify({ message: `Content-Type "${type}" is not allowed. Allowed types: ${allowed}`, code: "UNSUPPORTED_MEDIA_TYPE" }),
  },
});
