// @ts-check
/** What went wrong, as sentences for a person, each with the next step. */

import { ConnectFailed, Refused } from "./link.js";

const WAIT = "Too many requests came from your address. Wait a minute, and try again.";
const AWAY = "The relay cannot look after its rooms at the moment. Try again soon.";

/** @type {Record<string, string>} */
const REFUSALS = {
  ERR_NO_ROOM:
    "This room does not exist, or no longer: a room ends when the last person leaves. " +
    "Ask for a new link, or create a room.",
  ERR_ROOM_FULL: "The room is full. Try again when somebody has left.",
  ERR_RATE_LIMITED: WAIT,
  ERR_UNAVAILABLE: AWAY,
  "HTTP 429": WAIT,
  "HTTP 503": AWAY,
  "HTTP 404": "There is no relay at this address. Whoever hosts this page has to set it.",
};

/**
 * Why a room could not be made or entered.
 * @param {unknown} fault
 * @returns {string}
 */
export function explainEntry(fault) {
  if (fault instanceof ConnectFailed) {
    return (
      `You are not connected: ${fault.message}. Check your connection, and try again. ` +
      "If that does not help, the relay may not admit this page or your address."
    );
  }
  if (fault instanceof Refused) {
    if (fault.code.startsWith("ERR_TOKEN_")) {
      return "The relay did not accept the invitation. Try again, or ask for a new link.";
    }
    return REFUSALS[fault.code] ?? `The relay refused it: ${fault.message}.`;
  }
  return "Something went wrong in this page. Reload it, and try again.";
}

/**
 * @typedef {object} Ending
 * @property {string} title
 * @property {string} text
 * @property {"" | "resume" | "rejoin"} again what may be tried
 * @property {string} button what that is called
 */

/**
 * Why a conversation is over.
 * @param {string} code of the protocol, or "replaced", or the code of a close
 * @param {string} reason
 * @returns {Ending}
 */
export function explainEnding(code, reason) {
  if (code === "replaced") {
    return {
      title: "Open in another place",
      text: "Your seat in this room was taken by another tab, window or device of yours.",
      again: "resume",
      button: "Use it here",
    };
  }
  if (code === "ERR_NO_ROOM" || code === "ERR_ROOM_GONE") {
    return {
      title: "The room is gone",
      text: "It ended while you were away. Create a new room, and share its link.",
      again: "",
      button: "",
    };
  }
  const known = REFUSALS[code] ?? "";
  const seat = code.startsWith("ERR_TOKEN_")
    ? "Your seat could not be taken back. You can join the room again, as a new person."
    : `The relay ended the connection: ${reason}. You can try to join again.`;
  return {
    title: "This conversation is over for you",
    text: known || seat,
    again: "rejoin",
    button: "Join again",
  };
}
