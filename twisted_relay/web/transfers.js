// @ts-check
/** Pictures and files as they come and go, in the log of a room. */

import { LARGEST_FILE, safeName } from "./media.js";

/** @typedef {import("./view-log.js").Author} Author */

/**
 * @typedef {object} TransferOwner
 * @property {() => Author} me
 * @property {(memberId: string, claimed: string) => Author} author
 * @property {(file: import("./sending.js").OutgoingFile, onProgress: (sent: number) => void) =>
 *   Promise<void>} send
 */

export class Transfers {
  #log;
  #owner;
  /** @type {Map<string, import("./view-log.js").FileLine>} announced files under way to us */
  #incoming = new Map();
  /** @type {Promise<void>} files go out one after the other */
  #outgoing = Promise.resolve();

  /**
   * @param {import("./view-log.js").LogView} log
   * @param {TransferOwner} owner
   */
  constructor(log, owner) {
    this.#log = log;
    this.#owner = owner;
  }

  /** @param {File[]} files */
  send(files) {
    for (const file of files) {
      const line = this.#log.file(this.#owner.me(), file.name, file.size);
      this.#outgoing = this.#outgoing.then(() => this.#upload(file, line));
    }
  }

  /**
   * @param {File} file
   * @param {import("./view-log.js").FileLine} line
   */
  async #upload(file, line) {
    if (file.size === 0) return line.fail("it is empty");
    if (file.size > LARGEST_FILE) return line.fail("a file may have 10 MB at most");
    let content;
    try {
      content = new Uint8Array(await file.arrayBuffer());
    } catch {
      return line.fail("your browser cannot read it");
    }
    const { name, type: mime } = file;
    try {
      await this.#owner.send({ name, mime, content }, line.progress);
      line.done(name, mime, content);
    } catch (fault) {
      line.fail(fault instanceof Error ? fault.message : "it was refused");
    }
  }

  /** @param {import("./events.js").ReceivingEvent} event */
  on(event) {
    if (event.type === "offered") {
      const { key, memberId, file } = event;
      const author = this.#owner.author(memberId, file.from);
      this.#incoming.set(key, this.#log.file(author, file.name, file.size));
    } else if (event.type === "progress") {
      this.#incoming.get(event.key)?.progress(event.received);
    } else if (event.type === "received") {
      const { memberId, from, name, mime, content } = event;
      const line = this.#take(event.key);
      if (line) line.done(name, mime, content);
      else this.#log.content(this.#owner.author(memberId, from), name, mime, content);
    } else if (event.type === "failed") {
      const line = this.#take(event.key);
      const what = event.name ? safeName(event.name) : "A file";
      if (line) line.fail(event.reason);
      else this.#log.note(`${what} was not received: ${event.reason}.`, "warning");
    }
  }

  /** @param {string | null} key */
  #take(key) {
    const line = key === null ? undefined : this.#incoming.get(key);
    if (key !== null) this.#incoming.delete(key);
    return line;
  }
}
