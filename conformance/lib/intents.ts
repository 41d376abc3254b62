/** Differences on purpose that more than one scenario meets; each names the page that says why. */
import type { Intent, Row } from "./types.ts";

/** What no double, and no UTF-8, can hold is a syntax error, and nothing is written. */
export const badSyntax: Intent = {
  decision: "strict-requests",
  narthex: (_, database) => ({
    status: 400,
    headers: [["content-type", "application/json"]],
    body: JSON.stringify({ message: "Invalid JSON in request body", code: "BAD_REQUEST" }),
    rows: { [database]: { user: [], session: [], account: [] } },
  }),
};

/** A value that its field cannot have is refused: no row is made where `tables` says null, else the rows still have what it says. */
export const refusedValue = (message: string, tables: { [table: string]: Row | null }): Intent => ({
  decision: "checked-fields",
  narthex: ({ rows }, database) => ({
    status: 400,
    headers: [["content-type", "application/json"]],
    body: JSON.stringify({ message, code: "VALIDATION_ERROR" }),
    rows: {
      [database]: Object.fromEntries(
        Object.entries(tables).map(([table, before]) => [table, before === null ? [] : (rows[table] ?? []).map((row) => ({ ...row, ...before }))]),
      ),
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
