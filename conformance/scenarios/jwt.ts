/** Tokens that say who is signed in, the keys that sign them, and what of the keys is told to everybody. */
import { createHmac, createPrivateKey, sign } from "node:crypto";
import { jwtClient } from "better-auth/client/plugins";
import { publishedKeys } from "../lib/intents.ts";
import { area, options, PASSWORD, type Reply, scenario, SECRET, type Stage } from "../lib/scenario.ts";
import type { Change, Header, Intent, Json, Options } from "../lib/types.ts";

const TOKEN = "GET /token";
const JWKS = "GET /jwks";
const SESSION = "GET /get-session";
const DAY = 86_400;

const on = (...names: string[]) => names.flatMap((name) => [TOKEN, JWKS].map((endpoint) => `${endpoint}@plugins.jwt.${name}`));
const withJwt = (jwt: Options = {}, more: Options = {}) => options({ ...more, plugins: { jwt, ...((more.plugins ?? {}) as Options) } });

/** Keys of nobody's, the same on every run. What is encrypted is the private part of the first, by upstream itself. */
const KEYS = {
  first: { public: '{"crv":"Ed25519","x":"RPtvYFPE63VwM0YjdVk6ZAiW12L4GH97qUMWpeDuiLk","kty":"OKP"}', d: "_E8mQWxGZ_Io1e3wMsYbR_DnIpBK6VsJl8dPeEbRMnE" },
  second: { public: '{"crv":"Ed25519","x":"snqrnYofbw3Gd7Yz38Q6LLPOCGfSo1ZOqnd35VLFq-Q","kty":"OKP"}', d: "uy9B_vo5KVlI-KdVLHvAifRMXm6VD0N-GCdgoagRu_w" },
  curve: { public: '{"kty":"EC","x":"wg7_YI3d-B7ccDpvvI4iM4cuoTOaHcdtK9XAT8vFt78","y":"l46MpOxn86zjJQVZ1IrWSXckGS2oUNigNy-9Hx3JrNs","crv":"P-256"}', d: "5Jo8AMrdPeCjrbOYSXTdboyECo6rRB4d2959emoFYNo" },
};
type Name = keyof typeof KEYS;
const CURRENT = "current-secret-0123456789-abcdefghijklmnop";
const FORMER = "former-secret-0123456789-abcdefghijklmnopq";
const ENCRYPTED = {
  [SECRET]: "49d4abb1e947e62350c2419a63acc29292bc4060c35610100e0cc825a98faee8c6fb6ae27d1280396e139cfebbf9b55b3b9d0917cf30dab2f9590ee20d50d574e38e23458ab60ccfa030b2382585ebb228914a6abee42c16520e9c5e72ef67cab207400ca11adde0d40b1d067759635ce1658e21d896754cbd39ee075a206a4382d3ec3fc3dcd5b903ec896c6e4543264894793cfb3e9eacf7956dbc1b9594829feaf88a12aafb6d43",
  [CURRENT]: "2fec930f874e59224046cdd13c2a203a1fa85569ad6a4015bb7eb11d2052e314f029f7e43dc15924f018d9679c6b5afd002c808d1df2040eaeb6ba00695af1ddab5dac0f0d0d7cb84012def316f6c79369c5a7498267e3c4076fda2efee9e3aa3b0cd4fb8043dfefaa57efcf23e290657907f84c1c378565a3cd5b9a34c7d592cccf6965823383ebaa492ba16e799070823db9dc96161ae99c7ddccc212a5f408dfd66ef8ffefcfbd2",
  [FORMER]: "c017a0359c69b46f1279a33a0725451b29bd8ef8542b530e28e8e38d78087e498da6c4173be5a9b215c783c95c048a818df33cda587b10f40fdd2a16ca86e40725928a9929efd64aeb2856e26a8b57a2bb67c6e9fa340881fbf3ba4ce794591696a1dface0b66e5c424cf4f9ad3b16cad5cffd4534e785b79615318830bc1791bb87f2f4eb7cf3cc1db6fbcac4074d4b3a881d225f764451daa6f508f4de6eaf166cd48728d56d6ef6",
} as { [secret: string]: string };

/** The private part as it is written: what is secret stands before the public members of Ed25519 keys but the first, and behind those of a curve. */
function privateText(name: Name): string {
  const { public: open, d } = KEYS[name];
  return name === "curve" ? `${open.slice(0, -1)},"d":"${d}"}` : open.replace(',"x"', `,"d":"${d}","x"`);
}

interface Stored {
  key?: Name;
  private?: string;
  created?: string;
  expires?: string | null;
  alg?: string | null;
  crv?: string | null;
}

/** A row as somebody may have written it long ago. */
function insert(id: string, { key = "first", created = "2025-01-02T03:04:05.678Z", expires = null, alg = "EdDSA", crv = "Ed25519", ...rest }: Stored = {}): string {
  const text = (value: string | null) => (value === null ? "NULL" : `'${value}'`);
  const values = [id, KEYS[key].public, rest.private ?? privateText(key), created, expires, alg, crv].map(text).join(", ");
  return `INSERT INTO "jwks" ("id", "publicKey", "privateKey", "createdAt", "expiresAt", "alg", "crv") VALUES (${values});`;
}

const only = (id: string, stored: Stored = {}) => `DELETE FROM "jwks"; ${insert(id, stored)}`;

const plain: Options = { jwks: { disablePrivateKeyEncryption: true } };
const token = (stage: Stage, cookie: string, query = "") => stage.get(`/token${query}`, { cookie });
const session = (stage: Stage, cookie: string, query = "") => stage.get(`/get-session${query}`, { cookie });

/** Changes the keys, and waits until the one in use is read again. */
async function change(stage: Stage, sql: string): Promise<void> {
  await stage.sql(sql);
  await stage.advance(61);
}

/** Where the private key cannot be used, the session of the user who signed up first is shown all the same. */
const shownWithoutToken: Intent = {
  decision: "tokens",
  narthex: {
    status: 200,
    headers: [
      ["cache-control", "no-store"],
      ["content-type", "application/json"],
      ["pragma", "no-cache"],
    ],
    body: '{"session":{"expiresAt":"<step1+604800s>","token":"<rand32:1>","createdAt":"<step1+0s>","updatedAt":"<step1+0s>","ipAddress":"127.0.0.1","userAgent":"","userId":"<rand32:2>","id":"<rand32:4>"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"<step1+0s>","updatedAt":"<step1+0s>","id":"<rand32:2>"}}',
  },
};

/** The set is in the order in which the keys were made, and not in that of the rows. */
const oldestFirst: Intent = {
  decision: "tokens",
  narthex: (upstream): Change => {
    const change = publishedKeys.narthex(upstream);
    if (change.headers === undefined) return change;
    const made = new Map((upstream.rows.jwks ?? []).map(({ id, createdAt }) => [id, String(createdAt)]));
    const { keys } = JSON.parse(String(upstream.body)) as { keys: { kid: string }[] };
    const at = ({ kid }: { kid: string }) => made.get(kid) ?? "";
    return { ...change, body: JSON.stringify({ keys: keys.sort((left, right) => at(left).localeCompare(at(right))) }) };
  },
};

/** A row that is no key takes nothing from the others, of which there are none here. */
const leftOut: Intent = {
  decision: "tokens",
  narthex: (): Change => {
    const empty = { status: 200, headers: [["content-type", "application/json"] as Header], body: '{"keys":[]}' };
    return { ...empty, ...publishedKeys.narthex(empty) };
  },
};

/** Everything that shows a key or a token. */
async function shows(stage: Stage): Promise<Reply> {
  const ada = await stage.signUp("ada@example.com");
  await token(stage, ada.cookies);
  await stage.get("/jwks");
  await session(stage, ada.cookies);
  return ada;
}

async function life(stage: Stage) {
  await stage.get("/jwks");
  await stage.get("/token");
  await stage.get("/token", { cookie: "better-auth.session_token=bad" });
  const ada = await stage.signUp("ada@example.com", { image: "https://example.com/\u00fc\u2713 \"\\\n.png" });
  await token(stage, ada.cookies);
  await session(stage, ada.cookies);
  for (const query of ["?disableCookieCache=true", "?disableRefresh=true", "?disableCookieCache=&x=1"]) await token(stage, ada.cookies, query);
  await session(stage, ada.cookies, "?disableRefresh=true");
  await stage.post("/get-session", undefined, { cookie: ada.cookies });
  await stage.get("/get-session");
  await stage.post("/update-user", { name: "Ada Lovelace \u{1F469}\u{1F3FD}\u200d\u{1F680} \u2028", image: null }, { cookie: ada.cookies });
  await token(stage, ada.cookies);
  await session(stage, ada.cookies);
  await stage.get("/list-sessions", { cookie: ada.cookies });
  const again = await stage.signIn("ada@example.com", { rememberMe: false });
  await token(stage, again.cookies);
  await session(stage, again.cookies);
  await stage.post("/revoke-session", { token: String(ada.json.token) }, { cookie: again.cookies });
  await token(stage, ada.cookies);
  await session(stage, ada.cookies);
  const eve = await stage.signUp("eve@example.com", { name: "" });
  await token(stage, eve.cookies);
  await stage.post("/sign-out", undefined, { cookie: again.cookies });
  await token(stage, again.cookies);
  await session(stage, again.cookies);
  await token(stage, eve.cookies);
  await stage.get("/jwks", { cookie: eve.cookies, headers: { origin: "https://evil.example" } });
  await stage.get("/token", { cookie: eve.cookies, headers: { origin: "https://evil.example" } });
}

async function methods(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  for (const path of ["/token", "/jwks"]) {
    for (const method of ["POST", "HEAD", "PUT", "DELETE", "OPTIONS"]) await stage.request(method, path, { cookie: ada.cookies, ...(method === "POST" ? { json: {} } : {}) });
    for (const other of [`${path}/`, `${path}/x`, `/${path}`, path.toUpperCase(), `${path}.json`]) await stage.get(other, { cookie: ada.cookies });
  }
  for (const path of ["/sign-jwt", "/verify-jwt", "/jwt/sign", "/.well-known/jwks.json", "/.well-known/openid-configuration"]) {
    await stage.post(path, { payload: { sub: "x" }, token: "x" }, { cookie: ada.cookies });
    await stage.get(path);
  }
}

/** A key that upstream's plugin would make, of each kind. */
const ALGORITHMS: { [name: string]: Json } = {
  "ed25519": { alg: "EdDSA", crv: "Ed25519" },
  "es256": { alg: "ES256" },
  "es512": { alg: "ES512" },
  "rs256": { alg: "RS256" },
  "rs256-longer": { alg: "RS256", modulusLength: 3072 },
  "ps256": { alg: "PS256" },
};

/** What the claims are, as configured. */
const CLAIMS: { [name: string]: { jwt: Options; more?: Options } } = {
  "issuer-and-audience": { jwt: { issuer: "https://issuer.example/path?x", audience: "the audience \u00fc" } },
  "several-audiences": { jwt: { audience: ["https://a.example", "b", ""] } },
  "one-audience-in-a-list": { jwt: { audience: ["https://a.example"] } },
  "no-audience": { jwt: { audience: [] } },
  "empty-issuer-and-audience": { jwt: { issuer: "", audience: "" } },
  "two-hours": { jwt: { expirationTime: "2 hours" } },
  "a-fraction": { jwt: { expirationTime: "1.5MINS" } },
  "a-month-from-now": { jwt: { expirationTime: "1mo from now" } },
  "a-year": { jwt: { expirationTime: "+ 1 yr" } },
  "base-url-with-a-path": { jwt: {}, more: { baseURL: "http://Auth.Example.com:80/some/where" } },
  "base-path": { jwt: {}, more: { baseURL: "https://auth.example.com", basePath: "/v1" } },
};

const FIELDS: Options = {
  additionalFields: {
    nickname: { type: "string", required: false },
    born: { type: "date", required: false },
    points: { type: "number", required: false, defaultValue: 7 },
    adult: { type: "boolean", required: false },
    hidden: { type: "string", required: false, returned: false, defaultValue: "nobody may see this" },
    role: { type: "string", required: false, input: false, defaultValue: "user" },
  },
};

async function fields(stage: Stage) {
  const ada = await stage.signUp("ada@example.com", { nickname: "Countess", born: "1815-12-10T01:02:03.004Z", adult: true, hidden: "secret" });
  await token(stage, ada.cookies);
  await session(stage, ada.cookies);
  const updated = await stage.post("/update-user", { nickname: null, born: null, points: -5, adult: false, hidden: "another" }, { cookie: ada.cookies });
  await token(stage, ada.cookies);
  await token(stage, `${ada.cookies}; ${updated.cookies}`);
  await token(stage, updated.cookies);
  await session(stage, updated.cookies);
  const eve = await stage.signUp("eve@example.com");
  await token(stage, eve.cookies);
  await session(stage, eve.cookies);
}

/** The cookie that remembers the session, and only that. */
const DATA = "better-auth.session_data";
const b64 = (value: string) => Buffer.from(value, "utf8").toString("base64url");
const remembering = (strategy: string, more: Options = {}): Options => ({ session: { cookieCache: { enabled: true, strategy, ...more } } });

async function remembered(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  await session(stage, ada.cookies);
  await stage.sql(`UPDATE "user" SET "name" = 'Changed'`);
  await token(stage, ada.cookies);
  await session(stage, ada.cookies);
  const fresh = await token(stage, ada.cookies, "?disableCookieCache=true");
  await token(stage, `${ada.cookies}; ${DATA}=${fresh.cookie(DATA)}`);
  await stage.sessions(`DELETE FROM "session"`, () => undefined);
  await token(stage, ada.cookies);
  await session(stage, ada.cookies);
  await token(stage, ada.cookies, "?disableCookieCache=1");
  await stage.advance(320);
  await token(stage, ada.cookies);
  await session(stage, ada.cookies);
  await stage.get("/jwks");
}

/** A row and a session that are the same on every run, so that cookies made here are too. */
const FIXED = {
  user: { name: "Fixed", email: "fixed@example.com", emailVerified: true, image: null, createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2026-01-02T03:04:05.678Z", id: "fixeduserfixeduserfixeduserid000" },
  session: { expiresAt: "2099-01-01T00:00:00.000Z", token: "fixedtokenfixedtokenfixedtoken00", createdAt: "2026-01-02T03:04:05.678Z", updatedAt: "2098-12-31T00:00:00.000Z", ipAddress: "", userAgent: "agent", userId: "fixeduserfixeduserfixeduserid000", id: "fixedsessionfixedsessionfixedid0" },
};
const FIXED_COOKIE = `better-auth.session_token=${encodeURIComponent(`${FIXED.session.token}.${createHmac("sha256", SECRET).update(FIXED.session.token).digest("base64")}`)}`;

async function fixed(stage: Stage): Promise<void> {
  const { user, session } = FIXED;
  const row = (truth: string) => `INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt") VALUES ('${user.id}', 'Stored', '${user.email}', ${truth}, '${user.createdAt}', '${user.updatedAt}')`;
  await stage.sql(row("1"), row("true"));
  if (stage.scenario.secondary) return stage.keep({ set: [{ key: session.token, value: JSON.stringify({ session, user: { ...user, name: "Stored" } }), seconds: 3600 }] });
  return stage.sql(`INSERT INTO "session" ("id", "token", "userId", "expiresAt", "createdAt", "updatedAt", "ipAddress", "userAgent") VALUES ('${session.id}', '${session.token}', '${session.userId}', '${session.expiresAt}', '${session.createdAt}', '${session.updatedAt}', '', 'agent')`);
}

/** A cookie that a key has signed. */
function cacheSignedBy(name: Name, header: Options = {}, payload: Options = {}): string {
  const said = { alg: name === "curve" ? "ES256" : "EdDSA", kid: name, typ: "better-auth.session-cache+jwt", ...header };
  const claims = { session: FIXED.session, user: FIXED.user, updatedAt: 1_767_323_045_678, version: "1", sid: FIXED.session.token, iat: 1_767_323_045, exp: 4_000_000_000, iss: "http://localhost:3000", aud: "better-auth:session-cache", sub: FIXED.user.id, ...payload };
  const text = `${b64(JSON.stringify(said))}.${b64(JSON.stringify(claims))}`;
  const key = createPrivateKey({ key: JSON.parse(privateText(name)) as { [member: string]: string }, format: "jwk" });
  return `${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`;
}

const EDITED: { header?: Options; payload?: Options }[] = [
  {},
  { header: { typ: "JWT" } },
  { header: { typ: null } },
  { header: { typ: "application/better-auth.session-cache+jwt" } },
  { header: { kid: "second" } },
  { header: { kid: "unknown" } },
  { header: { kid: null } },
  { header: { kid: "" } },
  { header: { alg: "none" } },
  { header: { alg: "HS256" } },
  { header: { alg: "ES256" } },
  { payload: { iss: "http://localhost:3000/" } },
  { payload: { iss: null } },
  { payload: { aud: ["x", "better-auth:session-cache"] } },
  { payload: { aud: "http://localhost:3000" } },
  { payload: { sub: "another" } },
  { payload: { sid: "another" } },
  { payload: { sid: null } },
  { payload: { exp: 1_500_000_000 } },
  { payload: { exp: null } },
  { payload: { nbf: 4_000_000_000 } },
  { payload: { version: "2" } },
  { payload: { user: { ...FIXED.user, id: "another" } } },
  { payload: { session: { ...FIXED.session, expiresAt: "2020-01-01T00:00:00.000Z" } } },
  { payload: { more: "than that" } },
];

const secret = (stage: Stage) => stage.scenario.options.secrets as { version: number; value: string }[] | undefined;

/** Each way in which a private key may stand in its row, and some in which it may not. */
async function privateKeys(stage: Stage) {
  const ada = await stage.signUp("ada@example.com");
  const quoted = (text: string) => `"${text}"`;
  const versions = (secret(stage) ?? []).map(({ version, value }) => quoted(`$ba$${version}$${ENCRYPTED[value] ?? ""}`));
  const bare = [SECRET, CURRENT, FORMER].map((each) => quoted(ENCRYPTED[each] ?? ""));
  const [current] = secret(stage) ?? [];
  const version = current ? `$ba$${current.version}$` : "";
  const good = ENCRYPTED[current?.value ?? SECRET] ?? "";
  const odd = [`${version}${good.toUpperCase()}`, `${version}${good.slice(0, -1)}0`, `${version}${good.slice(2)}`, `${version}${good}0`, `${version}00`, version, `$ba$9$${good}`, `$ba$$${good}`, `$ba$2${good}`, `$ba$${good}`].map(quoted);
  odd.push(`${version}${good}`, "", "null", "[]");
  for (const [index, text] of [...versions, ...bare, ...odd].entries()) {
    await change(stage, only(`key-${index}`, { private: text }));
    const reply = await token(stage, ada.cookies);
    if (reply.status !== 200) await stage.get("/get-session", { cookie: ada.cookies, differs: shownWithoutToken });
  }
  await stage.get("/jwks");
  await change(stage, `DELETE FROM "jwks"`);
  await token(stage, ada.cookies);
  await stage.get("/jwks");
}

const SECRETS: { [name: string]: Options } = {
  "one-secret": {},
  "several-secrets": { secrets: [{ version: 2, value: CURRENT }, { version: 1, value: FORMER }] },
  "the-first-is-not-the-newest": { secrets: [{ version: 0, value: CURRENT }, { version: 7, value: FORMER }] },
};

/** In what the two differ: `secret` beside `secrets` opens what was written before there were versions. */
function withSecrets(secrets: Options, isAlone: boolean): Options {
  const { secret: legacy, ...rest } = withJwt({}, secrets);
  return isAlone ? rest : { ...rest, secret: legacy ?? SECRET };
}

const OTHER_NAMES: Options = { schema: { jwks: { modelName: "signing-keys", fields: { publicKey: "public_key", privateKey: "order", createdAt: "created_at", expiresAt: "group", alg: "algorithm", crv: "select" } } } };

export default area("jwt", [
  scenario("life", { options: withJwt(), covers: [TOKEN, JWKS, SESSION, `${TOKEN}#UNAUTHORIZED`, `${SESSION}@plugins.jwt`] }, life),

  scenario("methods", { options: withJwt(), secondary: false }, methods),

  scenario("not-there", { secondary: false }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    for (const path of ["/token", "/jwks", "/get-session"]) await stage.get(path, { cookie: ada.cookies });
  }),

  scenario("no-header", { options: withJwt({ disableSettingJwtHeader: true }), covers: [`${SESSION}@plugins.jwt.disableSettingJwtHeader`, ...on("disableSettingJwtHeader")] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await session(stage, ada.cookies);
    await token(stage, ada.cookies);
    await stage.get("/jwks");
  }),

  ...Object.entries(ALGORITHMS).map(([name, keyPairConfig]) =>
    scenario(`alg-${name}`, { options: withJwt({ jwks: { keyPairConfig, keyPairConfigs: [{ alg: "ES512" }, { alg: "RS256", modulusLength: 2048 }] } }), secondary: false, covers: on("jwks.keyPairConfig", "jwks.keyPairConfigs") }, shows),
  ),

  ...Object.entries(CLAIMS).map(([name, { jwt, more }]) => {
    const changed = Object.keys(jwt).map((option) => `jwt.${option}`);
    return scenario(`claims-${name}`, { options: withJwt({ jwt }, more), secondary: false, covers: [...changed.map((option) => `${TOKEN}@plugins.jwt.${option}`), ...(more ? [`${TOKEN}@baseURL`] : [])] }, shows);
  }),

  scenario("unencrypted", { clock: true, options: withJwt(plain), secondary: false, covers: on("jwks.disablePrivateKeyEncryption") }, async (stage) => {
    const ada = await shows(stage);
    for (const text of ["", "{}"]) {
      await change(stage, only("odd", { private: text }));
      await token(stage, ada.cookies);
      await stage.get("/get-session", { cookie: ada.cookies, differs: shownWithoutToken });
    }
    await stage.get("/jwks");
  }),

  scenario("unencrypted-rsa", { options: withJwt({ jwks: { disablePrivateKeyEncryption: true, keyPairConfig: { alg: "PS256" } } }), databases: ["sqlite"], secondary: false, covers: on("jwks.disablePrivateKeyEncryption") }, shows),
  scenario("unencrypted-curve", { options: withJwt({ jwks: { disablePrivateKeyEncryption: true, keyPairConfig: { alg: "ES512" } } }), databases: ["sqlite"], secondary: false, covers: on("jwks.disablePrivateKeyEncryption") }, shows),

  // Which of several keys signs, and which are told.
  scenario("several-keys", { clock: true, differs: oldestFirst, options: withJwt({ jwks: { disablePrivateKeyEncryption: true, gracePeriod: 3600 } }), secondary: false, covers: on("jwks.keyPairConfig") }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    const steps = [
      insert("of-before-there-were-algorithms", { alg: null, crv: null }),
      insert("newer", { key: "second", created: "2025-02-02T03:04:05.678Z", expires: "2099-01-01T00:00:00.000Z" }),
      insert("older-though-later", { created: "2024-02-02T03:04:05.678Z" }),
      insert("newest-of-another-kind", { key: "curve", created: "2025-03-02T03:04:05.678Z", alg: "ES256", crv: "P-256" }),
      insert("newest-but-over", { created: "2025-04-02T03:04:05.678Z", expires: "2025-04-02T03:04:05.679Z" }),
      `DELETE FROM "jwks" WHERE "alg" = 'EdDSA'`,
      `DELETE FROM "jwks"`,
    ];
    for (const step of steps) {
      await change(stage, step);
      await token(stage, ada.cookies);
      await stage.get("/jwks");
    }
  }),

  // A key that does not say how it signs is one of the configured kind.
  scenario("without-an-algorithm", { clock: true, differs: oldestFirst, options: withJwt({ jwks: { disablePrivateKeyEncryption: true, keyPairConfig: { alg: "ES256" } } }), secondary: false, covers: on("jwks.keyPairConfig") }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await change(stage, `${insert("of-another-kind")} ${insert("without", { key: "curve", created: "2024-01-02T03:04:05.678Z", alg: null, crv: null })}`);
    await token(stage, ada.cookies);
    await stage.get("/jwks");
    await change(stage, `UPDATE "jwks" SET "expiresAt" = "createdAt"`);
    await token(stage, ada.cookies);
    await stage.get("/jwks");
  }),

  scenario("rotation", { clock: true, options: withJwt({ jwt: { expirationTime: "1m" }, jwks: { rotationInterval: 3600, gracePeriod: 600 } }), secondary: false, covers: on("jwks.rotationInterval", "jwks.gracePeriod") }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await stage.get("/jwks");
    await token(stage, ada.cookies);
    await stage.advance(2900);
    await token(stage, ada.cookies);
    await session(stage, ada.cookies);
    await stage.get("/jwks");
    await stage.advance(710);
    // Over, and nobody has made another.
    await stage.get("/jwks");
    await session(stage, ada.cookies);
    await token(stage, ada.cookies);
    await stage.get("/jwks");
    await stage.advance(570);
    await stage.get("/jwks");
    await stage.advance(40);
    await stage.get("/jwks");
    await token(stage, ada.cookies);
    await stage.advance(4200);
    await stage.get("/jwks");
    await token(stage, ada.cookies);
    await stage.get("/jwks");
  }),

  scenario("grace-of-thirty-days", { clock: true, options: withJwt({ jwks: { rotationInterval: DAY } }, { session: { expiresIn: 100 * DAY } }), secondary: false, covers: on("jwks.rotationInterval") }, async (stage) => {
    const ada = await shows(stage);
    await stage.advance(DAY + 60);
    await token(stage, ada.cookies);
    await stage.advance(30 * DAY - 120);
    await stage.get("/jwks");
    await stage.advance(120);
    await stage.get("/jwks");
    await stage.advance(DAY);
    await stage.get("/jwks");
    await token(stage, ada.cookies);
    await stage.get("/jwks");
  }),

  scenario("no-rotation", { clock: true, options: withJwt({ jwks: { rotationInterval: 0, gracePeriod: 0 } }, { session: { expiresIn: 90 * DAY } }), secondary: false, covers: on("jwks.rotationInterval") }, async (stage) => {
    const ada = await shows(stage);
    await stage.advance(89 * DAY);
    await token(stage, ada.cookies);
    await stage.get("/jwks");
  }),

  ...Object.entries(SECRETS).flatMap(([name, secrets]) =>
    (name === "one-secret" ? [false] : [false, true]).map((isAlone) =>
      scenario(`private-keys-${name}${isAlone ? "-alone" : ""}`, { clock: true, options: withSecrets(secrets, isAlone), secondary: false, covers: [`${TOKEN}@secrets`, `${JWKS}@secrets`] }, privateKeys),
    ),
  ),

  scenario("public-keys", { options: withJwt(plain), secondary: false, covers: [JWKS] }, async (stage) => {
    await stage.sql(insert("plain"));
    const become = (text: string) => stage.sql(`UPDATE "jwks" SET "publicKey" = '${text}'`);
    for (const text of ['{"kty":"OKP","use":"sig","alg":"other","kid":"own","crv":"X","x":"AA"}', "{}"]) {
      await become(text);
      await stage.get("/jwks");
    }
    for (const text of ["", "not json"]) {
      await become(text);
      await stage.get("/jwks", { differs: leftOut });
    }
  }),

  ...["uuid", "serial"].map((generateId) =>
    scenario(generateId, { options: withJwt({}, { advanced: { database: { generateId } } }), secondary: false, covers: [TOKEN, JWKS].map((endpoint) => `${endpoint}@advanced.database.generateId`) }, shows),
  ),

  scenario("other-names", { options: withJwt(OTHER_NAMES), secondary: false, covers: on("schema") }, shows),
  scenario("other-names-and-ids", { options: withJwt({ ...OTHER_NAMES, ...plain }, { advanced: { database: { generateId: "serial" } } }), secondary: false, covers: on("schema") }, shows),

  ...Object.entries({ "well-known": "/.well-known/jwks.json", "deep": "/a/b-c/d_e.f" }).map(([name, jwksPath]) =>
    scenario(`path-${name}`, { options: withJwt({ jwks: { jwksPath } }), secondary: false, covers: [`${JWKS}@plugins.jwt.jwks.jwksPath`] }, async (stage) => {
      for (const path of [jwksPath, "/jwks", `${jwksPath}/`]) await stage.get(path);
      const ada = await stage.signUp("ada@example.com");
      await token(stage, ada.cookies);
      await stage.post(jwksPath, {});
    }),
  ),

  scenario("trailing-slashes-skipped", { options: withJwt({}, { advanced: { skipTrailingSlashes: true } }), secondary: false, covers: [TOKEN, JWKS].map((endpoint) => `${endpoint}@advanced.skipTrailingSlashes`) }, async (stage) => {
    const ada = await shows(stage);
    for (const path of ["/token/", "/jwks/", "/token//"]) await stage.get(path, { cookie: ada.cookies });
  }),

  ...["/token", "/jwks", "/get-session"].map((path) =>
    scenario(`disabled${path.replace("/", "-")}`, { options: withJwt({}, { disabledPaths: [path] }), secondary: false, covers: [TOKEN, JWKS].map((endpoint) => `${endpoint}@disabledPaths`) }, async (stage) => {
      const ada = await shows(stage);
      await stage.post("/get-session", undefined, { cookie: ada.cookies });
    }),
  ),

  scenario("keys-elsewhere", { options: withJwt({ jwks: { remoteUrl: "https://keys.example/jwks.json", keyPairConfig: { alg: "ES256" } } }), secondary: false, covers: on("jwks.remoteUrl") }, async (stage) => {
    await stage.get("/jwks");
    await shows(stage);
  }),

  scenario("fields", { options: withJwt({}, { user: FIELDS }), covers: [`${TOKEN}@user.additionalFields`] }, fields),
  scenario("fields-remembered", { options: withJwt({}, { user: FIELDS, ...remembering("compact") }), covers: [`${TOKEN}@user.additionalFields`, `${TOKEN}@session.cookieCache.enabled`] }, fields),

  ...["compact", "jwt", "jwe"].map((strategy) =>
    scenario(`remembered-${strategy}`, { clock: true, options: withJwt({}, remembering(strategy)), covers: ["enabled", "strategy", "maxAge"].map((option) => `${TOKEN}@session.cookieCache.${option}`) }, remembered),
  ),

  scenario("remembered-by-a-key", { clock: true, options: withJwt({ sessionCookieCache: true }, remembering("jwt")), covers: [...on("sessionCookieCache"), `${SESSION}@plugins.jwt.sessionCookieCache`] }, remembered),

  scenario("remembered-by-a-key-with-claims", { clock: true, options: withJwt({ sessionCookieCache: true, jwt: { issuer: "x", audience: "y", expirationTime: "1 day" }, jwks: { keyPairConfig: { alg: "ES256" }, rotationInterval: 3600, gracePeriod: 86_400 } }, { baseURL: "http://localhost:3000/auth", ...remembering("jwt", { maxAge: 7200, version: "2" }) }), covers: [`${SESSION}@plugins.jwt.sessionCookieCache`] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await session(stage, ada.cookies);
    await stage.advance(3610);
    // The key is over; what it has signed is not.
    await session(stage, ada.cookies);
    await stage.get("/jwks");
    await stage.sql(`UPDATE "user" SET "name" = 'Changed'`);
    await session(stage, ada.cookies);
    await change(stage, `DELETE FROM "jwks" WHERE "expiresAt" = (SELECT MIN("expiresAt") FROM "jwks")`);
    await session(stage, ada.cookies);
    const again = await stage.signIn("ada@example.com", { rememberMe: false });
    await session(stage, again.cookies);
  }),

  scenario("remembered-by-a-key-damaged", { options: withJwt({ sessionCookieCache: true, disableSettingJwtHeader: true, jwks: { disablePrivateKeyEncryption: true, gracePeriod: 4_000_000_000 } }, remembering("jwt")), covers: [`${SESSION}@plugins.jwt.sessionCookieCache`] }, async (stage) => {
    await fixed(stage);
    await stage.sql(`${insert("first")} ${insert("second", { key: "second", expires: "2026-01-02T03:04:06.000Z" })}`);
    const cookie = (value: string) => `${FIXED_COOKIE}; ${DATA}=${value}`;
    for (const { header, payload } of EDITED) await session(stage, cookie(cacheSignedBy("first", header, payload)));
    await session(stage, cookie(cacheSignedBy("second")));
    const good = cacheSignedBy("first");
    const hs256 = `${b64('{"alg":"HS256"}')}.${good.split(".")[1]}`;
    const forged = `${b64('{"alg":"HS256","kid":"first","typ":"better-auth.session-cache+jwt"}')}.${good.split(".")[1]}`;
    const hmac = (text: string, key: string) => `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
    for (const value of [hmac(hs256, SECRET), hmac(forged, SECRET), hmac(forged, KEYS.first.public), `${good}x`, `${good}=`, `${good}.`, good.slice(0, -2), `.${good}`, good.split(".").slice(0, 2).join(".")]) await session(stage, cookie(value));
    await session(stage, `${FIXED_COOKIE}; ${DATA}.0=${good.slice(0, 400)}; ${DATA}.1=${good.slice(400)}`);
  }),

  scenario("renewed", { clock: true, options: withJwt({}, { session: { updateAge: 60 } }), covers: [`${TOKEN}@session.updateAge`, `${TOKEN}@session.expiresIn`] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await stage.advance(120);
    await token(stage, ada.cookies, "?disableRefresh=true");
    await token(stage, ada.cookies);
    await stage.advance(120);
    await session(stage, ada.cookies);
    await stage.advance(7 * DAY + 60);
    await token(stage, ada.cookies);
    await session(stage, ada.cookies);
  }),

  scenario("renewed-later", { clock: true, options: withJwt({}, { session: { updateAge: 60, deferSessionRefresh: true } }), covers: [`${TOKEN}@session.deferSessionRefresh`] }, async (stage) => {
    const ada = await stage.signUp("ada@example.com");
    await stage.advance(120);
    await token(stage, ada.cookies);
    await session(stage, ada.cookies);
    await stage.post("/get-session", undefined, { cookie: ada.cookies });
    await token(stage, ada.cookies);
  }),

  scenario("client", { options: withJwt(), covers: [TOKEN, JWKS] }, async (stage) => {
    type Answer = { data: { token?: string; keys?: object[] } | null; error: { status?: number } | null };
    type WithTokens = { token: () => Promise<Answer>; jwks: () => Promise<Answer> };
    const client = stage.client({ plugins: [jwtClient()] });
    const { token, jwks } = client as unknown as WithTokens;
    stage.expect((await stage.result(token())).error?.status === 401, "nobody is signed in");
    await stage.result(client.signUp.email({ email: "ada@example.com", password: PASSWORD, name: "Ada" }));
    const made = await stage.result(token());
    stage.expect(made.data?.token?.split(".").length === 3, "a token");
    stage.expect((await stage.result(jwks())).data?.keys?.length === 1, "a key");
    let header: string | null = null;
    await stage.result(client.getSession({ fetchOptions: { onSuccess: ({ response }) => void (header = response.headers.get("set-auth-jwt")) } }));
    stage.expect(header !== null, "the session comes with a token");
    await stage.result(client.signOut());
    await stage.result(token());
  }),

  scenario("client-with-a-path", { options: withJwt({ jwks: { jwksPath: "/.well-known/jwks.json" } }), secondary: false, covers: [`${JWKS}@plugins.jwt.jwks.jwksPath`] }, async (stage) => {
    const client = stage.client({ plugins: [jwtClient({ jwks: { jwksPath: "/.well-known/jwks.json" } })] });
    const { jwks } = client as unknown as { jwks: () => Promise<unknown> };
    await stage.result(jwks());
    await stage.get("/jwks");
  }),
].map((each) => ({ differs: publishedKeys, ...each })));
