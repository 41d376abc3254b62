// Upstream on Node, set up for speed: production, no rate limit, no log. Every choice below was the
// faster one when it was tried.
import { createServer } from "node:http";
import { serve } from "@hono/node-server";
import { betterAuth } from "better-auth";
import { toNodeHandler } from "better-auth/node";
import Database from "better-sqlite3";
import { Hono } from "hono";
import pg from "pg";

const { DATABASE_URL, FRAMEWORK, PORT, SECRET } = process.env;
const address = { hostname: "127.0.0.1", port: Number(PORT) };

const isSqlite = DATABASE_URL.startsWith("sqlite://");

function openDatabase() {
  if (!isSqlite) {
    return new pg.Pool({ connectionString: DATABASE_URL, max: 32 });
  }
  const database = new Database(DATABASE_URL.slice("sqlite://".length));
  database.pragma("journal_mode = WAL");
  return database;
}

const auth = betterAuth({
  baseURL: "http://localhost:3001",
  secret: SECRET,
  database: openDatabase(),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  logger: { disabled: true },
  telemetry: { enabled: false },
  // One round trip instead of two; in the same process two small queries are quicker.
  advanced: { database: { joins: !isSqlite } },
});

if (FRAMEWORK === "hono") {
  const app = new Hono();
  app.get("/ready", (context) => context.body(null, 200));
  app.on(["GET", "POST"], "/api/auth/*", (context) => auth.handler(context.req.raw));
  serve({ fetch: app.fetch, ...address });
} else {
  const handler = toNodeHandler(auth);
  createServer((request, response) => {
    if (request.url === "/ready") {
      response.end();
    } else {
      handler(request, response);
    }
  }).listen(address.port, address.hostname);
}
