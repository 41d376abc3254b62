/**
 * The keys that sign tokens, as they stand in the rows, and what they sign.
 *
 * Independent of both servers on purpose: node:crypto and nothing of upstream's. What does not hold in every respect
 * (a member that is not base64url or has the wrong length, a private key that does not open or is another one's, a
 * signature) is passed over here, stays as it is, and so shows up as a difference.
 */
import { constants, createCipheriv, createDecipheriv, createHash, createPrivateKey, createPublicKey, type KeyObject, verify } from "node:crypto";
import type { Options, Row, Tables } from "./types.ts";

type Jwk = { [member: string]: string };

/** How each algorithm signs; the lengths of what is in its public keys, in characters. */
interface Algorithm {
  kind: { [member: string]: string };
  lengths: { [member: string]: number };
  verify: (data: Buffer, key: KeyObject, signature: Buffer) => boolean;
}

const ecdsa = (hash: string) => (data: Buffer, key: KeyObject, signature: Buffer) => verify(hash, data, { key, dsaEncoding: "ieee-p1363" }, signature);
const rsa = (padding: number) => (data: Buffer, key: KeyObject, signature: Buffer) =>
  verify("sha256", data, { key, padding, ...(padding === constants.RSA_PKCS1_PSS_PADDING ? { saltLength: 32 } : {}) }, signature);

const ALGORITHMS: { [alg: string]: Algorithm } = {
  EdDSA: { kind: { kty: "OKP", crv: "Ed25519" }, lengths: { x: 43 }, verify: (data, key, signature) => verify(null, data, key, signature) },
  ES256: { kind: { kty: "EC", crv: "P-256" }, lengths: { x: 43, y: 43 }, verify: ecdsa("sha256") },
  ES512: { kind: { kty: "EC", crv: "P-521" }, lengths: { x: 88, y: 88 }, verify: ecdsa("sha512") },
  RS256: { kind: { kty: "RSA", e: "AQAB" }, lengths: {}, verify: rsa(constants.RSA_PKCS1_PADDING) },
  PS256: { kind: { kty: "RSA", e: "AQAB" }, lengths: {}, verify: rsa(constants.RSA_PKCS1_PSS_PADDING) },
};

const PUBLIC = ["x", "y", "n"];
const PRIVATE = ["d", "p", "q", "dp", "dq", "qi"];
/** Three parts, of which the first is JSON. */
const TOKEN = /(?<![\w.-])eyJ[\w-]+\.[\w-]+\.[\w-]+(?![\w.-])/g;

const isCanonical = (part: string) => Buffer.from(part, "base64url").toString("base64url") === part;
const text = (part: string) => Buffer.from(part, "base64url").toString("utf8");

export interface SigningKey {
  kid: string;
  alg: string;
  /** What is random in the public part, by its name. */
  public: Jwk;
  /** What is random in the private part; empty if it does not belong to the public one. */
  private: Jwk;
  /** The private part as it was written before it was encrypted. */
  written: string;
  /** What stands in the row for it, if it is encrypted. */
  encrypted?: string;
}

export interface Token {
  header: string;
  payload: string;
}

/** Every text of the answer that looks like a token. */
export const tokensIn = (answer: string): string[] => answer.match(TOKEN) ?? [];

/** What everybody is told of the keys, as a row would hold it. */
export function toldKeys(keys: { [member: string]: string }[]): Tables {
  return { jwks: keys.map(({ kid = "", alg = "", ...jwk }) => ({ id: kid, alg, publicKey: JSON.stringify(jwk) })) };
}

export class KeyRing {
  private readonly known = new Map<string, { row: string; alg: string; key: KeyObject }>();
  private readonly secrets: Map<number | undefined, string>;
  private readonly alg: string;

  constructor(options: Options) {
    const { secret, secrets, plugins } = options as { secret?: string; secrets?: { version: number; value: string }[]; plugins?: { jwt?: { jwks?: { keyPairConfig?: { alg?: string } } } } };
    // Without versions the one secret is used, and with them it opens what was written before there were any.
    this.secrets = new Map([...(secrets ?? []).map(({ version, value }): [number, string] => [version, value]), ...(secret !== undefined ? [[undefined, secret] as const] : [])]);
    this.alg = plugins?.jwt?.jwks?.keyPairConfig?.alg ?? "EdDSA";
  }

  /** The keys in the rows that are new, or not what they were, in the order in which they were made. */
  learn(tables: Tables): SigningKey[] {
    const found: { key: SigningKey; made: string }[] = [];
    for (const row of Object.values(tables).flat()) {
      const jwks = Object.entries(row).flatMap(([column, value]) => {
        const jwk = typeof value === "string" ? jwkIn(value) : undefined;
        return jwk ? [{ column, jwk, written: String(value) }] : [];
      });
      const open = jwks.find(({ jwk }) => jwk.d === undefined);
      if (!open) continue;
      const kid = String(row.id);
      const said = JSON.stringify(row);
      if (this.known.get(kid)?.row === said) continue;
      const alg = Object.values(row).find((value) => typeof value === "string" && ALGORITHMS[value] !== undefined) ?? this.alg;
      const key = publicKey(open.jwk, String(alg));
      if (!key) continue;
      this.known.set(kid, { row: said, alg: String(alg), key });
      const plain = jwks.find(({ jwk }) => jwk.d !== undefined);
      const secret = plain ? { written: plain.written } : this.decrypted(row);
      const own = secret && privatePart(secret.written, open.jwk, key) ? pick(jwkIn(secret.written) ?? {}, PRIVATE) : {};
      const made = Object.values(row).find((value) => typeof value === "string" && /^\d{4}-\d{2}-\d{2}[T ]/.test(value));
      found.push({ key: { kid, alg: String(alg), public: pick(open.jwk, PUBLIC), private: own, written: "", ...secret }, made: String(made) });
    }
    return found.sort((left, right) => (left.made < right.made ? -1 : left.made > right.made ? 1 : 0)).map(({ key }) => key);
  }

  /** What the token says, if one of the keys has signed it, with its own algorithm. */
  open(token: string): Token | undefined {
    const parts = token.split(".");
    const [header = "", payload = "", signature = ""] = parts;
    if (parts.length !== 3 || !parts.every(isCanonical)) return undefined;
    const { alg, kid } = (parsed(text(header)) ?? {}) as { alg?: unknown; kid?: unknown };
    const signer = typeof kid === "string" ? this.known.get(kid) : undefined;
    if (!signer || signer.alg !== alg) return undefined;
    const holds = ALGORITHMS[signer.alg]?.verify(Buffer.from(`${header}.${payload}`), signer.key, Buffer.from(signature, "base64url"));
    return holds ? { header: text(header), payload: text(payload) } : undefined;
  }

  /** A JSON text that holds what the secret has encrypted, in hexadecimal digits, after the version of the secret if there are several. */
  private decrypted(row: Row): { written: string; encrypted: string } | undefined {
    for (const value of Object.values(row)) {
      const [, version, encrypted = ""] = /^"(?:\$ba\$(\d+)\$)?([0-9a-f]{82,})"$/.exec(String(value)) ?? [];
      const secret = this.secrets.get(version === undefined ? undefined : Number(version));
      if (encrypted === "" || secret === undefined) continue;
      const written = opened(Buffer.from(encrypted, "hex"), secret);
      if (written !== undefined) return { written, encrypted };
    }
    return undefined;
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function jwkIn(value: string): Jwk | undefined {
  if (!value.startsWith("{")) return undefined;
  const found = parsed(value);
  const isJwk = typeof found === "object" && found !== null && "kty" in found && Object.values(found).every((member) => typeof member === "string");
  return isJwk ? (found as Jwk) : undefined;
}

const pick = (jwk: Jwk, members: string[]): Jwk => Object.fromEntries(Object.entries(jwk).filter(([member]) => members.includes(member)));

function publicKey(jwk: Jwk, alg: string): KeyObject | undefined {
  const algorithm = ALGORITHMS[alg];
  if (!algorithm) return undefined;
  const isOfKind = Object.entries(algorithm.kind).every(([member, value]) => jwk[member] === value);
  const random = pick(jwk, PUBLIC);
  const isOfLength = Object.entries(random).every(([member, value]) => isCanonical(value) && (algorithm.lengths[member] ?? modulus(value)) === value.length);
  if (!isOfKind || !isOfLength) return undefined;
  try {
    return createPublicKey({ key: jwk, format: "jwk" });
  } catch {
    return undefined;
  }
}

/** Of whole bytes without zeros before them, in number a multiple of 32, the characters. */
function modulus(value: string): number {
  const bytes = Buffer.from(value, "base64url");
  return (bytes[0] ?? 0) >= 0x80 && bytes.length >= 256 && bytes.length % 32 === 0 ? Math.ceil((bytes.length * 4) / 3) : -1;
}

/** Whether it is the public part with what is private besides, and nothing else. */
function privatePart(written: string, open: Jwk, key: KeyObject): boolean {
  const jwk = jwkIn(written);
  if (!jwk || !Object.values(pick(jwk, PRIVATE)).every(isCanonical)) return false;
  const rest = Object.entries(jwk).filter(([member]) => !PRIVATE.includes(member));
  if (JSON.stringify(rest) !== JSON.stringify(Object.entries(open))) return false;
  try {
    return createPublicKey(createPrivateKey({ key: jwk, format: "jwk" })).equals(key);
  } catch {
    return false;
  }
}

/** XChaCha20-Poly1305: 24 bytes that are used once, what is encrypted, and 16 bytes that prove it. */
function opened(bytes: Buffer, secret: string): string | undefined {
  const key = createHash("sha256").update(secret, "utf8").digest();
  const nonce = Buffer.concat([Buffer.alloc(4), bytes.subarray(16, 24)]);
  const decipher = createDecipheriv("chacha20-poly1305", hchacha20(key, bytes.subarray(0, 16)), nonce, { authTagLength: 16 });
  decipher.setAuthTag(bytes.subarray(-16));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(24, -16)), decipher.final()]).toString("utf8");
  } catch {
    return undefined;
  }
}

/** HChaCha20 is the first block of ChaCha20 before its beginning is added to it; of that, the first and the last 16 bytes. */
function hchacha20(key: Buffer, input: Buffer): Buffer {
  const block = createCipheriv("chacha20", key, input).update(Buffer.alloc(64));
  const without = (from: number, beginning: Buffer) => {
    const words = Buffer.alloc(16);
    for (let at = 0; at < 16; at += 4) words.writeUInt32LE((block.readUInt32LE(from + at) - beginning.readUInt32LE(at)) >>> 0, at);
    return words;
  };
  return Buffer.concat([without(0, Buffer.from("expand 32-byte k")), without(48, input)]);
}
