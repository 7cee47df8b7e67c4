// What the relay asks of a frame, a token and a sender. Written for speed, by hand: a schema
// validator would be slower, and the peers are to be measured at their best.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

export const limits = {
  port: Number(process.env.PORT),
  roomMax: Number(process.env.ROOM_MAX_PARTICIPANTS ?? 10),
  roomTtlMs: 600_000,
  maxFrameBytes: 262_144,
  maxTextBytes: 65_536,
  framesPer10s: Number(process.env.MAX_MSGS_PER_10S ?? 200),
  bytesPer10s: Number(process.env.MAX_BYTES_PER_10S ?? 1_048_576),
  slowBytes: 524_288,
  pingMs: 30_000,
};

export const tls = process.env.TLS_CERT_FILE
  ? {
      cert: readFileSync(process.env.TLS_CERT_FILE),
      key: readFileSync(process.env.TLS_KEY_FILE),
    }
  : null;

const secret = process.env.JOIN_TOKEN_SECRET;
const base64 = /^[A-Za-z0-9+/_-]+={0,2}$/;

export class Refusal extends Error {
  constructor(code, retryable = false) {
    super(code);
    this.code = code;
    this.retryable = retryable;
  }
}

// A token bucket that refills smoothly.
export class Bucket {
  constructor(per10s) {
    this.room = per10s;
    this.left = per10s;
    this.at = performance.now();
  }

  take(amount) {
    const now = performance.now();
    this.left = Math.min(this.room, this.left + ((now - this.at) * this.room) / 10_000);
    this.at = now;
    this.left -= amount;
    return this.left >= 0;
  }
}

export function isFrame(frame) {
  return (
    frame !== null &&
    typeof frame === "object" &&
    frame.v === 1 &&
    typeof frame.t === "string" &&
    typeof frame.id === "string" &&
    frame.id.length >= 8 &&
    frame.id.length <= 256 &&
    frame.body !== null &&
    typeof frame.body === "object"
  );
}

export function checkText(text) {
  if (typeof text !== "string" || text.length === 0 || !base64.test(text))
    throw new Refusal("ERR_INVALID_MESSAGE");
  if (text.length > limits.maxTextBytes) throw new Refusal("ERR_CIPHERTEXT_TOO_LARGE");
}

export function sign(claims) {
  const text = Buffer.from(JSON.stringify(claims));
  const mac = createHmac("sha256", secret).update(text).digest();
  return `${text.toString("base64url")}.${mac.toString("base64url")}`;
}

// Format, MAC, room, expiry; the replay check is the room state's.
export function verify(token, roomId) {
  const [text, mac, more] = typeof token === "string" ? token.split(".") : [];
  if (!text || !mac || more !== undefined) throw new Refusal("ERR_TOKEN_FORMAT", true);
  const bytes = Buffer.from(text, "base64url");
  const due = createHmac("sha256", secret).update(bytes).digest();
  const given = Buffer.from(mac, "base64url");
  if (given.length !== due.length || !timingSafeEqual(given, due))
    throw new Refusal("ERR_TOKEN_MAC", true);
  const claims = JSON.parse(bytes.toString());
  if (claims.rid !== roomId) throw new Refusal("ERR_TOKEN_ROOM_MISMATCH");
  if (!(claims.exp > Date.now())) throw new Refusal("ERR_TOKEN_EXPIRED", true);
  return claims;
}
