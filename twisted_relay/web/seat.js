// @ts-check
/** The seat of this tab in a room, kept so that a reload takes it back. It ends with the tab. */

import { fromBase64, toBase64Url } from "./base64.js";
import { KEY_BYTES } from "./cipher.js";
import { isObject, textOf } from "./frames.js";

const NAME = "twisted-relay seat";

/**
 * @typedef {object} Seat
 * @property {string} relay the relay's WebSocket address
 * @property {import("./events.js").Place} place
 * @property {Uint8Array<ArrayBuffer>} key
 * @property {{id: string, sealed: string}[]} unacknowledged messages, sealed as they were sent
 */

/** @param {Seat} seat */
export function saveSeat({ relay, place, key, unacknowledged }) {
  const text = JSON.stringify({ relay, place, key: toBase64Url(key), unacknowledged });
  try {
    sessionStorage.setItem(NAME, text);
  } catch {
    // Without storage, or with a full one, a reload simply does not find the seat.
  }
}

/**
 * @param {string} relay
 * @returns {Seat | null} the seat at this relay, if this tab has one
 */
export function loadSeat(relay) {
  try {
    const value = JSON.parse(sessionStorage.getItem(NAME) ?? "null");
    if (!isObject(value) || value.relay !== relay || !isObject(value.place)) return null;
    const { roomId, memberId, label, nextToken } = value.place;
    const place = {
      roomId: textOf(roomId),
      memberId: textOf(memberId),
      label: textOf(label),
      nextToken: textOf(nextToken),
    };
    const key = fromBase64(textOf(value.key));
    if (!place.roomId || !place.nextToken || key.length !== KEY_BYTES) return null;
    const waiting = Array.isArray(value.unacknowledged) ? value.unacknowledged : [];
    const unacknowledged = waiting
      .filter(isObject)
      .map((message) => ({ id: textOf(message.id), sealed: textOf(message.sealed) }));
    return { relay, place, key, unacknowledged };
  } catch {
    return null;
  }
}

/** The seat is given up. */
export function forgetSeat() {
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // There is no storage, so there is no seat either.
  }
}
