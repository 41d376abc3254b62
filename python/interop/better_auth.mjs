// Better Auth itself, over HTTP, with nothing but memory behind it: what the package must understand without Narthex.
import http from "node:http";
import { createRequire } from "node:module";

const find = createRequire(`${process.env.NODE_MODULES_OF}/`);
const load = (name) => import(find.resolve(name));
const { betterAuth } = await load("better-auth");
const { memoryAdapter } = await load("better-auth/adapters/memory");
const { toNodeHandler } = await load("better-auth/node");
const available = await load("better-auth/plugins");

const [port, secret, options] = process.argv.slice(2);
const { plugins, ...rest } = JSON.parse(options);
const tables = ["user", "session", "account", "verification", "jwks", "organization", "member", "invitation"];
const auth = betterAuth({
  baseURL: `http://localhost:${port}`,
  secret,
  database: memoryAdapter(Object.fromEntries(tables.map((table) => [table, []]))),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  plugins: Object.entries(plugins).map(([name, own]) => available[name](own)),
  ...rest,
});
http.createServer(toNodeHandler(auth)).listen(Number(port), "localhost");
