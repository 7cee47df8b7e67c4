// @ts-check
/** Base64 in the form the wire wants: the URL alphabet, no padding. */

/** What was to be base64 is none. */
export class Base64Error extends Error {}

// String.fromCharCode takes its bytes as arguments, and engines bound how many there may be.
const SLICE = 0x8000;

/**
 * @param {Uint8Array} bytes
 * @returns {string} base64url without padding
 */
export function toBase64Url(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += SLICE) {
    binary += String.fromCharCode(...bytes.subarray(at, at + SLICE));
  }
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/**
 * The inverse; takes either alphabet, with or without padding.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {Base64Error}
 */
export function fromBase64(text) {
  const plain = text.replace(/=+$/, "").replaceAll("-", "+").replaceAll("_", "/");
  if (!/^[A-Za-z0-9+/]*$/.test(plain) || plain.length % 4 === 1) {
    throw new Base64Error("not base64");
  }
  const binary = atob(plain);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/**
 * How long base64url of so many bytes is.
 * @param {number} bytes
 * @returns {number} characters
 */
export function base64Length(bytes) {
  return Math.ceil((bytes * 4) / 3);
}
