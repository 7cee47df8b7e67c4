// @ts-check
/** The current link, and the one question that may be open on it: what answers a frame? */

import { buildFrame, newId } from "./frames.js";
import { ConnectFailed, Link, Refused } from "./link.js";

/** @typedef {import("./frames.js").Frame} Frame */

const ANSWER_MS = 15_000;
const ANSWERS = ["ROOM_CREATED", "JOINED", "LEFT", "ERROR"];

/**
 * @typedef {object} Question
 * @property {string} id of the frame that asks; "" waits for HELLO
 * @property {(frame: Frame) => void} resolve
 * @property {(fault: Error) => void} reject
 * @property {number} timer
 */

export class Exchange {
  /** @type {Question | null} */
  #question = null;
  #relay;
  #owner;

  /**
   * @param {string} relay its WebSocket address
   * @param {{onFrame: (frame: Frame) => void,
   *   onLost: (code: number, reason: string) => void}} owner
   *   hears frames that answer no question, and the loss of a link on which none was open
   */
  constructor(relay, owner) {
    this.#relay = relay;
    this.#owner = owner;
    /** @type {Link | null} */
    this.link = null;
  }

  /**
   * Connect.
   * @returns {Promise<Frame>} HELLO
   * @throws {ConnectFailed}
   */
  open() {
    this.close();
    try {
      this.link = new Link(this.#relay, {
        onFrame: (link, frame) => link === this.link && this.#onFrame(frame),
        onLost: (link, code, reason) => link === this.link && this.#onLost(code, reason),
      });
    } catch {
      // A page over https:// may not connect to ws://.
      return Promise.reject(new ConnectFailed("your browser refuses the address of the relay"));
    }
    return this.#wait("", ANSWER_MS);
  }

  /**
   * Send a frame and wait for what answers it.
   * @param {string} kind
   * @param {Record<string, unknown>} body
   * @param {number} [within] milliseconds
   * @returns {Promise<Frame>}
   * @throws {ConnectFailed | Refused}
   */
  ask(kind, body, within = ANSWER_MS) {
    if (!this.link) return Promise.reject(new ConnectFailed("the connection is lost"));
    const id = newId();
    const answer = this.#wait(id, within);
    this.link.send(buildFrame(kind, body, id));
    return answer;
  }

  /** Close the link, if there is one. Whoever waits on it is told. */
  close() {
    const link = this.link;
    this.link = null;
    link?.close();
    this.#fail(new ConnectFailed("the connection is closed"));
  }

  /**
   * @param {string} id
   * @param {number} within
   * @returns {Promise<Frame>}
   */
  #wait(id, within) {
    return new Promise((resolve, reject) => {
      const timeout = () => this.#fail(new ConnectFailed("the relay does not answer"));
      this.#question = { id, resolve, reject, timer: setTimeout(timeout, within) };
    });
  }

  /** @param {Frame} frame */
  #onFrame(frame) {
    const question = this.#question;
    const asked = question?.id ?? null;
    const answers =
      asked === "" ? frame.t === "HELLO" : ANSWERS.includes(frame.t) && this.#isFor(frame, asked);
    if (!question || !answers) {
      this.#owner.onFrame(frame);
      return;
    }
    if (frame.t === "ERROR") {
      this.#fail(Refused.of(frame.body));
    } else {
      this.#question = null;
      clearTimeout(question.timer);
      question.resolve(frame);
    }
  }

  /**
   * Older relays do not say what they answer.
   * @param {Frame} frame
   * @param {string | null} asked
   */
  #isFor(frame, asked) {
    return asked !== null && (frame.re === undefined || frame.re === asked);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #onLost(code, reason) {
    this.link = null;
    const why = reason || (code === 1006 ? "the relay cannot be reached" : `closed (${code})`);
    if (!this.#fail(new ConnectFailed(why))) this.#owner.onLost(code, reason);
  }

  /**
   * @param {Error} fault
   * @returns {boolean} whether somebody waited
   */
  #fail(fault) {
    const question = this.#question;
    this.#question = null;
    if (!question) return false;
    clearTimeout(question.timer);
    question.reject(fault);
    return true;
  }
}
