// @ts-check
/** How long to wait before coming back, so that a restarted relay is not stormed. */

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** Doubling waits with jitter: each is drawn from the upper half of the current span. */
export class Backoff {
  #attempts = 0;
  #random;

  /** @param {() => number} [random] draws from [0, 1) */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** @returns {number} milliseconds to wait before the next attempt */
  next() {
    const span = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(this.#attempts, 32));
    this.#attempts += 1;
    return span * (0.5 + this.#random() / 2);
  }

  /** It worked: the next trouble starts from the shortest wait. */
  reset() {
    this.#attempts = 0;
  }
}
