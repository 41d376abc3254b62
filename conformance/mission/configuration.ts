/**
 * Prints the narthex.toml for a file that configures Better Auth with `betterAuth({ … })`: the file is run as it stands,
 * with a `betterAuth` that gives back what it is given.
 *
 *     tsx mission/configuration.ts auth.ts
 */
import fs from "node:fs";
import ts from "typescript";
import { toToml } from "../lib/toml.ts";
import type { Options } from "../lib/types.ts";

/** What such a file imports. The database is what DATABASE_URL says. */
const modules: { [name: string]: object } = {
  "better-auth": { betterAuth: (options: object) => options },
  "better-auth/adapters/drizzle": { drizzleAdapter: (_database: unknown, options: object) => options },
  "../db/client": { db: null },
};

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: tsx mission/configuration.ts <file>");
const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
const code = ts.transpileModule(fs.readFileSync(file, "utf8"), { compilerOptions }).outputText;
const exported: { auth?: Options & { advanced?: { generateId?: unknown } } } = {};
new Function("exports", "require", code)(exported, (name: string) => {
  const module = modules[name];
  if (!module) throw new Error(`${file} imports ${name}, for which there is nothing here`);
  return module;
});
if (!exported.auth) throw new Error(`${file} exports no auth`);

const { database, advanced: { generateId, ...advanced } = {}, ...options } = exported.auth;
if (JSON.stringify(database) !== '{"provider":"pg"}') throw new Error(`${file}: the database is not PostgreSQL`);
const isUuid = typeof generateId === "function" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(generateId());
if (generateId !== undefined && !isUuid) throw new Error(`${file}: generateId makes no UUIDs`);
const ids = isUuid ? { database: { generateId: "uuid" } } : {};

console.log(toToml({ ...options, advanced: { ...advanced, ...ids } } as Options));
