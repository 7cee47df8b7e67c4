// @ts-check
/** What the relay allows, as it says in HELLO. */

import { countOf, isObject } from "./frames.js";

// What a relay allows by default; older ones do not say it.
const DEFAULTS = {
  maxWsMsgBytes: 262144,
  maxAppCiphertextBytes: 65536,
  maxMsgsPer10s: 200,
  maxBytesPer10s: 1048576,
};

/** @typedef {typeof DEFAULTS} Limits */

/**
 * @param {unknown} told the field `limits` of HELLO
 * @returns {Limits}
 */
export function limitsOf(told) {
  const known = isObject(told) ? told : {};
  const limits = { ...DEFAULTS };
  for (const name of /** @type {(keyof Limits)[]} */ (Object.keys(DEFAULTS))) {
    limits[name] = countOf(known[name]) || DEFAULTS[name];
  }
  return limits;
}
