// @ts-check
/** Who is in the room, as far as one hears: the relay counts, names come with what members do. */

const ENTERED = /^this person has entered the chat with the name (.*)$/s;
const LEFT = /^(.*) has left the chat$/s;
const LONGEST_NAME = 64;
const LONGEST_TEXT = 500;

/** Characters that a name must not bring: they end a line, or reverse the direction of writing. */
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu;

/**
 * @param {string} name as somebody gave it
 * @returns {string} for display: harmless and not endless
 */
export function tidyName(name) {
  return name.replace(UNSAFE, "").trim().slice(0, LONGEST_NAME).toWellFormed() || "somebody";
}

/**
 * @param {string} text of the relay
 * @returns {string} for display, in one line
 */
export function tidyText(text) {
  return text.replace(UNSAFE, "").slice(0, LONGEST_TEXT).toWellFormed();
}

/**
 * @param {string} text a line of the relay about the room
 * @returns {{came: boolean, name: string} | null} who came or went, if the line says it
 */
export function readNotice(text) {
  const entered = ENTERED.exec(text);
  if (entered) return { came: true, name: tidyName(entered[1]) };
  const left = LEFT.exec(text);
  return left && { came: false, name: tidyName(left[1]) };
}

export class Roster {
  /** @type {Map<string, string>} names of those who said something, by member id */
  #heard = new Map();
  /** @type {string[]} names of those who came and said nothing yet */
  #came = [];
  participants = 0;
  max = 0;
  me = ""; // this client's member id

  /** @param {string} name */
  came(name) {
    this.#came.push(name);
  }

  /** @param {string} name */
  went(name) {
    const at = this.#came.indexOf(name);
    if (at >= 0) {
      this.#came.splice(at, 1);
      return;
    }
    for (const [memberId, heard] of this.#heard) {
      if (heard === name) {
        this.#heard.delete(memberId);
        return;
      }
    }
  }

  /**
   * A member did something under a name.
   * @param {string} memberId
   * @param {string} claimed
   * @returns {string} the name to show: with a mark if another member has the same
   */
  heard(memberId, claimed) {
    const name = tidyName(claimed);
    if (this.#heard.get(memberId) !== name) {
      this.#heard.delete(memberId); // a name that is taken on later comes after those who have it
      this.#heard.set(memberId, name);
      const at = this.#came.indexOf(name);
      if (at >= 0) this.#came.splice(at, 1);
    }
    return this.nameOf(memberId);
  }

  /**
   * @param {string} memberId
   * @returns {string}
   */
  nameOf(memberId) {
    const name = this.#heard.get(memberId) ?? "somebody";
    // Everybody may call themselves anything; the member id is what cannot be taken over.
    const marked = `${name} (${memberId.slice(0, 4)})`;
    if (memberId !== this.me && name.toLowerCase() === "you") return marked; // as our own lines
    for (const [other, taken] of this.#heard) {
      if (other === memberId) break;
      if (taken === name) return marked;
    }
    return name;
  }

  /** @returns {{names: string[], unheard: number}} the others: names, and how many have none yet */
  others() {
    const ids = [...this.#heard.keys()].filter((memberId) => memberId !== this.me);
    const known = [...ids.map((memberId) => this.nameOf(memberId)), ...this.#came];
    const count = Math.max(this.participants - 1, 0);
    const names = known.slice(Math.max(known.length - count, 0));
    return { names, unheard: count - names.length };
  }
}
