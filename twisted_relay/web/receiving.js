// @ts-check
/** Files under way to us: pieces in, whole files out. */

import { CipherError, sha256Hex } from "./cipher.js";
import { countOf, textOf } from "./frames.js";
import { Assembly, MediaError, OCTETS, isPictureType, pieceContext } from "./media.js";

const AT_ONCE = 4;
const PATIENCE_MS = 120_000;
const REFUSED_REMEMBERED = 256;

/** @typedef {import("./messages.js").FileMessage} FileMessage */

/**
 * @typedef {object} Incoming
 * @property {string} key
 * @property {FileMessage} file
 * @property {string} memberId
 * @property {Assembly} assembly
 * @property {number} timer
 */

export class Receiving {
  /** @type {Map<string, Incoming>} */
  #incoming = new Map();
  /** @type {Set<string>} files of which nothing more is to be said */
  #refused = new Set();
  #cipher;
  #tell;

  /**
   * @param {import("./cipher.js").RoomCipher} cipher
   * @param {(event: import("./events.js").ReceivingEvent) => void} tell
   */
  constructor(cipher, tell) {
    this.#cipher = cipher;
    this.#tell = tell;
  }

  /**
   * A member announces a file.
   * @param {string} memberId
   * @param {FileMessage} file
   */
  announce(memberId, file) {
    const key = keyOf(memberId, file.mediaId);
    if (this.#incoming.has(key) || this.#refused.has(key)) return;
    try {
      if (this.#incoming.size >= AT_ONCE) throw new MediaError("too many files at once");
      const assembly = new Assembly(file.size);
      this.#incoming.set(key, { key, file, memberId, assembly, timer: 0 });
      this.#waitFor(key);
      this.#tell({ type: "offered", key, memberId, file });
    } catch (fault) {
      this.#refuse(key);
      this.#tell({ type: "failed", key: null, memberId, name: file.name, reason: reasonOf(fault) });
    }
  }

  /**
   * A MEDIA_MSG came.
   * @param {string} memberId
   * @param {string} from the sender's label, as the relay says it
   * @param {Record<string, unknown>} body
   */
  async media(memberId, from, body) {
    const key = keyOf(memberId, textOf(body.mediaId));
    const incoming = this.#incoming.get(key);
    const chunks = Array.isArray(body.chunks) ? body.chunks.map((chunk) => textOf(chunk)) : [];
    if (incoming) await this.#piece(incoming, body, chunks);
    else if (this.#refused.has(key)) return;
    else if (countOf(body.parts, 1) > 1) this.#late(key, memberId);
    else await this.#single(memberId, from, body, chunks);
  }

  /** Messages may be missing: no file under way can be relied on any more. */
  gap() {
    for (const key of [...this.#incoming.keys()]) this.#fail(key, "a part of it is missing");
  }

  /** The conversation is over. */
  stop() {
    for (const { timer } of this.#incoming.values()) clearTimeout(timer);
    this.#incoming.clear();
  }

  /**
   * @param {Incoming} incoming
   * @param {Record<string, unknown>} body
   * @param {string[]} chunks
   */
  async #piece({ key, file, memberId, assembly }, body, chunks) {
    try {
      assembly.check(body, countOf(body.parts, 1));
      await this.#fill(assembly, countOf(body.part), chunks);
      if (!this.#incoming.has(key)) return; // given up while a piece was decrypted
      const { received, size, whole } = assembly;
      this.#waitFor(key);
      this.#tell({ type: "progress", key, received, size });
      if (!whole) return;
      if (file.sha256 !== (await sha256Hex(whole))) throw new MediaError("its checksum is wrong");
      this.#drop(key);
      this.#refuse(key); // a repeat of a piece is no news
      const { name, mime, from } = file;
      this.#tell({ type: "received", key, memberId, from, name, mime, content: whole });
    } catch (fault) {
      this.#fail(key, reasonOf(fault));
    }
  }

  /**
   * All of it in one frame, and not announced.
   * @param {string} memberId
   * @param {string} from
   * @param {Record<string, unknown>} body
   * @param {string[]} chunks
   */
  async #single(memberId, from, body, chunks) {
    const mime = textOf(body.mime);
    const name = isPictureType(mime) ? `picture.${mime.slice("image/".length)}` : "file";
    try {
      const assembly = new Assembly(countOf(body.size));
      assembly.check(body, chunks.length);
      await this.#fill(assembly, 0, chunks);
      const content = assembly.whole;
      if (!content) throw new MediaError("its pieces do not fit together");
      const type = mime || OCTETS;
      this.#tell({ type: "received", key: null, memberId, from, name, mime: type, content });
    } catch (fault) {
      if (fault instanceof CipherError) this.#tell({ type: "unreadable", memberId, from });
      else this.#tell({ type: "failed", key: null, memberId, name, reason: reasonOf(fault) });
    }
  }

  /**
   * @param {Assembly} assembly
   * @param {number} first the index of the first of the chunks
   * @param {string[]} chunks
   */
  async #fill(assembly, first, chunks) {
    for (const [offset, sealed] of chunks.entries()) {
      const index = first + offset;
      const context = (/** @type {number} */ length) => pieceContext(index, length);
      assembly.put(index, await this.#cipher.open(sealed, context));
    }
  }

  /**
   * @param {string} key
   * @param {string} memberId
   */
  #late(key, memberId) {
    this.#refuse(key);
    const reason = "its sending began before you came";
    this.#tell({ type: "failed", key: null, memberId, name: "", reason });
  }

  /** @param {string} key */
  #waitFor(key) {
    const incoming = this.#incoming.get(key);
    if (!incoming) return;
    clearTimeout(incoming.timer);
    incoming.timer = setTimeout(() => this.#fail(key, "the rest of it did not come"), PATIENCE_MS);
  }

  /**
   * @param {string} key
   * @param {string} reason
   */
  #fail(key, reason) {
    const incoming = this.#drop(key);
    if (!incoming) return;
    this.#refuse(key);
    const { memberId, file } = incoming;
    this.#tell({ type: "failed", key, memberId, name: file.name, reason });
  }

  /** @param {string} key */
  #drop(key) {
    const incoming = this.#incoming.get(key);
    this.#incoming.delete(key);
    clearTimeout(incoming?.timer);
    return incoming;
  }

  /** @param {string} key */
  #refuse(key) {
    this.#refused.add(key);
    if (this.#refused.size > REFUSED_REMEMBERED) {
      const [oldest] = this.#refused;
      this.#refused.delete(oldest);
    }
  }
}

/**
 * @param {string} memberId
 * @param {string} mediaId
 */
function keyOf(memberId, mediaId) {
  return `${memberId}\n${mediaId}`;
}

/** @param {unknown} fault */
function reasonOf(fault) {
  if (fault instanceof CipherError) return "it cannot be decrypted";
  return fault instanceof Error ? fault.message : "it cannot be read";
}
