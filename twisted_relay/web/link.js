// @ts-check
/** One WebSocket connection to a relay, and the one HTTP question a client asks it. */

import { buildFrame, isObject, newId, parseFrame, textOf } from "./frames.js";
import { tokenAddress } from "./invite.js";

/** @typedef {import("./frames.js").Frame} Frame */

const SUBPROTOCOL = "relay.v1";
const OPEN_MS = 15_000;
// Pages do not see WebSocket pings, so a dead line shows only by the silence after a PING frame.
const QUIET_MS = 20_000;
const PONG_MS = 10_000;
const CHECK_MS = 5_000;

/** The relay cannot be reached, or went away. */
export class ConnectFailed extends Error {}

/** The relay said no. `code` is that of the protocol. */
export class Refused extends Error {
  /**
   * @param {string} code
   * @param {string} message for people
   */
  constructor(code, message) {
    super(message || code);
    this.code = code;
  }

  /** @param {Record<string, unknown>} body of an ERROR, or of an answer over HTTP */
  static of(body, otherwise = "ERR") {
    return new Refused(textOf(body.code, otherwise), textOf(body.message));
  }
}

/**
 * @typedef {object} LinkOwner
 * @property {(link: Link, frame: Frame) => void} onFrame a frame came
 * @property {(link: Link, code: number, reason: string) => void} onLost the link is gone; called
 *   once, and not after close()
 */

/** Opens when made; tell `onLost` apart by the link it names. */
export class Link {
  #socket;
  #owner;
  #closed = false;
  #heardAt = performance.now();
  #pingedAt = 0;
  #check = 0;
  #timeout = 0;

  /**
   * @param {string} address
   * @param {LinkOwner} owner
   */
  constructor(address, owner) {
    this.#owner = owner;
    this.#socket = new WebSocket(address, SUBPROTOCOL);
    this.#socket.onmessage = (event) => this.#onMessage(event.data);
    this.#socket.onopen = () => {
      this.#heardAt = performance.now();
      this.#check = setInterval(() => this.#checkLine(), CHECK_MS);
    };
    this.#socket.onclose = (event) => this.#lose(event.code, event.reason);
    this.#timeout = setTimeout(() => this.#lose(1006, "the relay does not answer"), OPEN_MS);
  }

  /** @returns {number} bytes that the browser has not handed to the network yet */
  get unsentBytes() {
    return this.#socket.bufferedAmount;
  }

  /** @param {string} text one frame */
  send(text) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  /** Close in order; the owner hears nothing more. */
  close() {
    this.#closed = true;
    this.#stop();
    this.#socket.close(1000);
  }

  /** @param {unknown} data */
  #onMessage(data) {
    if (this.#closed) return;
    this.#heardAt = performance.now();
    this.#pingedAt = 0;
    clearTimeout(this.#timeout);
    const frame = parseFrame(data);
    if (frame) this.#owner.onFrame(this, frame);
  }

  #checkLine() {
    const now = performance.now();
    if (this.#pingedAt) {
      if (now - this.#pingedAt > PONG_MS) this.#lose(1006, "the relay does not answer");
    } else if (now - this.#heardAt > QUIET_MS) {
      this.#pingedAt = now;
      this.send(buildFrame("PING", {}, newId()));
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lose(code, reason) {
    if (this.#closed) return;
    this.close(); // on a dead line the browser itself would take long to say so
    this.#owner.onLost(this, code, reason);
  }

  #stop() {
    clearInterval(this.#check);
    clearTimeout(this.#timeout);
  }
}

/**
 * Ask the relay for a join token of the room.
 * @param {string} relay its WebSocket address
 * @param {string} roomId
 * @returns {Promise<string>}
 * @throws {Refused | ConnectFailed}
 */
export async function fetchToken(relay, roomId) {
  let status;
  /** @type {unknown} */
  let answer;
  try {
    const response = await fetch(tokenAddress(relay, roomId), {
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(OPEN_MS),
    });
    status = response.status;
    answer = await response.json().catch(() => null);
  } catch {
    throw new ConnectFailed("the relay cannot be reached");
  }
  const body = isObject(answer) ? answer : {};
  if (status === 200 && typeof body.token === "string") return body.token;
  throw Refused.of(body, `HTTP ${status}`);
}
