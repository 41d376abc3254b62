/**
 * Which option and which error code concerns which endpoint: the rows of the parity page.
 *
 * A scenario says which cells it covers; every cell that can be reached must be covered by one. An error code
 * is either upstream's registry entry or one of the texts that upstream writes at the place it throws.
 */
import { BASE_ERROR_CODES } from "better-auth";
import type { Area } from "./lib/scenario.ts";

export interface Cells {
  options: string[];
  codes: string[];
  /** Codes in the endpoint's source that no request can make it answer, and why. */
  unreachable: { [code: string]: string };
}

/** Codes upstream throws by literal, outside its registries. */
const LITERAL_CODES = ["BAD_REQUEST", "EMAIL_PASSWORD_DISABLED", "EMAIL_PASSWORD_SIGN_UP_DISABLED", "INTERNAL_SERVER_ERROR", "UNAUTHORIZED", "UNSUPPORTED_MEDIA_TYPE"];

const ORIGIN = ["MISSING_OR_NULL_ORIGIN", "INVALID_ORIGIN"];
const CALLBACKS = ["INVALID_CALLBACK_URL", "INVALID_REDIRECT_URL", "INVALID_ERROR_CALLBACK_URL", "INVALID_NEW_USER_CALLBACK_URL"];
const BODY = ["BAD_REQUEST", "UNSUPPORTED_MEDIA_TYPE", "VALIDATION_ERROR"];
const COOKIES = ["advanced.cookies", "advanced.defaultCookieAttributes", "advanced.crossSubDomainCookies"];
const WHEREVER_A_COOKIE_IS_SET = ["baseURL", "advanced.useSecureCookies", "advanced.cookiePrefix", ...COOKIES];
const COOKIE_CACHE = ["enabled", "maxAge", "strategy", "version"].map((option) => `session.cookieCache.${option}`);
const IDS = ["advanced.database.generateId"];
const CHECKS = ["trustedOrigins", "advanced.disableCSRFCheck", "advanced.disableOriginCheck"];
const LIMITS = ["rateLimit.enabled"];
const PATHS = ["disabledPaths", "advanced.skipTrailingSlashes"];
const TABLES = ["user", "session", "account", "verification"].flatMap((table) => [`${table}.modelName`, `${table}.fields`, `${table}.additionalFields`]);
const SESSIONS_ELSEWHERE = ["secondaryStorage", "session.storeSessionInDatabase", "session.preserveSessionInDatabase"];
/** What decides who carries a bearer token, or is told one. */
const BEARER = ["plugins.bearer", "plugins.bearer.requireSignature"];
const JWT = (...names: string[]) => names.map((name) => `plugins.jwt.${name}`);
const JWT_KEYS = JWT("jwks.remoteUrl", "jwks.keyPairConfig", "jwks.keyPairConfigs", "jwks.disablePrivateKeyEncryption", "jwks.rotationInterval", "jwks.gracePeriod", "disableSettingJwtHeader", "sessionCookieCache", "schema");
const WHEN_THE_DATABASE_FAILS = "only when the database fails";

export const CELLS: { [endpoint: string]: Cells } = {
  "GET /ok": {
    options: [
      "baseURL",
      "basePath",
      ...PATHS,
      "rateLimit.enabled",
      "rateLimit.window",
      "rateLimit.max",
      "rateLimit.storage",
      "rateLimit.modelName",
      "rateLimit.fields",
      "rateLimit.customRules",
      "advanced.ipAddress.ipAddressHeaders",
      "advanced.ipAddress.ipv6Subnet",
      "advanced.ipAddress.disableIpTracking",
    ],
    codes: [],
    unreachable: {},
  },
  "GET /error": { options: ["basePath", "onAPIError.errorURL", "disabledPaths"], codes: [], unreachable: {} },
  "POST /sign-up/email": {
    options: [
      "plugins.bearer",
      "secrets",
      ...WHEREVER_A_COOKIE_IS_SET,
      ...CHECKS,
      "emailAndPassword.enabled",
      "emailAndPassword.disableSignUp",
      "emailAndPassword.requireEmailVerification",
      "emailAndPassword.minPasswordLength",
      "emailAndPassword.maxPasswordLength",
      "emailAndPassword.autoSignIn",
      "session.expiresIn",
      ...PATHS,
      ...LIMITS,
      "rateLimit.customRules",
      "advanced.ipAddress.ipAddressHeaders",
      "advanced.ipAddress.ipv6Subnet",
      "advanced.ipAddress.disableIpTracking",
      ...COOKIE_CACHE,
      ...TABLES,
      ...IDS,
      ...SESSIONS_ELSEWHERE,
      "verification.storeIdentifier",
      "verification.storeInDatabase",
    ],
    codes: [
      ...BODY,
      ...ORIGIN,
      ...CALLBACKS,
      "CROSS_SITE_NAVIGATION_LOGIN_BLOCKED",
      "MISSING_FIELD",
      "FIELD_NOT_ALLOWED",
      "EMAIL_PASSWORD_SIGN_UP_DISABLED",
      "PASSWORD_TOO_SHORT",
      "PASSWORD_TOO_LONG",
      "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
      "FAILED_TO_CREATE_USER",
    ],
    unreachable: {
      INVALID_EMAIL: "the schema refuses the address first, with VALIDATION_ERROR",
      INVALID_PASSWORD: "the schema refuses the password first, with VALIDATION_ERROR",
      FAILED_TO_CREATE_SESSION: WHEN_THE_DATABASE_FAILS,
    },
  },
  "POST /sign-in/email": {
    options: [
      "plugins.bearer",
      "secrets",
      ...CHECKS,
      ...COOKIES,
      "emailAndPassword.enabled",
      "emailAndPassword.requireEmailVerification",
      "emailAndPassword.maxPasswordLength",
      "session.expiresIn",
      ...PATHS,
      ...LIMITS,
      "rateLimit.customRules",
      "rateLimit.storage",
      ...COOKIE_CACHE,
      ...IDS,
      ...SESSIONS_ELSEWHERE,
    ],
    codes: [
      ...BODY,
      ...ORIGIN,
      ...CALLBACKS,
      "CROSS_SITE_NAVIGATION_LOGIN_BLOCKED",
      "EMAIL_PASSWORD_DISABLED",
      "INVALID_EMAIL",
      "PASSWORD_TOO_LONG",
      "INVALID_EMAIL_OR_PASSWORD",
      "EMAIL_NOT_VERIFIED",
    ],
    unreachable: { FAILED_TO_CREATE_SESSION: WHEN_THE_DATABASE_FAILS },
  },
  "POST /sign-out": {
    options: ["baseURL", "secrets", ...BEARER, ...CHECKS, "emailAndPassword.enabled", ...PATHS, ...LIMITS, "rateLimit.max", "rateLimit.customRules", ...COOKIES, "session.cookieCache.enabled", ...SESSIONS_ELSEWHERE],
    codes: [...BODY, ...ORIGIN, ...CALLBACKS],
    unreachable: {},
  },
  "GET /get-session": {
    options: ["baseURL", "secrets", "plugins.jwt", ...JWT("disableSettingJwtHeader", "sessionCookieCache"), ...BEARER, "session.expiresIn", "session.updateAge", "session.disableSessionRefresh", "session.deferSessionRefresh", ...PATHS, ...LIMITS, "rateLimit.window", "rateLimit.max", "rateLimit.storage", "rateLimit.customRules", ...COOKIES, ...COOKIE_CACHE, "session.cookieCache.refreshCache", ...IDS, ...SESSIONS_ELSEWHERE],
    codes: [],
    unreachable: { FAILED_TO_GET_SESSION: "only when the database fails, or upstream cannot decode a cookie", VALIDATION_ERROR: "every query value is accepted as a boolean" },
  },
  "POST /get-session": {
    options: ["session.deferSessionRefresh", "session.disableSessionRefresh", ...PATHS, ...COOKIE_CACHE, ...IDS],
    codes: ["METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED", ...ORIGIN, "INVALID_CALLBACK_URL"],
    unreachable: { FAILED_TO_GET_SESSION: WHEN_THE_DATABASE_FAILS },
  },
  "GET /list-sessions": {
    options: ["plugins.bearer", "session.freshAge", "session.expiresIn", "session.updateAge", "session.deferSessionRefresh", ...COOKIE_CACHE, ...IDS, ...SESSIONS_ELSEWHERE],
    codes: ["UNAUTHORIZED", "SESSION_NOT_FRESH"],
    unreachable: { INTERNAL_SERVER_ERROR: WHEN_THE_DATABASE_FAILS },
  },
  "POST /revoke-session": {
    options: ["baseURL", "session.updateAge", "session.deferSessionRefresh", ...COOKIE_CACHE, ...IDS, ...SESSIONS_ELSEWHERE],
    codes: [...BODY, ...ORIGIN, "INVALID_CALLBACK_URL", "UNAUTHORIZED"],
    unreachable: { INTERNAL_SERVER_ERROR: WHEN_THE_DATABASE_FAILS },
  },
  "POST /revoke-sessions": {
    options: ["baseURL", "session.updateAge", ...COOKIE_CACHE, ...IDS, ...SESSIONS_ELSEWHERE],
    codes: ["BAD_REQUEST", "UNSUPPORTED_MEDIA_TYPE", ...ORIGIN, "INVALID_CALLBACK_URL", "UNAUTHORIZED"],
    unreachable: { INTERNAL_SERVER_ERROR: WHEN_THE_DATABASE_FAILS },
  },
  "POST /revoke-other-sessions": {
    options: ["baseURL", "session.updateAge", ...COOKIE_CACHE, ...IDS, ...SESSIONS_ELSEWHERE],
    codes: ["BAD_REQUEST", "UNSUPPORTED_MEDIA_TYPE", ...ORIGIN, "INVALID_CALLBACK_URL", "UNAUTHORIZED"],
    unreachable: {},
  },
  "POST /change-password": {
    options: [
      "plugins.bearer",
      "baseURL",
      "emailAndPassword.minPasswordLength",
      "emailAndPassword.maxPasswordLength",
      "session.expiresIn",
      "session.updateAge",
      ...COOKIE_CACHE,
      ...IDS,
      ...SESSIONS_ELSEWHERE,
    ],
    codes: [
      ...BODY,
      ...ORIGIN,
      "INVALID_CALLBACK_URL",
      "UNAUTHORIZED",
      "PASSWORD_TOO_SHORT",
      "PASSWORD_TOO_LONG",
      "CREDENTIAL_ACCOUNT_NOT_FOUND",
      "INVALID_PASSWORD",
    ],
    unreachable: { FAILED_TO_GET_SESSION: WHEN_THE_DATABASE_FAILS },
  },
  "POST /verify-password": {
    options: ["emailAndPassword.maxPasswordLength", "session.updateAge", ...COOKIE_CACHE, ...IDS],
    codes: [...BODY, ...ORIGIN, "INVALID_CALLBACK_URL", "UNAUTHORIZED", "PASSWORD_TOO_LONG", "INVALID_PASSWORD"],
    unreachable: {},
  },
  "GET /list-accounts": { options: ["session.updateAge", ...COOKIE_CACHE, ...IDS], codes: ["UNAUTHORIZED"], unreachable: {} },
  "POST /unlink-account": {
    options: ["account.accountLinking.allowUnlinkingAll", "session.freshAge", "session.updateAge", ...COOKIE_CACHE, ...IDS],
    codes: [
      ...BODY,
      ...ORIGIN,
      "INVALID_CALLBACK_URL",
      "UNAUTHORIZED",
      "SESSION_NOT_FRESH",
      "ACCOUNT_NOT_FOUND",
      "FAILED_TO_UNLINK_LAST_ACCOUNT",
    ],
    unreachable: {},
  },
  "POST /update-user": {
    options: ["plugins.bearer", "user.additionalFields", "session.updateAge", ...COOKIE_CACHE, ...IDS, ...SESSIONS_ELSEWHERE],
    codes: [...BODY, ...ORIGIN, ...CALLBACKS, "UNAUTHORIZED", "EMAIL_CAN_NOT_BE_UPDATED", "FIELD_NOT_ALLOWED"],
    unreachable: { BODY_MUST_BE_AN_OBJECT: "the schema refuses the body first, with VALIDATION_ERROR" },
  },
  "GET /token": {
    options: ["baseURL", "secrets", ...JWT_KEYS, ...JWT("jwt.issuer", "jwt.audience", "jwt.expirationTime"), ...BEARER, "session.expiresIn", "session.updateAge", "session.deferSessionRefresh", "user.additionalFields", ...PATHS, ...["enabled", "maxAge", "strategy"].map((option) => `session.cookieCache.${option}`), ...IDS],
    codes: ["UNAUTHORIZED"],
    unreachable: {},
  },
  "GET /jwks": { options: ["secrets", ...JWT_KEYS, "plugins.jwt.jwks.jwksPath", ...PATHS, ...IDS], codes: [], unreachable: {} },
  "POST /update-session": {
    options: ["session.additionalFields", "session.updateAge", ...COOKIE_CACHE, ...IDS, ...SESSIONS_ELSEWHERE],
    codes: [...BODY, ...ORIGIN, ...CALLBACKS, "UNAUTHORIZED", "FIELD_NOT_ALLOWED"],
    unreachable: {
      BODY_MUST_BE_AN_OBJECT: "the schema refuses the body first, with VALIDATION_ERROR",
      FAILED_TO_GET_SESSION: "only when the session ends between two statements",
    },
  },
};

export function cellNames(endpoint: string, cells: Cells): string[] {
  return [...cells.options.map((option) => `${endpoint}@${option}`), ...cells.codes.map((code) => `${endpoint}#${code}`)];
}

/** What is wrong with the table itself, or with what scenarios say about it. */
export function checkCells(areas: Area[]): string[] {
  const problems: string[] = [];
  const known = new Set<string>([...Object.keys(BASE_ERROR_CODES), ...LITERAL_CODES]);
  const covered = new Set(areas.flatMap(({ scenarios }) => scenarios.flatMap(({ covers }) => covers)));
  const named = new Set<string>();
  for (const [endpoint, cells] of Object.entries(CELLS)) {
    named.add(endpoint);
    for (const code of [...cells.codes, ...Object.keys(cells.unreachable)]) {
      if (!known.has(code)) problems.push(`cells.ts: ${code} is no error code of upstream's`);
    }
    for (const cell of [endpoint, ...cellNames(endpoint, cells)]) {
      named.add(cell);
      if (!covered.has(cell) && cell !== endpoint) problems.push(`cells.ts: no scenario covers ${cell}`);
    }
  }
  for (const { area, scenarios } of areas) {
    for (const { name, covers } of scenarios) {
      for (const cell of covers) if (!named.has(cell)) problems.push(`${area}/${name} covers ${cell}, which is not in cells.ts`);
    }
  }
  return problems;
}
