// @ts-check
/** The envelope of the wire protocol as a client sees it: build one, read one. */

import { toBase64Url } from "./base64.js";

const VERSION = 1;

/**
 * @typedef {object} Frame
 * @property {string} t the type
 * @property {string} id
 * @property {string | undefined} re the id of the frame that this one answers
 * @property {Record<string, unknown>} body
 */

/** A fresh id: 16 random bytes, so that two members never choose the same. */
export function newId() {
  return toBase64Url(crypto.getRandomValues(new Uint8Array(16)));
}

/**
 * @param {string} type
 * @param {Record<string, unknown>} body fields that are undefined or null are left out
 * @param {string} id
 * @returns {string} the text of one frame
 */
export function buildFrame(type, body, id) {
  const kept = Object.fromEntries(Object.entries(body).filter(([, value]) => value != null));
  return JSON.stringify({ v: VERSION, t: type, id, body: kept });
}

/**
 * @param {unknown} payload what a WebSocket message event carries
 * @returns {Frame | null} null for what is no frame of this version
 */
export function parseFrame(payload) {
  if (typeof payload !== "string") return null;
  let value;
  try {
    value = JSON.parse(payload);
  } catch {
    return null;
  }
  if (!isObject(value) || value.v !== VERSION || typeof value.t !== "string") return null;
  return {
    t: value.t,
    id: textOf(value.id),
    re: typeof value.re === "string" ? value.re : undefined,
    body: isObject(value.body) ? value.body : {},
  };
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {unknown} value
 * @param {string} [otherwise]
 * @returns {string} the value if it is a string
 */
export function textOf(value, otherwise = "") {
  return typeof value === "string" ? value : otherwise;
}

/**
 * @param {unknown} value
 * @param {number} [otherwise]
 * @returns {number} the value if it is a whole number, not negative
 */
export function countOf(value, otherwise = 0) {
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : otherwise;
}
