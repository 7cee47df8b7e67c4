// @ts-check
/** Who is in the room, shown: the count, the names, and who comes and goes. */

import { Roster, readNotice, tidyText } from "./roster.js";

export class People {
  #log;
  #panel;
  #roster = new Roster();
  #name = "";
  #expectsOwnNotice = false;
  #counted = false;
  #cameUntold = 0; // notices of people who came, since the relay counted last

  /**
   * @param {import("./view-log.js").LogView} log
   * @param {import("./view-panel.js").PanelView} panel
   */
  constructor(log, panel) {
    this.#log = log;
    this.#panel = panel;
  }

  /** The relay will tell everybody, us too, that we came: that is no news to us. */
  expectOwnNotice() {
    this.#expectsOwnNotice = true;
  }

  /**
   * @param {import("./events.js").Place} place ours
   * @param {number} participants
   * @param {number} max
   */
  joined({ memberId, label }, participants, max) {
    this.#name = label;
    this.#roster.me = memberId;
    this.#roster.heard(memberId, label);
    this.#counted = false; // others may have come and gone while we were away
    this.count(participants, max);
  }

  /**
   * @param {number} participants
   * @param {number} max
   */
  count(participants, max) {
    // Who takes a seat back is not announced again: only the count shows it.
    const more = participants - this.#roster.participants - this.#cameUntold;
    if (this.#counted && more > 0) {
      this.#log.note(more === 1 ? "Somebody came back." : `${more} people came back.`);
    }
    this.#cameUntold = 0;
    this.#counted = true;
    Object.assign(this.#roster, { participants, max });
    this.#show();
  }

  /** @param {string} text a line of the relay about the room */
  notice(text) {
    const notice = readNotice(text);
    if (!notice) {
      // Nobody shall take it for something that the page says of itself.
      this.#log.note(`The relay says: ${tidyText(text)}`);
      return;
    }
    const { came, name } = notice;
    if (came && this.#expectsOwnNotice) {
      this.#expectsOwnNotice = false; // the first one after we joined is about us
      return;
    }
    this.#cameUntold += came ? 1 : -1;
    if (came) this.#roster.came(name);
    else this.#roster.went(name);
    this.#log.note(came ? `${name} came in.` : `${name} left.`);
    this.#show();
  }

  /**
   * A member says or sends something.
   * @param {string} memberId
   * @param {string} claimed the name that the member gives itself
   * @returns {import("./view-log.js").Author}
   */
  author(memberId, claimed) {
    const name = this.#roster.heard(memberId, claimed);
    this.#show();
    return { memberId, name, own: false };
  }

  #show() {
    this.#panel.people(this.#roster, this.#name, this.#roster.others());
  }
}
