// @ts-check
/** AES-256-GCM under a room key: base64url of a 12-byte nonce, the ciphertext and its tag. */

import { Base64Error, base64Length, fromBase64, toBase64Url } from "./base64.js";

export const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const utf8 = new TextEncoder();

/** The key does not fit, or the text was changed on its way. */
export class CipherError extends Error {}

/**
 * @param {number} plainBytes
 * @returns {number} the characters that `seal` makes of so many bytes
 */
export function sealedLength(plainBytes) {
  return base64Length(NONCE_BYTES + plainBytes + TAG_BYTES);
}

/**
 * @param {number} characters
 * @returns {number} the most bytes whose sealed form has at most so many characters
 */
export function plainRoom(characters) {
  return Math.floor((characters * 3) / 4) - NONCE_BYTES - TAG_BYTES;
}

/** Seals and opens what members say to each other. The key never leaves the clients. */
export class RoomCipher {
  /** @type {CryptoKey} */
  #key;

  /**
   * @param {CryptoKey} key
   * @param {Uint8Array<ArrayBuffer>} keyBytes
   */
  constructor(key, keyBytes) {
    this.#key = key;
    this.keyBytes = keyBytes;
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} keyBytes
   * @returns {Promise<RoomCipher>}
   */
  static async of(keyBytes) {
    if (keyBytes.length !== KEY_BYTES) throw new CipherError("a room key has 32 bytes");
    const uses = /** @type {KeyUsage[]} */ (["encrypt", "decrypt"]);
    const key = await crypto.subtle.importKey("raw", keyBytes, "AES-GCM", false, uses);
    return new RoomCipher(key, keyBytes);
  }

  /** @returns {Promise<RoomCipher>} one under a new random key */
  static generate() {
    return RoomCipher.of(crypto.getRandomValues(new Uint8Array(KEY_BYTES)));
  }

  /**
   * Encrypt under a fresh random nonce.
   * @param {Uint8Array<ArrayBuffer>} plain
   * @param {string} context the additional data
   * @returns {Promise<string>}
   */
  async seal(plain, context) {
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const sealed = await crypto.subtle.encrypt(algorithm(nonce, context), this.#key, plain);
    const whole = new Uint8Array(NONCE_BYTES + sealed.byteLength);
    whole.set(nonce);
    whole.set(new Uint8Array(sealed), NONCE_BYTES);
    return toBase64Url(whole);
  }

  /**
   * Decrypt.
   * @param {string} sealed
   * @param {string | ((plainBytes: number) => string)} context the additional data
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   * @throws {CipherError} for another key, a changed text, or no ciphertext at all
   */
  async open(sealed, context) {
    try {
      const whole = fromBase64(sealed);
      const length = whole.length - NONCE_BYTES - TAG_BYTES;
      if (length < 0) throw new CipherError("too short for a ciphertext");
      const bound = typeof context === "string" ? context : context(length);
      const how = algorithm(whole.subarray(0, NONCE_BYTES), bound);
      const data = whole.subarray(NONCE_BYTES);
      return new Uint8Array(await crypto.subtle.decrypt(how, this.#key, data));
    } catch (fault) {
      if (fault instanceof Base64Error || fault instanceof DOMException) {
        throw new CipherError("another room key, or a damaged message");
      }
      throw fault;
    }
  }
}

/**
 * @param {Uint8Array<ArrayBuffer>} nonce
 * @param {string} context
 */
function algorithm(nonce, context) {
  return { name: "AES-GCM", iv: nonce, additionalData: utf8.encode(context), tagLength: 128 };
}

/**
 * @param {Uint8Array<ArrayBuffer>} content
 * @returns {Promise<string>} SHA-256 in lower-case hex
 */
export async function sha256Hex(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
