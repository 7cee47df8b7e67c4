// @ts-check
/** The messages of a room, as they come. */

import { byId, element, sizeText } from "./dom.js";
import { safeName } from "./media.js";
import { fileBody } from "./view-file.js";

const KEPT = 1000; // lines; older ones go, and their pictures with them
const KEPT_BYTES = 256 * 1024 * 1024; // of pictures and files; the oldest go first
const COLOURS = 6;
const NEAR = 80; // pixels from the end that still count as its end
// Without format characters, which could let an address read as another.
const LINK = /(https?:\/\/[^\s<>"\p{Cf}]+[^\s<>"\p{Cf}.,;:!?)\]}'])/gu;
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
  /** @type {Map<string, HTMLElement>} messages of ours, by id */
  #ours = new Map();
  /** @type {Map<HTMLElement, {url: string, bytes: number}>} pictures and files by line */
  #blobs = new Map();
  #blobBytes = 0;
  #keptBytes;
  /** @type {{line: HTMLElement, text: string, times: number} | null} */
  #lastNote = null;

  /** @param {number} [keptBytes] of pictures and files */
  constructor(keptBytes = KEPT_BYTES) {
    this.#keptBytes = keptBytes;
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
   */
  text(author, text) {
    return this.#message(author, textBody(text));
  }

  /**
   * A message of ours that is on its way. It stays last until its place among the others' is known.
   * @param {Author} author
   * @param {string} text
   * @param {string} id
   */
  pending(author, text, id) {
    const line = this.#message(author, textBody(text), true);
    line.querySelector(".head")?.append(element("span", { class: "state" }, "sending…"));
    this.#ours.set(id, line);
  }

  /**
   * The fate of a message of ours is known.
   * @param {string} id
   * @param {string} state for people, like "sent"
   * @param {boolean} [bad]
   * @returns {boolean} whether the message is here
   */
  settle(id, state, bad = false) {
    const line = this.#ours.get(id);
    const place = line?.querySelector(".state");
    if (!line || !place) return false;
    place.textContent = state;
    place.classList.toggle("bad", bad);
    line.classList.remove("pending");
    // After a return the relay's order may differ from the one in which we said them.
    const waiting = this.#log.querySelector(".pending");
    if (waiting && waiting.compareDocumentPosition(line) & Node.DOCUMENT_POSITION_FOLLOWING) {
      waiting.before(line);
    }
    return true;
  }

  /**
   * A line about the room. The same once more only counts up.
   * @param {string} text
   * @param {"plain" | "warning"} [kind]
   */
  note(text, kind = "plain") {
    const last = this.#lastNote;
    if (last && last.text === text && !last.line.nextElementSibling && last.line.isConnected) {
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
      done: (whole, mime, content) => this.#put(line, body, author, whole, mime, content),
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
    this.#put(line, body, author, name, mime, content);
  }

  clear() {
    for (const line of this.#log.children) this.#release(/** @type {HTMLElement} */ (line));
    this.#log.replaceChildren();
    this.#ours.clear();
    this.#newest.hidden = true;
  }

  /** Show the last line. */
  #toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#newest.hidden = true;
  }

  /**
   * @param {HTMLElement} line
   * @param {HTMLElement} body of the line, replaced
   * @param {Author} author
   * @param {string} name
   * @param {string} mime
   * @param {Uint8Array<ArrayBuffer>} content
   */
  #put(line, body, { own, name: sender }, name, mime, content) {
    const { shown, url } = fileBody(own ? "you" : sender, name, mime, content, () =>
      this.#keepEnd(),
    );
    this.#blobs.set(line, { url, bytes: content.length });
    this.#blobBytes += content.length;
    body.replaceWith(shown);
    this.#makeRoom(line);
    this.#keepEnd();
  }

  /**
   * @param {Author} author
   * @param {HTMLElement} body
   * @param {boolean} [pending]
   */
  #message({ memberId, name, own }, body, pending = false) {
    const now = new Date();
    const time = element("time", { datetime: now.toISOString() }, clock.format(now));
    const who = element("bdi", { class: "name" }, own ? "You" : name);
    const head = element("p", { class: "head" }, who, " ", time, " ");
    const line = element("article", { class: own ? "line own" : "line" }, head, body);
    if (!own) line.classList.add(`member-${colourOf(memberId)}`);
    if (pending) line.classList.add("pending");
    this.#add(line, own);
    return line;
  }

  /**
   * @param {HTMLElement} line
   * @param {boolean} [show] even if the person has scrolled up
   */
  #add(line, show = false) {
    const follow = show || this.#atEnd();
    const waiting = line.classList.contains("pending") ? null : this.#log.querySelector(".pending");
    this.#log.insertBefore(line, waiting);
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

  /** @param {HTMLElement} newest */
  #makeRoom(newest) {
    for (const line of this.#blobs.keys()) {
      if (this.#blobBytes <= this.#keptBytes || line === newest) return;
      this.#release(line);
      const gone = element("p", { class: "detail" }, "This is too old to be kept any longer.");
      line.querySelector(".file")?.replaceChildren(gone);
    }
  }

  /** @param {HTMLElement} line */
  #release(line) {
    const blob = this.#blobs.get(line);
    if (!blob) return;
    URL.revokeObjectURL(blob.url);
    this.#blobBytes -= blob.bytes;
    this.#blobs.delete(line);
  }
}

/** @param {string} text */
function textBody(text) {
  return element("p", { class: "text", dir: "auto" }, ...withLinks(text));
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
