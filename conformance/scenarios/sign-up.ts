/** POST /sign-up/email. */
import { area, options, PASSWORD, scenario, type Stage } from "../lib/scenario.ts";
import { badSyntax, keptSessions, unknownType } from "../lib/intents.ts";
import { type Header, type Intent, type Json, SECONDARY } from "../lib/types.ts";

const ENDPOINT = "POST /sign-up/email";
const JSON_TYPE = { "content-type": "application/json" };

const text = (stage: Stage, body: string, headers: Header[] | { [name: string]: string } = JSON_TYPE, differs?: Intent) =>
  stage.post("/sign-up/email", undefined, { text: body, headers, ...(differs ? { differs } : {}) });

/** A body with one field left out. */
const without = (field: string) => {
  const body: { [key: string]: Json } = { email: "x@example.com", password: PASSWORD, name: "X" };
  delete body[field];
  return body;
};

const FORWARDED = { "x-forwarded-for": "203.0.113.9" };

/** Narthex takes the socket's peer for the client where upstream knows none, and looks behind trusted proxies. */
function addressIs(upstreams: string, ours: (session: number) => string): Intent {
  const inBody = (text: string) => text.replace(`"ipAddress":${JSON.stringify(upstreams)}`, `"ipAddress":${JSON.stringify(ours(1))}`);
  const inSession = <T extends { [field: string]: Json }>(row: T, index: number): T => (row.ipAddress === upstreams ? { ...row, ipAddress: ours(index + 1) } : row);
  return {
    decision: "client-address",
    narthex: ({ body, rows }, database) => ({
      ...(typeof body === "string" ? { body: inBody(body) } : {}),
      rows: { [database]: { session: (rows.session ?? []).map(inSession), [SECONDARY]: keptSessions(rows, inSession) } },
    }),
  };
}

const verification = options({ emailAndPassword: { requireEmailVerification: true } });

export default area("sign-up", [
  scenario("accepts", { covers: [ENDPOINT, `${ENDPOINT}#USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL`] }, async (stage) => {
    const first = await stage.signUp("Ada@Example.COM", { image: "https://example.com/a.png" }, { headers: { "user-agent": "agent/1" } });
    await stage.get("/get-session", { cookie: first.cookies });
    await stage.signUp("ada@example.com");
    await stage.signUp("ADA@EXAMPLE.COM", { name: "Other", image: "x" });
    await stage.signUp("short@example.com", { rememberMe: false });
    await stage.signUp("long@example.com", { rememberMe: true });
    await stage.signUp("callback@example.com", { callbackURL: "/welcome" });
    await stage.signUp("callback2@example.com", { callbackURL: "http://localhost:3000/welcome?x=1" });
    await stage.signUp("callback3@example.com", { callbackURL: "" });
    await stage.signUp("empty@example.com", { name: "", image: "" });
    const own = { emailVerified: true, id: "mine", createdAt: "2001-01-01T00:00:00.000Z", updatedAt: 1, role: "admin", token: "t", unknown: { deep: [1, null] } };
    await stage.signUp("keys@example.com", own);
    await stage.signUp("again@example.com", {}, { cookie: first.cookies });
    await stage.signUp("forgotten@example.com", {}, { cookie: "better-auth.dont_remember=true.WXxbAJ%2FyBUbaoRP4QaiZIHzrcpMujoCQzYWqeinq3gI%3D" });
  }),

  scenario("text", { covers: [ENDPOINT] }, async (stage) => {
    const names = ["Zoë 漢字 😀", "Ada\u200d\u0301", "  spaces  ", "line\nbreak\ttab", "<b>\"quotes\" & 'more'</b>", "\u2028\u2029\u007f\u0001", "'; DROP TABLE user; --", "x".repeat(500), "👨‍👩‍👧‍👦", "\ufeff"];
    let count = 0;
    for (const name of names) {
      count += 1;
      const reply = await stage.signUp(`text${count}@example.com`, { name, image: name });
      await stage.get("/get-session", { cookie: reply.cookies });
    }
    await text(stage, `{"email":"escaped@example.com","password":"\\u0070assword\\ud83d\\ude00","name":"\\u00e9\\/\\"\\\\"}`);
    await text(stage, `{"email":"twice@example.com","email":"last@example.com","password":"password1","name":"N","name":"M"}`);
    await text(stage, `\ufeff{"email":"bom@example.com","password":"password1","name":"N"}`);
    await text(stage, ` \r\n\t{ "email" : "space@example.com" , "password":"password1","name":"N" } \n`);
    await text(stage, `{"email":"proto@example.com","password":"password1","name":"N","__proto__":{"admin":true},"constructor":1}`);
  }),

  scenario("bytes-that-are-not-utf8", { covers: [ENDPOINT] }, async (stage) => {
    const broken = Buffer.concat([Buffer.from(`{"email":"bytes@example.com","password":"password1","name":"a`), Buffer.from([0xff, 0xc3, 0x28, 0xe2, 0x82]), Buffer.from(`b"}`)]);
    await stage.post("/sign-up/email", undefined, { text: { hex: broken.toString("hex") }, headers: JSON_TYPE });
  }),

  scenario("numbers", { covers: [ENDPOINT] }, async (stage) => {
    const numbers = ["123456789012345678901234567890", "1.50", "1e400", "-1e400", "1e-400", "-0", "0.1e+1", "9007199254740993"];
    for (const [index, number] of numbers.entries()) await text(stage, `{"email":"number${index}@example.com","password":"short","name":"N","unknown":${number}}`, JSON_TYPE, number.endsWith("1e400") ? badSyntax : undefined);
    for (const number of ["+1", ".5", "1.", "0x1", "1e", "Infinity", "-", "--1", "1_000"]) await text(stage, `{"email":"number@example.com","password":"short","name":"N","unknown":${number}}`);
  }),

  scenario("lone-surrogates", { covers: [ENDPOINT] }, async (stage) => {
    await text(stage, `{"email":"lone@example.com","password":"short","name":"a\\ud800b","image":"\\udc00"}`, JSON_TYPE, badSyntax);
    await text(stage, `{"email":"lone\\ud800@example.com","password":"password1","name":"a"}`, JSON_TYPE, badSyntax);
  }),

  scenario("nul-on-sqlite", { databases: ["sqlite"], covers: [ENDPOINT] }, async (stage) => {
    const reply = await stage.signUp("nul@example.com", { name: "a\0b", image: "\0" });
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.signUp("nul2@example.com", { password: "pass\0word" });
    await stage.signIn("nul2@example.com", { password: "pass\0word" });
    await stage.signIn("nul2@example.com", { password: "pass\0other" });
    await stage.signIn("nul2@example.com", { password: "pass" });
  }),

  scenario("nul-on-postgres", { databases: ["postgres"], covers: [`${ENDPOINT}#FAILED_TO_CREATE_USER`] }, async (stage) => {
    await stage.signUp("nul@example.com", { name: "a\0b" });
    await stage.signUp("nul@example.com", { image: "\0" });
    await stage.signUp("nul2@example.com", { password: "pass\0word" });
    await stage.signIn("nul2@example.com", { password: "pass\0word" });
    await stage.signIn("nul2@example.com", { password: "pass\0other" });
  }),

  scenario("emails", { covers: [`${ENDPOINT}#VALIDATION_ERROR`] }, async (stage) => {
    const refused = ["", " ", "bad", "a@b", "a@b.c", "@example.com", "a@", "a@.com", "a b@example.com", " a@example.com", "a@example.com ", "a@example.com\n", ".a@example.com", "a.@example.com", "a..b@example.com", "a@example..com", "a@-example.com", "a@example-.com", "a@exa_mple.com", "a@example.c0m", "a@example.123", "a@1.2.3.4", "a@[1.2.3.4]", "\"a b\"@example.com", "ü@example.com", "a@exämple.com", "a@例え.jp", "a@b@example.com", "a,b@example.com", "a@example.com,b@example.com", "Ada <a@example.com>", "a%@example.com", "a!@example.com", "a/b@example.com", "a=b@example.com", "a*b@example.com", "a#b@example.com", "-a@example.com", "'a@example.com", "a'@example.com", "+a@example.com", "_@example.com", "a@example.com.", "a@xn--exmple-cua.com", `${"l".repeat(64)}@example.com`, `${"l".repeat(65)}@example.com`, `${"l".repeat(300)}@${"d".repeat(300)}.example`, "A_B-c+d'e.F@sub-domain.example.museum", "1@2.io"];
    for (const email of refused) await stage.signUp(email);
  }),

  scenario("validation", { covers: [`${ENDPOINT}#VALIDATION_ERROR`] }, async (stage) => {
    const send = (body: Json) => stage.post("/sign-up/email", body);
    for (const field of ["email", "password", "name"]) await send(without(field));
    const wrong: Json[] = [null, 1, true, [], ["a"], {}, 1.5];
    for (const field of ["email", "password", "name", "image", "callbackURL", "rememberMe"]) {
      for (const value of wrong) await send({ email: "x@example.com", password: PASSWORD, name: "X", [field]: value } as Json);
    }
    await send({ email: "x@example.com", password: PASSWORD, name: "X", rememberMe: "false" });
    await send({ email: "x@example.com", password: PASSWORD, name: "X", rememberMe: 0 });
    await send({ email: "x@example.com", password: "", name: "X" });
    await send({ email: "", password: "", name: "" });
    await send({ email: "bad", password: "" });
    await send({ email: 1, password: 2, name: 3, image: 4, rememberMe: 6 });
    await send({ rememberMe: "x", image: null, name: null, password: null, email: null });
    for (const body of [{}, [], [1], null, true, 0, 1, "", "text"] as Json[]) await send(body);
    await send({ password: "short", email: "bad", name: "X" });
    await stage.post("/sign-up/email");
    await stage.post("/sign-up/email?name=X&email=x@example.com&password=password1");
    await stage.post("/sign-up/email?rememberMe=false", { email: "query@example.com", password: PASSWORD, name: "X" });
  }),

  scenario("bodies", { covers: [`${ENDPOINT}#BAD_REQUEST`, `${ENDPOINT}#VALIDATION_ERROR`] }, async (stage) => {
    for (const body of ["{bad", "{", "", " ", "{}x", '{"a":1,}', "{'a':1}", "NaN", "undefined", '{"a":1}{"b":2}', "[", '"open', "// comment\n{}", '{"a":\u0001}', '{"a":"\n"}', "01", "nul", '{"a":1 "b":2}', "\0", '{"a":"\\x"}', '{"a":"\\u12"}', "\u00a0{}"]) {
      await text(stage, body);
    }
    const good = JSON.stringify({ email: "chunked@example.com", password: PASSWORD, name: "C" });
    const chunked = (body: string, type = "application/json") => text(stage, body, { "content-type": type, "transfer-encoding": "chunked" });
    await chunked(good);
    await chunked("");
    await chunked("{bad");
    await stage.post("/sign-up/email", undefined, { text: good, headers: {} });
    await stage.post("/sign-up/email", undefined, { text: "{bad", headers: {} });
    await stage.post("/sign-up/email", undefined, { headers: JSON_TYPE });
    await stage.post("/sign-up/email", undefined, { headers: { "content-type": "text/plain" } });
    await stage.post("/sign-up/email", undefined, { headers: { "transfer-encoding": "chunked" }, text: good });
    await text(stage, `{"email":"deep@example.com","password":"password1","name":"N","deep":${"[".repeat(100)}${"]".repeat(100)}}`);
    await text(stage, JSON.stringify({ email: "large@example.com", password: "password1", name: "N", filler: "x".repeat(60_000) }));
  }),

  scenario("media-types", { covers: [`${ENDPOINT}#UNSUPPORTED_MEDIA_TYPE`] }, async (stage) => {
    const types = ["text/plain", "text/plain;charset=UTF-8", "text/html", "multipart/form-data; boundary=x", "application/xml", "application/octet-stream", "application/vnd.api+json", "application/ld+json", "text/json", "text/plain; x=application/json", 'we"ird\\type', "json", "/", ";", "; application/json", "application /json", "*/*", "application/jso", "Text/Plain; Charset=Utf-8"];
    for (const type of types) await text(stage, `{"email":"x@example.com","password":"short","name":"N"}`, { "content-type": type });
    const accepted = ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;", "application/json ; charset=latin1", "application/jsonx", "application/json+x", " application/json", "application/json, text/plain"];
    for (const type of accepted) await text(stage, `{"email":"x@example.com","password":"short","name":"N"}`, { "content-type": type });
    await text(stage, `{"email":"x@example.com","password":"short","name":"N"}`, [["content-type", "application/json"], ["content-type", "text/plain"]]);
    await text(stage, `{"email":"x@example.com","password":"short","name":"N"}`, [["content-type", "text/plain"], ["content-type", "application/json"]]);
    await text(stage, `{"email":"x@example.com","password":"short","name":"N"}`, { "content-type": "" });
    await text(stage, "a", { "content-type": "text/plain", cookie: "a=1" });
    await text(stage, "a", { "content-type": "text/plain", origin: "http://evil.example" });
  }),

  scenario("unparsed-media-types", { covers: [ENDPOINT] }, async (stage) => {
    const body = `{"email":"x@example.com","password":"short","name":"N"}`;
    for (const type of ["x-application/json", "text/application/json"]) await text(stage, body, { "content-type": type }, unknownType(type, "application/x-www-form-urlencoded, application/json"));
  }),

  scenario("form", { covers: [`${ENDPOINT}#VALIDATION_ERROR`, `${ENDPOINT}#PASSWORD_TOO_SHORT`] }, async (stage) => {
    const form = (body: string, type = "application/x-www-form-urlencoded") => text(stage, body, { "content-type": type });
    await stage.post("/sign-up/email", undefined, { form: { email: "Form@Example.com", password: PASSWORD, name: "Zoë & Co = 100%" } });
    await form("email=plus%40example.com&password=pass+word+%2B1&name=A+B");
    await stage.signIn("plus@example.com", { password: "pass word +1" });
    await form("name=N&email=a%40example.com&email=b%40example.com&password=password1");
    await form("name=N&email=upper%40example.com&password=password1", "Application/X-WWW-Form-Urlencoded; Charset=UTF-8");
    await form("name=N&email=remember%40example.com&password=password1&rememberMe=false");
    await form("name=N&email=remember%40example.com&password=short");
    await form("");
    await form("&&==&a");
    await form("name=%ff%zz&email=bytes%40example.com&password=password1");
    await form('{"email":"json@example.com","password":"password1","name":"N"}');
    await form("name=N&email=callback%40example.com&password=password1&callbackURL=http%3A%2F%2Fevil.example");
    await form("name=N&email=callback%40example.com&password=password1&callbackURL=%2Fhome&image=i&other=1");
    await form("name&email=novalue%40example.com&password=password1;name=x");
  }),

  scenario("password-lengths", { covers: [`${ENDPOINT}#PASSWORD_TOO_SHORT`, `${ENDPOINT}#PASSWORD_TOO_LONG`] }, async (stage) => {
    const passwords = ["1234567", "12345678", "a".repeat(128), "a".repeat(129), "😀😀😀", "😀😀😀x", "😀😀😀😀", "😀".repeat(64), "😀".repeat(64) + "x", "é".repeat(7), "é".repeat(8), "e\u0301".repeat(4), "漢".repeat(128), "        ", "ﬁﬁﬁﬁﬁﬁﬁﬁ", "x".repeat(20_000)];
    let count = 0;
    for (const password of passwords) {
      count += 1;
      await stage.signUp(`length${count}@example.com`, { password });
    }
    await stage.signIn("length15@example.com", { password: "fifififififififi" });
    await stage.signIn("length12@example.com", { password: "éééé" });
    await stage.signIn("length14@example.com", { password: "       " });
    await stage.signUp("length1@example.com", { password: "short", email: "bad" });
    await stage.signUp("length2@example.com", { password: "short" });
  }),

  scenario(
    "password-limits",
    {
      options: options({ emailAndPassword: { minPasswordLength: 4, maxPasswordLength: 6 } }),
      covers: [`${ENDPOINT}#PASSWORD_TOO_SHORT`, `${ENDPOINT}#PASSWORD_TOO_LONG`, `${ENDPOINT}@emailAndPassword.minPasswordLength`, `${ENDPOINT}@emailAndPassword.maxPasswordLength`, "POST /sign-in/email@emailAndPassword.maxPasswordLength", "POST /sign-in/email#PASSWORD_TOO_LONG"],
    },
    async (stage) => {
      for (const password of ["", "123", "1234", "123456", "1234567", "😀😀😀", "😀😀😀x"]) await stage.signUp("ada@example.com", { password });
      for (const password of ["", "12", "1234", "123456", "1234567"]) await stage.signIn("ada@example.com", { password });
    },
  ),

  scenario("disabled", { options: options({ emailAndPassword: { enabled: false } }), covers: [`${ENDPOINT}#EMAIL_PASSWORD_SIGN_UP_DISABLED`, `${ENDPOINT}@emailAndPassword.enabled`, "POST /sign-in/email#EMAIL_PASSWORD_DISABLED", "POST /sign-in/email@emailAndPassword.enabled"] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("ada@example.com", { password: "short" });
    await stage.signUp("bad");
    await stage.signUp("ada@example.com", { callbackURL: "http://evil.example" });
    await stage.signIn("ada@example.com");
    await stage.signIn("bad");
    await stage.signIn("ada@example.com", { password: 1 });
    await stage.get("/get-session");
    await stage.post("/sign-out");
  }),

  scenario("not-configured", { options: { baseURL: "http://localhost:3000", secret: "conformance-secret-0123456789-abcdefghijklmnop", emailAndPassword: { enabled: false, disableSignUp: false } } }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signIn("ada@example.com");
  }),

  scenario("sign-up-disabled", { options: options({ emailAndPassword: { disableSignUp: true } }), covers: [`${ENDPOINT}#EMAIL_PASSWORD_SIGN_UP_DISABLED`, `${ENDPOINT}@emailAndPassword.disableSignUp`] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("bad");
    await stage.signIn("ada@example.com");
  }),

  scenario("without-auto-sign-in", { options: options({ emailAndPassword: { autoSignIn: false } }), covers: [`${ENDPOINT}@emailAndPassword.autoSignIn`] }, async (stage) => {
    const first = await stage.signUp("Ada@example.com", { image: "i" });
    await stage.get("/get-session", { cookie: first.cookies });
    await stage.signUp("ada@example.com");
    await stage.signUp("ADA@example.com", { name: "Zoë", image: "https://example.com/i.png", rememberMe: false, emailVerified: true, id: "x" });
    await stage.signUp("ada@example.com", { image: "" });
    await stage.signUp("ada@example.com", { password: "short" });
    await stage.signUp("second@example.com", { rememberMe: false, callbackURL: "/x" });
    await stage.signIn("ada@example.com");
  }),

  scenario(
    "email-verification-required",
    { options: verification, covers: [`${ENDPOINT}@emailAndPassword.requireEmailVerification`, "POST /sign-in/email@emailAndPassword.requireEmailVerification", "POST /sign-in/email#EMAIL_NOT_VERIFIED", "POST /sign-in/email#INVALID_EMAIL_OR_PASSWORD"] },
    async (stage) => {
      await stage.signUp("ada@example.com", { callbackURL: "/welcome" });
      await stage.signUp("ada@example.com", { name: "Again" });
      await stage.signIn("ada@example.com");
      await stage.signIn("ada@example.com", { password: "wrong password" });
      await stage.signIn("ada@example.com", { callbackURL: "/home", rememberMe: false });
      await stage.sql(`UPDATE "user" SET "emailVerified" = 1`, `UPDATE "user" SET "emailVerified" = true`);
      const reply = await stage.signIn("ada@example.com");
      await stage.get("/get-session", { cookie: reply.cookies });
      await stage.signUp("ada@example.com");
    },
  ),

  scenario("verification-with-auto-sign-in", { options: options({ emailAndPassword: { requireEmailVerification: true, autoSignIn: true } }), covers: ["POST /sign-in/email#EMAIL_NOT_VERIFIED"] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("ada@example.com");
    await stage.signIn("ada@example.com");
  }),

  scenario("client-address-and-agent", { covers: [ENDPOINT, "POST /sign-in/email"] }, async (stage) => {
    const last = await stage.signUp("ada@example.com", {}, { headers: { "x-forwarded-for": "203.0.113.9", "user-agent": "agent/1" } });
    await stage.post("/sign-out", undefined, { cookie: last.cookies });
    const visit = async (headers: Header[]) => {
      const reply = await stage.signIn("ada@example.com", {}, { headers });
      await stage.post("/sign-out", undefined, { cookie: reply.cookies });
    };
    for (const address of ["203.0.113.9", " 203.0.113.9 ", "203.0.113.9:8080", "01.2.3.4", "1.2.3", "256.1.1.1", "unknown", "", "2001:DB8:1:2:3:4:5:6", "2001:db8::1", "::1", "::ffff:203.0.113.9", "[2001:db8::1]", "fe80::1%eth0", "203.0.113.9,", ",203.0.113.9", "::ffff:cb00:7109"]) {
      await visit([["x-forwarded-for", address]]);
    }
    await visit([["x-real-ip", "203.0.113.9"]]);
    await visit([["forwarded", "for=203.0.113.9"]]);
    await visit([["user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"]]);
    await visit([["user-agent", ""]]);
    await visit([["user-agent", "caf\u00e9 \u00ff"]]);
    await visit([["user-agent", "a\tb"]]);
    await visit([["user-agent", "x".repeat(4000)]]);
    await visit([["user-agent", "first"], ["user-agent", "second"]]);
  }),

  scenario("several-forwarded-hops", { covers: [ENDPOINT], differs: addressIs("127.0.0.1", (count) => (count < 3 ? "10.0.0.1" : "203.0.113.9")) }, async (stage) => {
    await stage.signUp("hops1@example.com", {}, { headers: [["x-forwarded-for", "203.0.113.9, 10.0.0.1"]] });
    await stage.signUp("hops2@example.com", {}, { headers: [["x-forwarded-for", "203.0.113.9"], ["x-forwarded-for", "10.0.0.1"]] });
    await stage.signUp("hops3@example.com", {}, { headers: [["x-forwarded-for", "203.0.113.9, 127.0.0.1"]] });
  }),

  scenario("not-forwarded-in-production", { environment: "production", covers: [ENDPOINT], differs: addressIs("", () => "127.0.0.1") }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.get("/get-session", { cookie: reply.cookies });
  }),

  scenario("not-forwarded-in-no-environment", { environment: "unset", covers: [ENDPOINT], differs: addressIs("", () => "127.0.0.1") }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("bad");
  }),

  scenario("production", { environment: "production", covers: [ENDPOINT] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", {}, { headers: FORWARDED });
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.signUp("ada@example.com");
    await stage.signUp("eve@example.com", { rememberMe: false }, { headers: { ...FORWARDED, "user-agent": "agent/1" } });
    await stage.signUp("bob@example.com", {}, { headers: { "x-forwarded-for": "2001:db8:a:b:c::1" } });
    await stage.signUp("bad");
  }),

  scenario("no-environment", { environment: "unset", covers: [ENDPOINT] }, async (stage) => {
    await stage.signUp("ada@example.com", {}, { headers: FORWARDED });
    await stage.signUp("bad");
  }),

  scenario("secure-cookies", { options: options({ baseURL: "https://auth.example.com", trustedOrigins: ["https://app.example.com"] }), covers: [`${ENDPOINT}@baseURL`, `${ENDPOINT}@trustedOrigins`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", { rememberMe: false }, { headers: { origin: "https://app.example.com" } });
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.get("/get-session", { cookie: reply.cookies.replaceAll("__Secure-", "") });
    await stage.signIn("ada@example.com", { callbackURL: "https://app.example.com/home" }, { cookie: reply.cookies });
    await stage.signUp("eve@example.com", {}, { headers: { origin: "http://auth.example.com" } });
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
  }),

  scenario("secure-cookies-forced", { options: options({ advanced: { useSecureCookies: true } }), covers: [`${ENDPOINT}@advanced.useSecureCookies`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com");
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
  }),

  scenario("secure-cookies-refused", { environment: "production", options: options({ baseURL: "https://auth.example.com", advanced: { useSecureCookies: false } }), covers: [`${ENDPOINT}@advanced.useSecureCookies`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", {}, { headers: FORWARDED });
    await stage.get("/get-session", { cookie: reply.cookies });
  }),

  scenario("cookie-prefix", { options: options({ advanced: { cookiePrefix: "my-app" } }), covers: [`${ENDPOINT}@advanced.cookiePrefix`] }, async (stage) => {
    const reply = await stage.signUp("ada@example.com", { rememberMe: false });
    await stage.get("/get-session", { cookie: reply.cookies });
    await stage.get("/get-session", { cookie: reply.cookies.replaceAll("my-app.", "better-auth.") });
    await stage.get("/get-session", { cookie: `${reply.cookies}; my-app.session_data=x; better-auth.session_data=y` });
    await stage.post("/sign-out", undefined, { cookie: reply.cookies });
  }),

  scenario("session-lifetime", { options: options({ session: { expiresIn: 3600, updateAge: 600 } }), covers: [`${ENDPOINT}@session.expiresIn`, "POST /sign-in/email@session.expiresIn"] }, async (stage) => {
    await stage.signUp("ada@example.com");
    await stage.signUp("eve@example.com", { rememberMe: false });
    await stage.signIn("ada@example.com");
    await stage.signIn("ada@example.com", { rememberMe: false });
  }),
]);
