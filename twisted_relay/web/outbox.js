// @ts-check
/** What is not acknowledged yet, when it may go out, and what was heard. Time is a number. */

/**
 * @typedef {object} Outgoing
 * @property {string} id the frame's id, the same in every attempt
 * @property {"APP_MSG" | "MEDIA_MSG"} kind
 * @property {Record<string, unknown>} body
 * @property {number} bytes the size of the frame
 * @property {() => void} resolve called when the relay has handed it to the room
 * @property {(fault: Error) => void} reject
 * @property {boolean} sent
 */

// A fifth of the rate is left for frames of other kinds, and for a relay whose clock differs.
const SHARE = 0.8;
// Part of the relay's bucket that may be used at once.
const BURST = 0.4;

/** A bucket that refills smoothly, like the relay's own. */
class Bucket {
  #at = -1;

  /**
   * @param {number} perSecond
   * @param {number} size
   */
  constructor(perSecond, size) {
    this.perSecond = perSecond;
    this.size = size;
    this.level = size;
  }

  /** @param {number} now milliseconds */
  refill(now) {
    const passed = this.#at < 0 ? 0 : Math.max(now - this.#at, 0) / 1000;
    this.level = Math.min(this.size, this.level + passed * this.perSecond);
    this.#at = now;
  }

  /**
   * @param {number} amount
   * @returns {number} milliseconds until so much is there; 0 if it is
   */
  wait(amount) {
    // More than the bucket holds would wait for ever; a full one must do.
    const missing = Math.min(amount, this.size) - this.level;
    return missing <= 0 ? 0 : Math.ceil((missing / this.perSecond) * 1000) + 1;
  }
}

/**
 * Messages in the order said, paced so that a pasted page or a file does not run into the relay's
 * limits and cost the connection. What people say overtakes pieces of files.
 */
export class Outbox {
  /** @type {Map<string, Outgoing>} */
  #waiting = new Map();
  #messages = new Bucket(5, 20);
  #bytes = new Bucket(20_000, 131_072);

  get size() {
    return this.#waiting.size;
  }

  /**
   * Take the relay's own limits as the measure.
   * @param {{maxMsgsPer10s: number, maxBytesPer10s: number, maxWsMsgBytes: number}} limits
   */
  allow({ maxMsgsPer10s, maxBytesPer10s, maxWsMsgBytes }) {
    const burst = Math.max(maxMsgsPer10s * BURST, 1);
    this.#messages = new Bucket(Math.max((maxMsgsPer10s / 10) * SHARE, 0.1), burst);
    const room = Math.max(maxBytesPer10s * BURST, maxWsMsgBytes);
    this.#bytes = new Bucket((maxBytesPer10s / 10) * SHARE, room);
  }

  /** @param {Outgoing} message */
  add(message) {
    this.#waiting.set(message.id, message);
  }

  /** @param {string} id */
  has(id) {
    return this.#waiting.has(id);
  }

  /**
   * @param {string} id
   * @returns {Outgoing | undefined} the message, which is done with
   */
  take(id) {
    const message = this.#waiting.get(id);
    this.#waiting.delete(id);
    return message;
  }

  /** The connection was lost: everything unacknowledged must go out again, with the same ids. */
  again() {
    for (const message of this.#waiting.values()) message.sent = false;
  }

  /** @param {string} id this one must go out again */
  repeat(id) {
    const message = this.#waiting.get(id);
    if (message) message.sent = false;
  }

  /** @returns {Outgoing[]} what waited, given up */
  clear() {
    const left = [...this.#waiting.values()];
    this.#waiting.clear();
    return left;
  }

  /** @returns {Outgoing[]} what waits, in order */
  list() {
    return [...this.#waiting.values()];
  }

  /**
   * @param {number} now milliseconds of a clock that does not jump
   * @returns {{out: Outgoing[], wait: number | null}} what to send now (marked as sent), and in how
   *   many milliseconds to ask again, if at all
   */
  due(now) {
    this.#messages.refill(now);
    this.#bytes.refill(now);
    /** @type {Outgoing[]} */
    const out = [];
    for (const message of this.#inTurn()) {
      const wait = Math.max(this.#messages.wait(1), this.#bytes.wait(message.bytes));
      if (wait > 0) return { out, wait };
      this.#messages.level -= 1;
      this.#bytes.level -= message.bytes;
      message.sent = true;
      out.push(message);
    }
    return { out, wait: null };
  }

  /** @returns {Outgoing[]} */
  #inTurn() {
    const unsent = this.list().filter((message) => !message.sent);
    const said = unsent.filter((message) => message.kind === "APP_MSG");
    return [...said, ...unsent.filter((message) => message.kind !== "APP_MSG")];
  }
}

/** Knows a message that was heard before, by sender and id, among the last ones. */
export class Repeats {
  /** @type {Set<string>} */
  #heard = new Set();

  /** @param {number} [remembered] */
  constructor(remembered = 4096) {
    this.remembered = remembered;
  }

  /**
   * @param {string} memberId
   * @param {string} id
   * @returns {boolean} whether it was heard before; remembers it
   */
  isRepeat(memberId, id) {
    const key = `${memberId}\n${id}`;
    if (this.#heard.has(key)) return true;
    this.#heard.add(key);
    if (this.#heard.size > this.remembered) {
      for (const oldest of this.#heard) {
        this.#heard.delete(oldest);
        break;
      }
    }
    return false;
  }
}
