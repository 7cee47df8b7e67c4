// @ts-check
/** Pictures and files as pieces: how they are cut, bound to their place, and put together. */

import { sealedLength } from "./cipher.js";
import { countOf } from "./frames.js";

export const LARGEST_FILE = 10_485_760; // bytes
export const OCTETS = "application/octet-stream";
const LARGEST_CHUNK = 131_072;
const UNIT = 1024;
const ENVELOPE_BYTES = 2048;
const PUNCTUATION = 3; // quotes and comma around each piece in the frame

/** Only these are shown; a browser draws them without running anything. */
const PICTURES = {
  "image/png": [[0, "\x89PNG\r\n\x1a\n"]],
  "image/jpeg": [[0, "\xff\xd8\xff"]],
  "image/gif": [[0, "GIF8"]],
  "image/webp": [
    [0, "RIFF"],
    [8, "WEBP"],
  ],
  "image/avif": [[4, "ftyp"]],
};

/**
 * @param {string} mime
 * @returns {boolean} whether it is one of the five types of pictures
 */
export function isPictureType(mime) {
  return Object.hasOwn(PICTURES, mime);
}

/**
 * @param {string} mime
 * @param {Uint8Array} content
 * @returns {boolean} whether it is a picture, by its type and by how it begins
 */
export function isPicture(mime, content) {
  if (!isPictureType(mime)) return false;
  const signature = PICTURES[/** @type {keyof typeof PICTURES} */ (mime)];
  return signature.every(([at, mark]) =>
    Array.from(String(mark)).every(
      (character, offset) => content[Number(at) + offset] === character.charCodeAt(0),
    ),
  );
}

/**
 * The additional data that binds a piece to its place in the whole.
 * @param {number} index
 * @param {number} length bytes of the piece
 */
export function pieceContext(index, length) {
  return `media:v1|${index}|${length}`;
}

/**
 * @param {number} maxWsMsgBytes the relay's limit of a frame
 * @returns {number} bytes of a piece
 * @throws {RangeError} if the relay allows no media
 */
export function chunkSizeFor(maxWsMsgBytes) {
  const fitting = ((maxWsMsgBytes - ENVELOPE_BYTES) * 3) / 4 - 28;
  const size = Math.min(LARGEST_CHUNK, Math.floor(fitting / UNIT) * UNIT);
  if (size < UNIT) throw new RangeError("this relay allows no files");
  return size;
}

/**
 * @param {number} size
 * @param {number} chunkSize
 * @param {number} maxWsMsgBytes
 * @returns {boolean} whether all pieces fit one frame
 */
export function fitsOneFrame(size, chunkSize, maxWsMsgBytes) {
  let characters = 0;
  for (let at = 0; at < size; at += chunkSize) {
    characters += sealedLength(Math.min(chunkSize, size - at)) + PUNCTUATION;
  }
  return characters + ENVELOPE_BYTES <= maxWsMsgBytes;
}

/**
 * @param {Uint8Array<ArrayBuffer>} content
 * @param {number} chunkSize
 * @returns {Uint8Array<ArrayBuffer>[]} all chunkSize long but the last
 */
export function cut(content, chunkSize) {
  const pieces = [];
  for (let at = 0; at < content.length; at += chunkSize) {
    pieces.push(content.subarray(at, at + chunkSize));
  }
  return pieces;
}

/** Pieces do not fit together; `message` says how, for a person. */
export class MediaError extends Error {}

/** A file that is being received. Pieces may come in any order, each once. */
export class Assembly {
  #content;
  #have = new Set();
  #chunkSize = 0;
  received = 0;

  /**
   * @param {number} size bytes of the whole
   * @throws {MediaError}
   */
  constructor(size) {
    if (size < 1 || size > LARGEST_FILE) throw new MediaError("its size is not allowed");
    this.size = size;
    this.#content = new Uint8Array(size);
  }

  /**
   * What a MEDIA_MSG says of itself must agree with the announcement and with the pieces before.
   * @param {Record<string, unknown>} body
   * @param {number} parts
   * @throws {MediaError}
   */
  check(body, parts) {
    const chunkSize = countOf(body.chunkSize);
    const agrees =
      countOf(body.size) === this.size &&
      chunkSize >= UNIT &&
      (this.#chunkSize === 0 || this.#chunkSize === chunkSize) &&
      parts === Math.ceil(this.size / chunkSize);
    if (!agrees) throw new MediaError("its pieces do not fit together");
    this.#chunkSize = chunkSize;
  }

  /**
   * @param {number} index
   * @param {Uint8Array} piece
   * @throws {MediaError}
   */
  put(index, piece) {
    const at = index * this.#chunkSize;
    const expected = Math.min(this.#chunkSize, this.size - at);
    if (expected <= 0 || piece.length !== expected) {
      throw new MediaError("its pieces do not fit together");
    }
    if (this.#have.has(index)) return;
    this.#have.add(index);
    this.#content.set(piece, at);
    this.received += piece.length;
  }

  /** @returns {Uint8Array<ArrayBuffer> | null} the whole, when all pieces are there */
  get whole() {
    return this.received === this.size ? this.#content : null;
  }
}

// Characters that end or reorder a line, or that file systems and shells give a meaning.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}<>:"|?*]/gu;

/**
 * @param {string} name as a member sent it
 * @returns {string} a name without folders, that hides no file and is not endless
 */
export function safeName(name) {
  const base = name.split(/[/\\]/).at(-1) ?? "";
  const plain = base
    .replace(UNSAFE, "")
    .replace(/^[\s.]+/, "")
    .trim();
  const dot = plain.lastIndexOf(".");
  const ending = dot > 0 && plain.length - dot <= 12 ? plain.slice(dot) : "";
  return plain.slice(0, plain.length - ending.length).slice(0, 100) + ending || "file";
}
