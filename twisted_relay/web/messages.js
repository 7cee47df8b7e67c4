// @ts-check
/** What members say to each other, inside the ciphertext. */

import { countOf, isObject, textOf } from "./frames.js";
import { plainRoom } from "./cipher.js";

export const MESSAGE_CONTEXT = "chat:v1";
const ENVELOPE_BYTES = 2048; // what a frame takes beside its payload, with room to spare
const FRACTION_TO_SEARCH = 0.2;
const utf8 = new TextEncoder();

/**
 * @typedef {object} TextMessage
 * @property {"text"} type
 * @property {string} id
 * @property {number} ts Unix milliseconds, by the sender's clock
 * @property {string} from the name that the sender gives to itself
 * @property {string} text
 */

/**
 * @typedef {object} FileMessage announces a file whose pieces follow
 * @property {"file"} type
 * @property {string} id
 * @property {number} ts
 * @property {string} from
 * @property {string} mediaId
 * @property {string} name
 * @property {string} mime
 * @property {number} size bytes of the whole file
 * @property {string} sha256 of its content, lower-case hex
 */

/** What was decrypted is no message of this format. */
export class UnknownMessage extends Error {}

/**
 * @param {TextMessage | FileMessage} message
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeMessage(message) {
  return utf8.encode(JSON.stringify(message));
}

/**
 * @param {Uint8Array} plain
 * @returns {TextMessage | FileMessage}
 * @throws {UnknownMessage}
 */
export function decodeMessage(plain) {
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain));
  } catch {
    throw new UnknownMessage("no message");
  }
  if (!isObject(value)) throw new UnknownMessage("no message");
  const head = { id: textOf(value.id), ts: countOf(value.ts), from: textOf(value.from) };
  if (value.type === "text" && typeof value.text === "string") {
    return { type: "text", ...head, text: value.text };
  }
  if (value.type === "file" && textOf(value.mediaId) && countOf(value.size)) {
    const { mediaId, name, mime, size, sha256 } = value;
    return {
      type: "file",
      ...head,
      mediaId: textOf(mediaId),
      name: textOf(name),
      mime: textOf(mime),
      size: countOf(size),
      sha256: textOf(sha256),
    };
  }
  throw new UnknownMessage("a message of a kind that this page does not know");
}

/**
 * Cut a text so that each part, sealed, is within the relay's limits.
 * @param {string} text
 * @param {string} from
 * @param {{maxAppCiphertextBytes: number, maxWsMsgBytes: number}} limits
 * @returns {string[]} together they are the text
 * @throws {RangeError} if the limits leave no room at all
 */
export function splitText(text, from, limits) {
  const characters = Math.min(limits.maxAppCiphertextBytes, limits.maxWsMsgBytes - ENVELOPE_BYTES);
  const empty = { type: "text", id: "x".repeat(22), ts: Number.MAX_SAFE_INTEGER, from, text: "" };
  const room = plainRoom(characters) - encodeMessage(/** @type {TextMessage} */ (empty)).length;
  const parts = [];
  let rest = text;
  while (rest) {
    const length = fitting(rest, room);
    if (!length) throw new RangeError("the relay allows no message of this length");
    const cut = length < rest.length ? atBlank(rest, length) : length;
    parts.push(rest.slice(0, cut));
    rest = rest.slice(cut);
  }
  return parts;
}

/**
 * @param {string} text
 * @param {number} room bytes
 * @returns {number} how many UTF-16 units of the text fit, by whole characters
 */
function fitting(text, room) {
  let used = 0;
  let length = 0;
  for (const character of text) {
    const escaped = JSON.stringify(character);
    used += utf8.encode(escaped).length - 2;
    if (used > room) return length;
    length += character.length;
  }
  return length;
}

/**
 * @param {string} text
 * @param {number} length
 * @returns {number} a place shortly before, after a line end or a blank, if there is one
 */
function atBlank(text, length) {
  const earliest = Math.floor(length * (1 - FRACTION_TO_SEARCH));
  for (const blank of ["\n", " "]) {
    const at = text.lastIndexOf(blank, length - 1);
    if (at >= earliest) return at + 1;
  }
  return length;
}
