/**
 * An HTTP/1.1 client that sends exactly the bytes it is given.
 *
 * `fetch` and `node:http` refuse or tidy up much of what a referee has to send: duplicate headers, a
 * missing content type, bytes outside ASCII, odd targets. One connection serves one request.
 */
import net from "node:net";
import type { Body, Header, RawRequest, RawResponse } from "./types.ts";

const TIMEOUT_MILLISECONDS = 20_000;

export function bodyBytes(body: Body): Buffer {
  if (body === null) return Buffer.alloc(0);
  return typeof body === "string" ? Buffer.from(body, "utf8") : Buffer.from(body.hex, "hex");
}

export function bodyFrom(bytes: Buffer): Body {
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : { hex: bytes.toString("hex") };
}

export async function exchange(port: number, host: string, request: RawRequest): Promise<RawResponse> {
  const has = (name: string) => request.headers.some(([key]) => key.toLowerCase() === name);
  const lines = [`${request.method} ${request.target} HTTP/1.1`];
  if (!has("host")) lines.push(`Host: ${host}`);
  for (const [name, value] of request.headers) lines.push(`${name}: ${value}`);
  let payload = bodyBytes(request.body);
  if (has("transfer-encoding")) {
    const size = Buffer.from(`${payload.length.toString(16)}\r\n`);
    const chunk = payload.length > 0 ? [size, payload, Buffer.from("\r\n")] : [];
    payload = Buffer.concat([...chunk, Buffer.from("0\r\n\r\n")]);
  } else if (!has("content-length") && (request.body !== null || request.method === "POST")) {
    lines.push(`Content-Length: ${payload.length}`);
  }
  if (!has("connection")) lines.push("Connection: close");
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  const raw = await roundTrip(port, Buffer.concat([head, payload]));
  return parseResponse(raw, request.method === "HEAD");
}

function roundTrip(port: number, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
    socket.setTimeout(TIMEOUT_MILLISECONDS, () => socket.destroy(new Error("no response in time")));
    socket.on("connect", () => socket.write(bytes));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error) => (chunks.length > 0 ? resolve(Buffer.concat(chunks)) : reject(error)));
    socket.on("end", () => resolve(Buffer.concat(chunks)));
  });
}

function parseResponse(raw: Buffer, headOnly: boolean): RawResponse {
  const split = raw.indexOf("\r\n\r\n");
  if (split < 0) throw new Error(`not an HTTP response: ${JSON.stringify(raw.toString("latin1").slice(0, 200))}`);
  const [statusLine = "", ...lines] = raw.subarray(0, split).toString("latin1").split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]);
  if (!Number.isInteger(status)) throw new Error(`bad status line: ${statusLine}`);
  const headers: Header[] = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const value = (name: string) => headers.find(([key]) => key === name)?.[1];
  let body = raw.subarray(split + 4);
  if (value("transfer-encoding")?.toLowerCase() === "chunked") body = unchunk(body);
  const announced = value("content-length");
  if (announced !== undefined && !headOnly && status !== 304 && Number(announced) !== body.length) {
    throw new Error(`content-length says ${announced}, the body has ${body.length} bytes`);
  }
  headers.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
  return { status, headers, body: body.length === 0 ? null : bodyFrom(body) };
}

function unchunk(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf("\r\n");
    if (end < 0) throw new Error("truncated chunked body");
    const size = Number.parseInt(rest.subarray(0, end).toString("latin1"), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(rest.subarray(end + 2, end + 2 + size));
    rest = rest.subarray(end + 2 + size + 2);
  }
}
