// @ts-check
/** Sends messages at the relay's pace, and keeps each until the relay has handed it to the room. */

import { Backoff } from "./backoff.js";
import { buildFrame, textOf } from "./frames.js";
import { Outbox } from "./outbox.js";

/** @typedef {import("./link.js").Link} Link */

// With more than this unsent, the line is slower than our pace: what people say should still be
// able to overtake pieces of files.
const UNSENT_BYTES = 256 * 1024;
const UNSENT_WAIT_MS = 250;

/** The conversation ended before the message was acknowledged. */
export class SeatLost extends Error {}

export class Sender {
  #outbox = new Outbox();
  #backoff = new Backoff();
  /** @type {Link | null} */
  #link = null;
  #timer = 0;
  #heldUntil = 0;

  /** @param {import("./limits.js").Limits} limits */
  allow(limits) {
    this.#outbox.allow(limits);
  }

  /** @returns {{id: string, sealed: string}[]} what was said and is not acknowledged */
  get unacknowledged() {
    const said = this.#outbox.list().filter((message) => message.kind === "APP_MSG");
    return said.map(({ id, body }) => ({ id, sealed: textOf(body.ciphertextB64) }));
  }

  /** @param {string} id */
  has(id) {
    return this.#outbox.has(id);
  }

  /**
   * @param {"APP_MSG" | "MEDIA_MSG"} kind
   * @param {string} id
   * @param {Record<string, unknown>} body
   * @returns {Promise<void>} done when the relay has handed it to the room
   * @throws {import("./link.js").Refused | SeatLost}
   */
  send(kind, id, body) {
    return new Promise((resolve, reject) => {
      const bytes = buildFrame(kind, body, id).length;
      this.#outbox.add({ id, kind, body, bytes, resolve, reject, sent: false });
      this.#pump();
    });
  }

  /**
   * In the room, on a new link: what is not acknowledged goes out again.
   * @param {Link | null} link
   * @param {number} patience for how many milliseconds to hold it back, unless `release` comes first
   */
  start(link, patience) {
    this.#link = link;
    this.#backoff.reset();
    this.#outbox.again();
    this.#heldUntil = performance.now() + patience;
    this.#pump();
  }

  /** What was held back goes out. */
  release() {
    this.#heldUntil = 0;
    this.#pump();
  }

  /** The link is lost. */
  pause() {
    this.#link = null;
    clearTimeout(this.#timer);
  }

  /** @param {string} id handed to the room */
  acknowledge(id) {
    this.#backoff.reset();
    this.#outbox.take(id)?.resolve();
  }

  /**
   * @param {string} id
   * @param {import("./link.js").Refused} fault
   */
  refuse(id, fault) {
    if (fault.code === "ERR_UNAVAILABLE") {
      this.#outbox.repeat(id);
      this.#pumpIn(this.#backoff.next());
    } else {
      this.#outbox.take(id)?.reject(fault);
    }
  }

  /** @param {string} reason why nothing more will be sent */
  giveUp(reason) {
    this.pause();
    for (const message of this.#outbox.clear()) message.reject(new SeatLost(reason));
  }

  #pump() {
    clearTimeout(this.#timer);
    const link = this.#link;
    if (!link) return;
    const held = this.#heldUntil - performance.now();
    const pause = held > 0 ? held : link.unsentBytes > UNSENT_BYTES ? UNSENT_WAIT_MS : 0;
    if (pause) {
      this.#pumpIn(pause);
      return;
    }
    const { out, wait } = this.#outbox.due(performance.now());
    for (const { kind, body, id } of out) link.send(buildFrame(kind, body, id));
    if (wait !== null) this.#pumpIn(wait);
  }

  /** @param {number} wait milliseconds */
  #pumpIn(wait) {
    clearTimeout(this.#timer);
    if (this.#link) this.#timer = setTimeout(() => this.#pump(), wait);
  }
}
