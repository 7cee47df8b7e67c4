// @ts-check
/** The messages of a room, as they come. */

import { byId, element, sizeText } from "./dom.js";
import { isPicture, isPictureType, safeName } from "./media.js";

const KEPT = 1000; // lines; older ones go, and their pictures with them
const COLOURS = 6;
const NEAR = 80; // pixels from the end that still count as its end
const LINK = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/g;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** @typedef {{memberId: string, name: string, own: boolean}} Author */

/**
 * @typedef {object} FileLine a file on its way
 * @property {(bytes: number) => void} progress
 * @property {(name: string, mime: string, content: Uint8Array<ArrayBuffer>) => void} done
 * @property {(reason: string) => void} fail
 */

export class LogView {
  #log = byId("log");
  #newest = byId("newest");
  /** @type {Map<string, HTMLElement>} where the state of a message of ours stands */
  #states = new Map();
  /** @type {Map<HTMLElement, string[]>} blob URLs by line */
  #blobs = new Map();
  /** @type {{line: HTMLElement, text: string, times: number} | null} */
  #lastNote = null;

  constructor() {
    this.#newest.addEventListener("click", () => {
      this.#toEnd();
      this.#log.focus();
    });
    this.#log.addEventListener("scroll", () => {
      if (this.#atEnd()) this.#newest.hidden = true;
    });
  }

  /**
   * @param {Author} author
   * @param {string} text
   * @param {{id: string, state: string} | null} sending for messages of ours
   */
  text(author, text, sending = null) {
    const body = element("p", { class: "text", dir: "auto" }, ...withLinks(text));
    const line = this.#message(author, body);
    if (!sending) return;
    const state = element("span", { class: "state" }, sending.state);
    line.querySelector(".head")?.append(state);
    this.#states.set(sending.id, state);
  }

  /** @param {string} id */
  has(id) {
    return this.#states.has(id);
  }

  /**
   * @param {string} id
   * @param {string} state for people, like "sent"
   * @param {boolean} [bad]
   */
  state(id, state, bad = false) {
    const place = this.#states.get(id);
    if (!place) return;
    place.textContent = state;
    place.classList.toggle("bad", bad);
  }

  /**
   * A line about the room. The same once more only counts up.
   * @param {string} text
   * @param {"plain" | "warning"} [kind]
   */
  note(text, kind = "plain") {
    const last = this.#lastNote;
    if (last && last.text === text && last.line === this.#log.lastElementChild) {
      last.times += 1;
      last.line.textContent = `${text} (${last.times} times)`;
      return;
    }
    const line = element("p", { class: `note ${kind}` }, text);
    this.#add(line);
    this.#lastNote = { line, text, times: 1 };
  }

  /**
   * @param {Author} author
   * @param {string} name
   * @param {number} size
   * @returns {FileLine}
   */
  file(author, name, size) {
    const shown = safeName(name);
    const label = `${author.own ? "Sending" : "Receiving"} ${shown}`;
    const bar = element("progress", { max: String(size), value: "0", "aria-label": label });
    const detail = element("p", { class: "detail" }, `${label}, 0 of ${sizeText(size)}`);
    const body = element("div", { class: "file" }, detail, bar);
    const line = this.#message(author, body);
    return {
      progress: (bytes) => {
        bar.value = bytes;
        detail.textContent = `${label}, ${sizeText(bytes)} of ${sizeText(size)}`;
      },
      done: (finalName, mime, content) => {
        body.replaceWith(this.#content(line, author, finalName, mime, content));
        this.#keepEnd();
      },
      fail: (reason) => {
        const failed = `${shown} was not ${author.own ? "sent" : "received"}: ${reason}.`;
        body.replaceChildren(element("p", { class: "detail bad" }, failed));
      },
    };
  }

  /**
   * A whole picture or file, at once.
   * @param {Author} author
   * @param {string} name
   * @param {string} mime
   * @param {Uint8Array<ArrayBuffer>} content
   */
  content(author, name, mime, content) {
    const body = element("div", { class: "file" });
    const line = this.#message(author, body);
    body.replaceWith(this.#content(line, author, name, mime, content));
    this.#keepEnd();
  }

  clear() {
    for (const line of this.#log.children) this.#release(/** @type {HTMLElement} */ (line));
    this.#log.replaceChildren();
    this.#states.clear();
    this.#newest.hidden = true;
  }

  /** Show the last line. */
  #toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#newest.hidden = true;
  }

  /**
   * @param {HTMLElement} line
   * @param {Author} author
   * @param {string} name
   * @param {string} mime
   * @param {Uint8Array<ArrayBuffer>} content
   */
  #content(line, author, name, mime, content) {
    const picture = isPicture(mime, content);
    // A blob of an inert type: whatever the content is, the browser will not run it here.
    const type = picture ? mime : "application/octet-stream";
    const url = URL.createObjectURL(new Blob([content], { type }));
    this.#blobs.set(line, [...(this.#blobs.get(line) ?? []), url]);
    const shown = safeName(name);
    const save = element("a", { class: "button", href: url, download: shown }, `Save ${shown}`);
    const body = element("div", { class: "file" });
    if (picture) {
      const alt = `Picture from ${author.own ? "you" : author.name}: ${shown}`;
      const image = element("img", { src: url, alt });
      image.addEventListener("load", () => this.#keepEnd());
      image.addEventListener("error", () => image.replaceWith("This picture cannot be shown."));
      body.append(image);
    } else if (isPictureType(mime)) {
      body.append(element("p", { class: "detail bad" }, "This says it is a picture, and is none."));
    }
    body.append(element("p", { class: "detail" }, save, ` ${sizeText(content.length)}`));
    return body;
  }

  /**
   * @param {Author} author
   * @param {HTMLElement} body
   */
  #message({ memberId, name, own }, body) {
    const now = new Date();
    const time = element("time", { datetime: now.toISOString() }, clock.format(now));
    const who = element("bdi", { class: "name" }, own ? "You" : name);
    const head = element("p", { class: "head" }, who, " ", time, " ");
    const line = element("article", { class: own ? "line own" : "line" }, head, body);
    if (!own) line.classList.add(`member-${colourOf(memberId)}`);
    this.#add(line, own);
    return line;
  }

  /**
   * @param {HTMLElement} line
   * @param {boolean} [show] even if the person has scrolled up
   */
  #add(line, show = false) {
    const follow = show || this.#atEnd();
    this.#log.append(line);
    while (this.#log.childElementCount > KEPT) {
      const oldest = /** @type {HTMLElement} */ (this.#log.firstElementChild);
      this.#release(oldest);
      oldest.remove();
    }
    if (follow) this.#toEnd();
    else this.#newest.hidden = false;
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  /** A line grew: stay at the end if the person was there. */
  #keepEnd() {
    if (this.#newest.hidden) this.#toEnd();
  }

  /** @param {HTMLElement} line */
  #release(line) {
    for (const url of this.#blobs.get(line) ?? []) URL.revokeObjectURL(url);
    this.#blobs.delete(line);
  }
}

/** @param {string} memberId */
function colourOf(memberId) {
  let sum = 0;
  for (const character of memberId) sum = (sum * 31 + character.charCodeAt(0)) % 65_521;
  return sum % COLOURS;
}

/**
 * @param {string} text
 * @returns {(Node | string)[]} the text, with web addresses as links that show where they lead
 */
function withLinks(text) {
  return text.split(LINK).map((part, at) => {
    if (at % 2 === 0 || !URL.canParse(part)) return part;
    return element("a", { href: part, target: "_blank", rel: "noopener noreferrer" }, part);
  });
}
