/** A session's token in the Authorization header: which are taken, what else then counts, and when one is told. */
import { createHmac } from "node:crypto";
import { publishedKeys } from "../lib/intents.ts";
import { area, options, PASSWORD, type Reply, scenario, SECRET, signed, type Stage } from "../lib/scenario.ts";
import type { Header, Options } from "../lib/types.ts";

const SESSION = "GET /get-session";
const COOKIE = "better-auth.session_token";
const DATA = "better-auth.session_data";
const DAY = 86_400;

const withBearer = (bearer: Options = {}, more: Options = {}) => options({ ...more, plugins: { ...((more.plugins ?? {}) as Options), bearer } });

/** The token as the server told it. */
function told(reply: Reply): string {
  const found = reply.headers.find(([name]) => name === "set-auth-token");
  if (!found) throw new Error(`no token is told: ${JSON.stringify(reply.headers)}`);
  return found[1];
}

const carrying = (authorization: string): Header => ["authorization", authorization];
const session = (stage: Stage, authorization: string, cookie?: string) => stage.get("/get-session", { headers: [carrying(authorization)], ...(cookie === undefined ? {} : { cookie }) });

async function life(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  const token = told(ada);
  const bearer = { headers: { authorization: `Bearer ${token}` } };
  await stage.get("/get-session", bearer);
  await session(stage, `bearer ${ada.json.token}`);
  await session(stage, `BEARER ${encodeURIComponent(token)}`);
  await stage.get("/ok", bearer);
  await stage.get("/list-sessions", bearer);
  await stage.get("/list-accounts", bearer);
  await stage.post("/update-user", { name: "Ada Lovelace" }, bearer);
  await stage.post("/update-session", {}, bearer);
  await stage.post("/verify-password", { password: PASSWORD }, bearer);
  await stage.post("/verify-password", { password: "wrong password" }, bearer);
  const again = await stage.signIn("ada@example.com", { rememberMe: false }, bearer);
  await session(stage, `Bearer ${told(again)}`);
  await stage.signIn("ada@example.com", { password: "wrong password" }, bearer);
  const changed = await stage.post("/change-password", { currentPassword: PASSWORD, newPassword: "another fine phrase", revokeOtherSessions: true }, bearer);
  await stage.get("/get-session", bearer);
  await session(stage, `Bearer ${told(again)}`);
  const last = { headers: { authorization: `Bearer ${told(changed)}` } };
  await stage.get("/get-session", last);
  const other = await stage.signIn("ada@example.com", { password: "another fine phrase" });
  await stage.post("/revoke-session", { token: String(other.json.token) }, last);
  await session(stage, `Bearer ${told(other)}`);
  await stage.post("/revoke-other-sessions", {}, last);
  await stage.post("/sign-out", undefined, last);
  await stage.get("/get-session", last);
  await stage.get("/list-sessions", last);
  await stage.post("/sign-out", undefined, last);
  await stage.post("/revoke-sessions", {}, last);
}

/** A session that is the same on every run, and another, so that what is sent can be cut to pieces. */
const TOKEN = "fixedtokenfixedtokenfixedtoken00";
const OTHER = "othertokenothertokenothertoken00";
const signature = (token: string, secret = SECRET) => createHmac("sha256", secret).update(token, "utf8").digest("base64");

async function fixed(stage: Stage): Promise<void> {
  const row = (id: string, truth: string) => `INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt") VALUES ('${id}', '${id}', '${id}@example.com', ${truth}, '2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05.678Z');`;
  const both = (truth: string) => `${row("ada", truth)} ${row("eve", truth)}`;
  await stage.sql(both("1"), both("true"));
  const sessions = [
    { token: TOKEN, userId: "ada" },
    { token: OTHER, userId: "eve" },
    { token: "a token with spaces, and 100%", userId: "ada" },
    { token: "dotted.token", userId: "ada" },
    { token: "b\u00fccher", userId: "ada" },
  ].map((each, index) => ({ expiresAt: "2099-01-01T00:00:00.000Z", createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2098-12-31T00:00:00.000Z", ipAddress: "", userAgent: "agent", ...each, id: `session-${index}` }));
  if (stage.scenario.secondary) {
    const user = (id: string) => ({ name: id, email: `${id}@example.com`, emailVerified: true, image: null, createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2026-01-02T03:04:05.678Z", id });
    return stage.keep({ set: sessions.map((each) => ({ key: each.token, value: JSON.stringify({ session: each, user: user(each.userId) }), seconds: 3600 })) });
  }
  const insert = sessions.map((each) => `INSERT INTO "session" ("id", "token", "userId", "expiresAt", "createdAt", "updatedAt", "ipAddress", "userAgent") VALUES ('${each.id}', '${each.token}', '${each.userId}', '${each.expiresAt}', '${each.createdAt}', '${each.updatedAt}', '', 'agent');`);
  return stage.sql(insert.join(" "));
}

const SIGNED = `${TOKEN}.${signature(TOKEN)}`;
const urlSafe = (text: string) => text.replaceAll("+", "-").replaceAll("/", "_");
/** Characters as the bytes of their UTF-8. */
const latin1 = (text: string) => Buffer.from(text, "utf8").toString("latin1");

const SCHEMES = [`Bearer ${SIGNED}`, `bearer ${SIGNED}`, `bEaReR ${SIGNED}`, `Bearer  ${SIGNED}`, `Bearer ${SIGNED} `, `Bearer\t${SIGNED}`, `Bearer \t${SIGNED}`, ` Bearer ${SIGNED}`, `Bearer:${SIGNED}`, `Bearer${SIGNED}`, `Bearer, ${SIGNED}`, `Bearer "${SIGNED}"`, `Bearer token=${SIGNED}`, `Token ${SIGNED}`, `Basic ${Buffer.from(`x:${TOKEN}`).toString("base64")}`, SIGNED, "Bearer", "Bearer ", "Bearer  ", "", "Bearer\u00a0x", `Basic x, Bearer ${SIGNED}`, `Bearer ${SIGNED}, Basic x`, `Bearer ${SIGNED} ${SIGNED}`];

const TOKENS = [
  TOKEN,
  SIGNED,
  encodeURIComponent(SIGNED),
  SIGNED.replace(".", "%2E"),
  encodeURIComponent(SIGNED).replace(".", "%2E"),
  `%${SIGNED}`,
  `${SIGNED}%`,
  `${SIGNED}%zz`,
  encodeURIComponent(encodeURIComponent(SIGNED)),
  SIGNED.replace("f", "%66"),
  `${TOKEN}.`,
  `.${signature(TOKEN)}`,
  ".",
  "..",
  `${SIGNED.slice(0, -1)}`,
  `${SIGNED}=`,
  `${SIGNED}==`,
  `${SIGNED}x`,
  `${SIGNED}.`,
  `${SIGNED}.x`,
  `${SIGNED}.${signature(TOKEN)}`,
  `x.${SIGNED}`,
  urlSafe(SIGNED),
  urlSafe(SIGNED).slice(0, -1),
  `${TOKEN}.${signature(TOKEN).replace(/.=$/, (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=`)}`,
  `${TOKEN}.${signature(TOKEN).slice(0, 20)} ${signature(TOKEN).slice(20)}`,
  `${TOKEN}.${signature(TOKEN, "another secret that is also long enough")}`,
  `${TOKEN}.${signature(OTHER)}`,
  `${TOKEN.toUpperCase()}.${signature(TOKEN)}`,
  `${COOKIE}=${SIGNED}`,
  `"${TOKEN}"`,
  `${TOKEN}; ${COOKIE}=${signed(OTHER)}`,
  `${TOKEN};x`,
  `${TOKEN},x`,
  "unknown",
  TOKEN.toUpperCase(),
  ` ${TOKEN}`,
  "a token with spaces, and 100%",
  encodeURIComponent("a token with spaces, and 100%"),
  `a token with spaces, and 100%.${signature("a token with spaces, and 100%")}`,
  encodeURIComponent(`a token with spaces, and 100%.${signature("a token with spaces, and 100%")}`),
  "dotted.token",
  `dotted.token.${signature("dotted.token")}`,
  latin1("b\u00fccher"),
  "b\u00fccher",
  "b%C3%BCcher",
  encodeURIComponent(`b\u00fccher.${signature("b\u00fccher")}`),
  latin1(`b\u00fccher.${signature("b\u00fccher")}`),
  "x".repeat(6000),
  `${"x".repeat(3000)}.${signature("x".repeat(3000))}`,
  "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
];

async function shapes(stage: Stage) {
  await fixed(stage);
  for (const authorization of SCHEMES) await session(stage, authorization);
  for (const token of TOKENS) {
    await session(stage, `Bearer ${token}`);
    await session(stage, `Bearer ${token}`, `${COOKIE}=${signed(OTHER)}`);
  }
  const twice = [carrying(`Bearer ${SIGNED}`), carrying(`Bearer ${OTHER}.${signature(OTHER)}`)];
  await stage.get("/get-session", { headers: twice });
  await stage.get("/get-session", { headers: twice.reverse() });
  await stage.get("/get-session", { headers: [carrying(""), carrying(`Bearer ${SIGNED}`)] });
  await stage.get("/get-session", { headers: [["proxy-authorization", `Bearer ${SIGNED}`]] });
  await stage.get(`/get-session?access_token=${SIGNED}&token=${TOKEN}`);
}

/** Cookies beside a token, which is put among them. */
const COOKIES = [
  "",
  "x",
  "=",
  "a=b",
  `${COOKIE}=${signed(OTHER)}`,
  `${COOKIE}=bad`,
  `${COOKIE}=`,
  `${COOKIE}=${signed(OTHER)}; ${COOKIE}=bad`,
  `${COOKIE}=bad;${COOKIE}=${signed(OTHER)}`,
  `${COOKIE}="${signed(OTHER)}"`,
  `__Secure-${COOKIE}=${signed(OTHER)}`,
  `a b=c; d=\u00e9; e="f"; g=%zz; h=i\\j; ${COOKIE.toUpperCase()}=${signed(OTHER)}`,
  `${DATA}=AAAA`,
  `${DATA}=; ${DATA}.0=AAAA; ${DATA}.1=BBBB`,
  `better-auth.dont_remember=${signed("true")}`,
  `better-auth.dont_remember=${signed("true")}; better-auth.dont_remember=bad`,
  `better-auth.dont_remember=bad; better-auth.dont_remember=${signed("true")}`,
];

async function cookies(stage: Stage) {
  await fixed(stage);
  for (const cookie of COOKIES) {
    for (const authorization of [`Bearer ${SIGNED}`, `Bearer ${TOKEN}`, "Bearer unknown", "Bearer x.y", "Basic x"]) await session(stage, authorization, cookie);
    await stage.signIn("nobody@example.com", {}, { headers: { authorization: `Bearer ${SIGNED}` }, cookie });
  }
}

async function remembered(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  const eve = await stage.signUp("eve@example.com", { name: "Eve" });
  const bearer = `Bearer ${told(ada)}`;
  const first = await session(stage, bearer);
  await stage.sql(`UPDATE "user" SET "name" = 'Changed'`);
  await session(stage, bearer, `${DATA}=${first.cookie(DATA)}`);
  await session(stage, bearer, `${DATA}=${eve.cookie(DATA)}`);
  await session(stage, bearer, eve.cookies);
  await session(stage, bearer, ada.cookies);
  await session(stage, `Bearer ${ada.json.token}`, ada.cookies);
  await stage.get("/list-sessions", { headers: [carrying(bearer)], cookie: eve.cookies });
  await stage.post("/sign-out", undefined, { headers: [carrying(bearer)] });
  await session(stage, bearer);
  await session(stage, bearer, ada.cookies);
}

const ORIGINS: (string | null)[] = [null, "http://localhost:3000", "https://evil.example", "null"];

async function origins(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  const authorization = carrying(`Bearer ${told(ada)}`);
  for (const origin of ORIGINS) {
    const headers: Header[] = [authorization, ...(origin === null ? [] : [["origin", origin] as Header])];
    await stage.post("/update-user", { name: `from ${origin}` }, { headers });
    await stage.post("/update-user", { name: `with a cookie from ${origin}` }, { headers, cookie: ada.cookies, origin: false });
    await stage.post("/update-user", { name: `with another cookie from ${origin}` }, { headers, cookie: "a=b", origin: false });
    await stage.post("/update-user", { name: `nobody from ${origin}` }, { headers: [carrying("Bearer unknown"), ...headers.slice(1)] });
    await stage.signIn("ada@example.com", {}, { headers });
    await stage.signIn("ada@example.com", {}, { headers: [...headers, ["sec-fetch-site", "cross-site"], ["sec-fetch-mode", "navigate"], ["sec-fetch-dest", "document"]] });
    await stage.get("/list-sessions", { headers });
  }
  await stage.post("/update-user", { name: "x", callbackURL: "https://evil.example" }, { headers: [authorization] });
}

/** Where the cookie has another name. */
const NAMES: { [name: string]: { more: Options; cookie: string } } = {
  secure: { more: { baseURL: "https://auth.example.com" }, cookie: `__Secure-${COOKIE}` },
  prefix: { more: { advanced: { cookiePrefix: "my-app" } }, cookie: "my-app.session_token" },
  own: { more: { advanced: { cookies: { session_token: { name: "sid", attributes: { sameSite: "strict" } } } } }, cookie: "sid" },
  domain: { more: { baseURL: "https://auth.example.com", advanced: { crossSubDomainCookies: { enabled: true, domain: "example.com" } } }, cookie: `__Secure-${COOKIE}` },
};

async function names(stage: Stage, cookie: string) {
  await fixed(stage);
  const ada = await stage.signUp("lovelace@example.com");
  await session(stage, `Bearer ${told(ada)}`);
  for (const authorization of [`Bearer ${SIGNED}`, `Bearer ${TOKEN}`]) for (const name of [cookie, COOKIE]) await session(stage, authorization, `${name}=${signed(OTHER)}`);
  await stage.post("/sign-out", undefined, { headers: [carrying(`Bearer ${told(ada)}`)] });
}

async function renewed(stage: Stage) {
  const ada = await stage.signUp("ada@example.com", { rememberMe: false });
  const bearer = carrying(`Bearer ${told(ada)}`);
  await stage.advance(120);
  await stage.get("/get-session?disableRefresh=true", { headers: [bearer] });
  // Nothing says here that it was not to be remembered.
  await stage.get("/get-session", { headers: [bearer] });
  await stage.advance(120);
  await stage.get("/get-session", { headers: [bearer], cookie: ada.cookies });
  await stage.advance(120);
  await stage.get("/list-accounts", { headers: [bearer] });
  await stage.advance(120);
  if ("jwt" in (stage.scenario.options.plugins as Options)) await stage.get("/token", { headers: [bearer] });
  await stage.advance(8 * DAY);
  await stage.get("/get-session", { headers: [bearer] });
  await stage.get("/list-accounts", { headers: [bearer] });
}

const SECRETS: Options = { secrets: [{ version: 2, value: "current-secret-0123456789-abcdefghijklmnop" }, { version: 1, value: "former-secret-0123456789-abcdefghijklmnopq" }] };

const covered = [SESSION, "GET /list-sessions", "POST /sign-up/email", "POST /sign-in/email", "POST /sign-out", "POST /update-user", "POST /change-password"].map((endpoint) => `${endpoint}@plugins.bearer`);
const SIGNATURE = [SESSION].map((endpoint) => `${endpoint}@plugins.bearer.requireSignature`);

export default area("bearer", [
  scenario("life", { options: withBearer(), covers: covered }, life),
  scenario("signature-required", { options: withBearer({ requireSignature: true }), covers: [...SIGNATURE, "POST /sign-out@plugins.bearer.requireSignature"] }, life),
  scenario("shapes", { options: withBearer(), covers: [`${SESSION}@plugins.bearer`] }, shapes),
  scenario("shapes-signature-required", { options: withBearer({ requireSignature: true }), covers: SIGNATURE }, shapes),
  scenario("cookies-beside", { options: withBearer(), covers: [`${SESSION}@plugins.bearer`] }, cookies),
  scenario("cookies-beside-remembered", { options: withBearer({}, { session: { cookieCache: { enabled: true, strategy: "jwe" } } }), covers: [`${SESSION}@plugins.bearer`] }, cookies),
  scenario("not-there", {}, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    for (const token of [ada.json.token, ada.cookie(COOKIE)]) await session(stage, `Bearer ${token}`);
    await session(stage, `Bearer ${ada.json.token}`, ada.cookies);
  }),
  ...["compact", "jwt", "jwe"].map((strategy) => scenario(`remembered-${strategy}`, { options: withBearer({}, { session: { cookieCache: { enabled: true, strategy } } }), covers: [`${SESSION}@plugins.bearer`] }, remembered)),
  scenario("origins", { options: withBearer(), covers: ["POST /update-user@plugins.bearer"] }, origins),
  ...Object.entries(NAMES).map(([name, { more, cookie }]) => scenario(`name-${name}`, { options: withBearer({}, more), covers: [`${SESSION}@plugins.bearer`] }, (stage) => names(stage, cookie))),
  scenario("renewed", { clock: true, options: withBearer({}, { session: { updateAge: 60 } }), covers: [`${SESSION}@plugins.bearer`] }, renewed),
  ...Object.entries({ "beside-jwt": { bearer: {}, jwt: {} }, "behind-jwt": { jwt: {}, bearer: { requireSignature: true } } }).map(([name, plugins]) =>
    scenario(name, { clock: true, differs: publishedKeys, options: options({ plugins: plugins as Options, session: { updateAge: 60 } }), covers: ["GET /token@plugins.bearer", ...(name === "behind-jwt" ? ["GET /token@plugins.bearer.requireSignature"] : []), `${SESSION}@plugins.jwt`] }, async (stage) => {
      await renewed(stage);
      const ada = await stage.signIn("ada@example.com");
      for (const token of [told(ada), String(ada.json.token), "unknown", "x.y"]) await stage.get("/token", { headers: [carrying(`Bearer ${token}`)] });
      const reply = await stage.get("/token", { cookie: ada.cookies });
      // What says who somebody is does not sign them in.
      for (const path of ["/token", "/get-session", "/jwks"]) await stage.get(path, { headers: [carrying(`Bearer ${reply.json.token}`)] });
    }),
  ),
  ...Object.entries({ "secrets": SECRETS, "secrets-alone": { ...SECRETS, secret: null } }).map(([name, more]) =>
    scenario(name, { options: withBearer({}, more), covers: [`${SESSION}@plugins.bearer`] }, async (stage) => {
      await fixed(stage);
      for (const secret of [...(SECRETS.secrets as { value: string }[]).map(({ value }) => value), SECRET]) await session(stage, `Bearer ${TOKEN}.${signature(TOKEN, secret)}`);
      const ada = await stage.signUp("lovelace@example.com");
      await session(stage, `Bearer ${told(ada)}`);
      await session(stage, `Bearer ${ada.json.token}`);
    }),
  ),

  scenario("client", { options: withBearer({}, { plugins: { jwt: {} } }), covers: [`${SESSION}@plugins.bearer`, "GET /token@plugins.bearer"] }, async (stage) => {
    let token = "";
    const client = stage.client({ auth: { type: "Bearer", token: () => token } });
    const keep = { onSuccess: ({ response }: { response: Response }) => void (token = response.headers.get("set-auth-token") ?? token) };
    stage.expect((await stage.result(client.getSession())).data === null, "nobody is signed in");
    await stage.result(client.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada", fetchOptions: keep }));
    stage.expect(token.includes("."), "the token is told");
    stage.expect((await stage.result(client.getSession())).data?.user.name === "Ada", "and signs in");
    await stage.result(client.updateUser({ name: "Ada Lovelace" }));
    await stage.result(client.$fetch("/token"));
    await stage.result(client.listSessions());
    await stage.result(client.signOut());
    stage.expect((await stage.result(client.getSession())).data === null, "and no more");
    await stage.result(client.signIn.email({ email: "ada@example.com", password: PASSWORD, fetchOptions: keep }));
    await stage.result(client.getSession());
    token = "unknown";
    await stage.result(client.getSession());
    await stage.result(client.listSessions());
  }),
]);
