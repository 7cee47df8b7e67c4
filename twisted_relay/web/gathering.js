// @ts-check
/** After a loss that hit a whole room: whether the others are back, too. */

/** About as far apart as those come back who left together. */
export const PATIENCE_MS = 5_000;

/**
 * Who comes back first would talk to an empty room: nothing is kept for those who follow. So what
 * waits to be said waits until as many are there as before the loss, or a little while.
 */
export class Gathering {
  #there = 0;
  #awaited = 0;

  /** The connection is gone; as many as were there will be waited for. */
  lost() {
    this.#awaited = this.#there;
  }

  /**
   * In the room, with so many in it.
   * @param {number} participants
   * @returns {number} for how many milliseconds to say nothing
   */
  patience(participants) {
    this.#there = participants;
    return participants < this.#awaited ? PATIENCE_MS : 0;
  }

  /**
   * So many are there now.
   * @param {number} participants
   * @returns {boolean} whether these were waited for, and no more are
   */
  complete(participants) {
    this.#there = participants;
    const complete = this.#awaited > 0 && participants >= this.#awaited;
    if (complete) this.#awaited = 0;
    return complete;
  }
}
