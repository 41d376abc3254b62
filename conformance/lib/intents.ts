/** Differences on purpose that more than one scenario meets; each names the page that says why. */
import { createHash } from "node:crypto";
import { type Body, type Change, type Header, type Intent, type Json, type Row, SECONDARY, type Tables } from "./types.ts";

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

/** What the secondary storage holds, with sessions on the lists of their users only while they are there. */
export function listsOfWhatIsThere(rows: Tables): Row[] {
  const kept = rows[SECONDARY] ?? [];
  const lists = kept.map((row) => {
    if (!String(row.key).startsWith("active-sessions-")) return row;
    const entries = [...String(row.value).matchAll(/\{"token":"([^"]*)","expiresAt":<millis:([^}]*)\}/g)].filter(([, token]) => kept.some(({ key }) => key === token));
    const last = entries.at(-1)?.[2];
    return last === undefined ? undefined : { ...row, value: `[${entries.map(([entry]) => entry).join(",")}]`, ends: `<${last}` };
  });
  return lists.filter((row) => row !== undefined);
}

/** Of several sessions that end at once none stays on the list of its user; in upstream those do that are overtaken. */
export const listedWhileThere: Intent = {
  decision: "replaced-if-unchanged",
  narthex: ({ rows }, database) => ({ rows: { [database]: { [SECONDARY]: listsOfWhatIsThere(rows) } } }),
};

/** Who verifies tokens is told for how long the keys may be remembered, and which ones they are. */
export const publishedKeys = {
  decision: "tokens",
  narthex({ status, headers, body }: { status: number; headers: Header[]; body: Body }): Change {
    if (status !== 200 || !String(body).startsWith('{"keys":')) return {};
    const more: Header[] = [
      ["cache-control", "public, max-age=300, must-revalidate"],
      ["etag", '"<etag>"'],
    ];
    return { headers: [...headers, ...more].sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0)) };
  },
} satisfies Intent;

const STYLE = [
  ":root{color-scheme:light dark}",
  "body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}",
  "main{max-width:32rem;padding:2rem;overflow-wrap:anywhere}",
  "h1{font-size:1.5rem;margin:0 0 1rem}",
  "code{font-family:ui-monospace,monospace;border:1px solid;border-radius:.25rem;padding:.125rem .375rem}",
].join("");

const POLICY = `default-src 'none'; style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The error page is our own, with headers that let it do nothing. */
export const errorPage = (code: string, description = "Please try again, or go back to where you came from."): Intent => ({
  decision: "error-page",
  narthex: {
    headers: [
      ["content-security-policy", POLICY],
      ["content-type", "text/html"],
      ["referrer-policy", "no-referrer"],
      ["x-content-type-options", "nosniff"],
    ],
    body: `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Error</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Something went wrong</h1>
<p>${description}</p>
<p><code>${code}</code></p>
<p><a href="/">Go to the home page</a></p>
</main>
</body>
</html>
`,
  },
});
