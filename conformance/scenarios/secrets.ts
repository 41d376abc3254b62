/** Several secrets: the first signs, whatever its version, and nothing else is accepted in a cookie. */
import { area, options, scenario, SECRET, signed } from "../lib/scenario.ts";
import type { Options } from "../lib/types.ts";

const CURRENT = "current-secret-0123456789-abcdefghijklmnop";
const FORMER = "former-secret-0123456789-abcdefghijklmnopq";
const ENDPOINTS = ["GET /get-session@secrets", "POST /sign-up/email@secrets", "POST /sign-in/email@secrets", "POST /sign-out@secrets"];

function without(name: string, from: Options): Options {
  const { [name]: _, ...rest } = from;
  return rest;
}

const rotated = options({ secrets: [{ version: 2, value: CURRENT }, { version: 1, value: FORMER }] });
const former = options({ secrets: [{ version: 0, value: CURRENT }, { version: 7, value: FORMER }] });
const short = options({ secrets: [{ version: 3, value: CURRENT }, { version: 1, value: "x" }], secret: "y" });

export default area("secrets", [
  ...Object.entries({ "beside-a-legacy-secret": rotated, "without-a-legacy-secret": without("secret", rotated), "the-first-is-not-the-newest": former, "old-ones-may-be-short": short }).map(([name, chosen]) =>
    scenario(name, { options: chosen, covers: ENDPOINTS }, async (stage) => {
      const up = await stage.signUp("ada@example.com", { rememberMe: false });
      await stage.get("/get-session", { cookie: up.cookies });
      if (stage.scenario.secondary) {
        const kept = [...(await stage.kept()).values()].find((value) => value.startsWith('{"session":')) ?? "";
        const { session, user } = JSON.parse(kept) as { session: Options; user: Options };
        await stage.keep({ set: [{ key: "known-token", value: JSON.stringify({ session: { ...session, token: "known-token", id: "known" }, user }), seconds: 3600 }] });
      } else await stage.sql(`INSERT INTO "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "userId") SELECT 'known', "expiresAt", 'known-token', "createdAt", "updatedAt", "userId" FROM "session"`);
      const session = (secret: string) => `better-auth.session_token=${signed("known-token", secret)}`;
      for (const secret of [CURRENT, FORMER, SECRET, "x", "y", `2:${CURRENT}`]) await stage.get("/get-session", { cookie: session(secret) });
      for (const secret of [CURRENT, FORMER, SECRET]) await stage.signIn("ada@example.com", {}, { cookie: `better-auth.dont_remember=${signed("true", secret)}` });
      for (const secret of [FORMER, SECRET, CURRENT]) await stage.post("/sign-out", undefined, { cookie: session(secret) });
      await stage.get("/get-session", { cookie: session(CURRENT) });
    }),
  ),
]);
