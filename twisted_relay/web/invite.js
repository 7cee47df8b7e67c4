// @ts-check
/** Links to rooms: what they hold, and where the relay is. */

import { fromBase64, toBase64Url } from "./base64.js";
import { KEY_BYTES } from "./cipher.js";

/**
 * @typedef {object} Invite
 * @property {string} roomId
 * @property {Uint8Array<ArrayBuffer>} key
 * @property {string | null} token a join token for a single use
 * @property {string} name what the link proposes as the joiner's name, or ""
 * @property {string} host the host that the link names, or ""
 */

/** A link that leads to no room; `message` is a sentence for a person. */
export class InviteError extends Error {}

/**
 * Whether there is an invitation in the text at all, be it whole or damaged.
 * @param {string} text
 */
export function looksLikeInvite(text) {
  return /[#?&](k|roomId)=/.test(text);
}

/**
 * Read a link of this page, of relay-chat, or of the old service. Parameters count in the fragment
 * first, and then in the query.
 * @param {string} text
 * @returns {Invite}
 * @throws {InviteError}
 */
export function parseInvite(text) {
  const { fragment, query, host, scheme } = split(text.trim());
  if (scheme && !/^https?:$/.test(scheme)) throw new InviteError("This is not a link to a room.");
  /** @param {string} name */
  const value = (name) => fragment.get(name) || query.get(name) || "";
  const roomId = value("roomId");
  if (!roomId) throw new InviteError("This link names no room. Ask for the whole link again.");
  if (!/^[\x21-\x7e]{8,128}$/.test(roomId)) {
    throw new InviteError("The room in this link is damaged. Ask for the link again.");
  }
  return {
    roomId,
    key: readKey(value("k")),
    token: value("token") || null,
    name: value("name"),
    host,
  };
}

/**
 * @param {string} text
 * @returns {{fragment: URLSearchParams, query: URLSearchParams, host: string, scheme: string}}
 */
function split(text) {
  const hash = text.indexOf("#");
  const before = hash < 0 ? text : text.slice(0, hash);
  const question = before.indexOf("?");
  const { host, protocol: scheme } = URL.canParse(text)
    ? new URL(text)
    : { host: "", protocol: "" };
  return {
    fragment: new URLSearchParams(hash < 0 ? "" : text.slice(hash + 1)),
    query: new URLSearchParams(question < 0 ? "" : before.slice(question + 1)),
    host,
    scheme,
  };
}

/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
function readKey(text) {
  if (!text) {
    throw new InviteError(
      "This link lacks the room's key (the part after #k=). Without it nothing can be read. " +
        "Ask for the whole link again.",
    );
  }
  const plain = text.replaceAll(" ", "+"); // a plus sign in a query reads as a blank
  let key = new Uint8Array();
  try {
    key = fromBase64(plain);
  } catch {
    // Too short, as it stands there.
  }
  // The last character has bits to spare: another spelling of the same key is a typing error.
  const spelling = plain.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  if (key.length !== KEY_BYTES || toBase64Url(key) !== spelling) {
    throw new InviteError(
      "The room's key in this link is damaged: it is too short, too long, or has a wrong " +
        "character. Ask for the link again.",
    );
  }
  return key;
}

/**
 * What comes after the page's address. All is in the fragment, which a browser sends to nobody.
 * @param {string} roomId
 * @param {Uint8Array} key
 * @param {string | null} [token]
 * @returns {string}
 */
export function inviteFragment(roomId, key, token = null) {
  const once = token ? `&token=${encodeURIComponent(token)}` : "";
  return `#k=${toBase64Url(key)}&roomId=${encodeURIComponent(roomId)}${once}`;
}

/**
 * @param {string} pageAddress
 * @returns {string} the folder of the page, which is the address of invitations
 */
export function pageFolder(pageAddress) {
  return new URL(".", pageAddress.split(/[?#]/, 1)[0]).href;
}

/**
 * @param {string} pageAddress where this page was loaded from
 * @param {string} configured the relay's WebSocket address for a page hosted apart, or ""
 * @returns {string | null} the relay's WebSocket address; null if the configured one is none
 */
export function relayAddress(pageAddress, configured) {
  const address = configured.trim() || "ws";
  if (!URL.canParse(address, pageFolder(pageAddress))) return null;
  const relay = new URL(address, pageFolder(pageAddress));
  relay.protocol = relay.protocol.replace(/^http/, "ws");
  relay.hash = "";
  return /^wss?:$/.test(relay.protocol) ? relay.href : null;
}

/**
 * @param {string} relay the relay's WebSocket address
 * @param {string} roomId
 * @returns {string} where the relay gives out join tokens
 */
export function tokenAddress(relay, roomId) {
  const address = new URL(relay);
  address.protocol = address.protocol.replace(/^ws/, "http");
  const folder = address.pathname.replace(/\/$/, "").replace(/[^/]*$/, "");
  address.pathname = `${folder}rooms/${encodeURIComponent(roomId)}/token`;
  address.search = "";
  return address.href;
}
