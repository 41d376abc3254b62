// Signs people up with the official client until the time is over, and later looks whether each of them can sign in.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [base, task, name, file] = process.argv.slice(2);
const require = createRequire(`${process.env.MODULES}/package.json`);
const { createAuthClient } = await import(pathToFileURL(require.resolve("better-auth/client")));
const client = createAuthClient({ baseURL: base, fetchOptions: { headers: { origin: base } } });
const password = "correct horse battery staple";

async function signUp(email) {
  try {
    const { data, error } = await client.signUp.email({ name: "Ada", email, password });
    return data ? "acknowledged" : `answered ${error.status} ${error.message ?? error.statusText}`;
  } catch (error) {
    const { code, message } = error.cause ?? error;
    return code === "ECONNREFUSED" ? "refused" : `lost: ${code ?? message}`;
  }
}

if (task === "check") {
  const outcome = await signUp("first@example.com");
  if (outcome !== "acknowledged") throw new Error(outcome);
  console.log("signed up from the client over https");
}

if (task === "sign-up") {
  const end = Date.now() + 6000;
  const acknowledged = [];
  const outcomes = {};
  let number = 0;
  const keepOn = async () => {
    while (Date.now() < end) {
      const email = `${name}-${++number}@example.com`;
      const outcome = await signUp(email);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      if (outcome === "acknowledged") acknowledged.push(email);
      // Nobody hammers a door that is closed.
      else await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await Promise.all(Array.from({ length: 40 }, keepOn));
  writeFileSync(file, JSON.stringify(acknowledged));
  console.log(JSON.stringify(outcomes));
  const bad = Object.keys(outcomes).filter((outcome) => outcome !== "acknowledged" && outcome !== "refused");
  if (bad.length > 0 || acknowledged.length === 0) throw new Error("a request that had been taken was not answered");
  if (name === "restart" && outcomes.refused) throw new Error("somebody was refused while the service restarted");
}

if (task === "sign-in") {
  const emails = JSON.parse(readFileSync(file, "utf8"));
  for (const email of emails) {
    const { error } = await client.signIn.email({ email, password });
    if (error) throw new Error(`${email} was acknowledged and cannot sign in: ${error.status}`);
  }
  console.log(`all ${emails.length} who were acknowledged can sign in`);
}
