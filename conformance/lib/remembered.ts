/**
 * Reads what a cookie remembers of a session, whichever way it is written, and only if the secret made it.
 *
 * Independent of both servers on purpose: node:crypto and nothing of upstream's.
 */
import { createDecipheriv, createHash, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

const text = (part: string) => Buffer.from(part, "base64url").toString("utf8");
const isCanonical = (part: string) => Buffer.from(part, "base64url").toString("base64url") === part;
const equal = (left: Buffer, right: Buffer) => left.length === right.length && timingSafeEqual(left, right);

/** The way it is written and the text it holds, or `undefined`. */
export function remembered(value: string, secret: string): string | undefined {
  if (!value.split(".").every(isCanonical)) return undefined;
  try {
    return compact(value, secret) ?? jwt(value, secret) ?? jwe(value, secret);
  } catch {
    return undefined;
  }
}

function compact(value: string, secret: string): string | undefined {
  if (value.includes(".")) return undefined;
  const [, whole = "", payload = "", expires = "", signature = ""] = /^(\{"session":(\{.*\}),"expiresAt":(\d+)),"signature":"([\w-]+)"\}$/s.exec(text(value)) ?? [];
  const right = createHmac("sha256", secret).update(`${payload.slice(0, -1)},"expiresAt":${expires}}`).digest();
  return equal(right, Buffer.from(signature, "base64url")) ? `compact ${whole}}` : undefined;
}

function jwt(value: string, secret: string): string | undefined {
  const [header = "", payload = "", signature = "", ...rest] = value.split(".");
  const right = createHmac("sha256", secret).update(`${header}.${payload}`).digest();
  return rest.length === 0 && equal(right, Buffer.from(signature, "base64url")) ? `jwt ${text(header)} ${text(payload)}` : undefined;
}

function jwe(value: string, secret: string): string | undefined {
  const parts = value.split(".");
  const [header = "", encryptedKey, iv = "", encrypted = "", tag = ""] = parts;
  if (parts.length !== 5 || encryptedKey !== "") return undefined;
  const key = Buffer.from(hkdfSync("sha256", secret, "better-auth-session", "BetterAuth.js Generated Encryption Key", 64));
  const bits = Buffer.alloc(8);
  bits.writeUInt32BE(header.length * 8, 4);
  const mac = createHmac("sha512", key.subarray(0, 32));
  for (const part of [header, Buffer.from(iv, "base64url"), Buffer.from(encrypted, "base64url"), bits]) mac.update(part);
  if (!equal(mac.digest().subarray(0, 32), Buffer.from(tag, "base64url"))) return undefined;
  const cipher = createDecipheriv("aes-256-cbc", key.subarray(32), Buffer.from(iv, "base64url"));
  const plain = Buffer.concat([cipher.update(Buffer.from(encrypted, "base64url")), cipher.final()]).toString("utf8");
  const thumbprint = createHash("sha256").update(`{"k":"${key.toString("base64url")}","kty":"oct"}`).digest("base64url");
  return `jwe ${text(header).replace(thumbprint, "<thumbprint>")} ${plain}`;
}
