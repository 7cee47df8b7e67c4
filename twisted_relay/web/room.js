// @ts-check
/** A room as the person meets it: what happens in the conversation, shown; what the person does, done. */

import { RoomCipher } from "./cipher.js";
import { Conversation } from "./conversation.js";
import { explainEnding } from "./explain.js";
import { inviteFragment } from "./invite.js";
import { LARGEST_FILE, safeName } from "./media.js";
import { Roster, readNotice } from "./roster.js";
import { forgetSeat, saveSeat } from "./seat.js";
import { safetyWords } from "./words.js";

const SENDING = "sending…";
const WRONG_KEY =
  "A message cannot be read: the key in your link does not fit. " +
  "Leave, and ask for the whole link again.";
const OTHER_KEY =
  "A message cannot be read: its sender has another key. Compare the safety words.";

/** @typedef {import("./events.js").ConversationEvent} ConversationEvent */
/**
 * @typedef {object} Where
 * @property {string} relay its WebSocket address
 * @property {string} page the address of this page, which invitations have
 * @property {(link: string) => string} command what joins from a terminal
 */
/** @typedef {{room: import("./view-room.js").RoomView, log: import("./view-log.js").LogView,
 *   panel: import("./view-panel.js").PanelView}} Views */

export class Room {
  #where;
  #views;
  #cipher;
  #words;
  #conversation;
  #roster = new Roster();
  #entered = false;
  #expectsOwnNotice = false;
  #keyFits = false;
  /** @type {Map<string, import("./view-log.js").FileLine>} */
  #files = new Map();
  /** @type {Promise<void>} files go out one after the other */
  #uploads = Promise.resolve();
  /** @type {import("./explain.js").Ending | null} */
  ending = null;

  /**
   * @param {Where} where
   * @param {Views} views
   * @param {RoomCipher} cipher
   * @param {string[]} words
   */
  constructor(where, views, cipher, words) {
    this.#where = where;
    this.#views = views;
    this.#cipher = cipher;
    this.#words = words;
    this.#conversation = new Conversation(where.relay, cipher, (event) => this.#on(event));
  }

  /**
   * @param {Where} where
   * @param {Views} views
   * @param {Uint8Array<ArrayBuffer> | null} key null makes a new one
   * @returns {Promise<Room>}
   */
  static async of(where, views, key) {
    const cipher = await (key ? RoomCipher.of(key) : RoomCipher.generate());
    return new Room(where, views, cipher, await safetyWords(cipher.keyBytes));
  }

  /** @param {string} name */
  async create(name) {
    this.#keyFits = true; // it is the key, whoever else may have another
    await this.#conversation.create(name);
  }

  /**
   * @param {string} roomId
   * @param {string | null} token
   * @param {string} name
   */
  async join(roomId, token, name) {
    this.#expectsOwnNotice = true;
    await this.#conversation.join(roomId, token, name);
  }

  /**
   * Take back a seat.
   * @param {import("./events.js").Place} place
   * @param {{id: string, sealed: string}[]} unacknowledged
   */
  async resume(place, unacknowledged) {
    this.#show(this.#linkTo(place.roomId));
    this.#views.room.status("Taking your seat back…");
    const again = await this.#conversation.resume(place, unacknowledged);
    for (const message of again) {
      this.#views.log.text(this.#me, message.text, { id: message.id, state: SENDING });
    }
  }

  get place() {
    return this.#conversation.place;
  }

  /** @returns {string} the link to the room */
  get link() {
    return this.#linkTo(this.place.roomId);
  }

  get key() {
    return this.#cipher.keyBytes;
  }

  /** Keep the seat for a reload, with what is not acknowledged. */
  save() {
    if (!this.#entered || this.ending) return;
    const { place, unacknowledged } = this.#conversation;
    saveSeat({ relay: this.#where.relay, place, key: this.#cipher.keyBytes, unacknowledged });
  }

  async leave() {
    this.#views.room.status("Leaving…");
    await this.#conversation.leave();
  }

  retryNow() {
    this.#conversation.retryNow();
  }

  /**
   * @param {string} text
   * @returns {boolean} whether it was taken
   */
  say(text) {
    try {
      for (const message of this.#conversation.say(text)) {
        this.#views.log.text(this.#me, message.text, { id: message.id, state: SENDING });
      }
    } catch (fault) {
      if (!(fault instanceof RangeError)) throw fault;
      this.#views.room.alert(`This was not sent: ${fault.message}.`);
      return false;
    }
    return true;
  }

  /** @param {File[]} files */
  send(files) {
    for (const file of files) this.#uploads = this.#uploads.then(() => this.#upload(file));
  }

  /** @param {File} file */
  async #upload(file) {
    const line = this.#views.log.file(this.#me, file.name, file.size);
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
      await this.#conversation.sendFile({ name, mime, content }, line.progress);
      line.done(name, mime, content);
    } catch (fault) {
      line.fail(fault instanceof Error ? fault.message : "it was refused");
    }
  }

  get #me() {
    return { memberId: this.place.memberId, name: this.place.label, own: true };
  }

  /**
   * @param {string} memberId
   * @param {string} claimed
   */
  #author(memberId, claimed) {
    const name = this.#roster.heard(memberId, claimed);
    this.#people();
    return { memberId, name, own: false };
  }

  // What happens

  /** @param {ConversationEvent} event */
  #on(event) {
    const { room, log } = this.#views;
    if (event.type === "joined") void this.#onJoined(event);
    else if (event.type === "said") this.#onSaid(event);
    else if (event.type === "sent") log.state(event.id, "sent");
    else if (event.type === "unsent") log.state(event.id, `not sent: ${event.reason}`, true);
    else if (event.type === "notice") this.#onNotice(event.text);
    else if (event.type === "stats") this.#onStats(event);
    else if (event.type === "token") this.save();
    else if (event.type === "gap") log.note("Some messages may be missing here.", "warning");
    else if (event.type === "lost") room.reconnecting(event.reason, event.retryMs);
    else if (event.type === "ended") this.#onEnded(event);
    else if (event.type === "unreadable") this.#onUnreadable();
    else if (event.type === "unknown") {
      log.note("A message is of a kind that this page does not know.", "warning");
    } else this.#onFile(event);
  }

  /** @param {Extract<ConversationEvent, {type: "joined"}>} event */
  #onJoined({ participants, max }) {
    const { room, log } = this.#views;
    const { memberId, label } = this.place;
    const back = this.#entered;
    this.#entered = true;
    this.#roster.me = memberId;
    this.#roster.heard(memberId, label);
    Object.assign(this.#roster, { participants, max });
    this.save();
    if (!room.isShown) this.#show(this.link);
    this.#people();
    room.status("In the room");
    if (back) log.note("Back in the room. What was said meanwhile is not kept.");
  }

  /** @param {Extract<ConversationEvent, {type: "said"}>} event */
  #onSaid({ memberId, own, message }) {
    const { room, log } = this.#views;
    if (own) {
      const sending = { id: message.id, state: "sent" };
      if (!log.has(message.id)) log.text(this.#me, message.text, sending);
      return;
    }
    this.#keyFits = true;
    room.alert("");
    log.text(this.#author(memberId, message.from), message.text);
    room.unread();
  }

  /** @param {string} text a line of the relay */
  #onNotice(text) {
    const notice = readNotice(text);
    if (!notice) {
      this.#views.log.note(text);
      return;
    }
    const { came, name } = notice;
    if (came && this.#expectsOwnNotice) {
      this.#expectsOwnNotice = false; // the first one after we joined is about us
      return;
    }
    if (came) this.#roster.came(name);
    else this.#roster.went(name);
    this.#views.log.note(came ? `${name} came in.` : `${name} left.`);
    this.#people();
  }

  /** @param {{participants: number, max: number}} stats */
  #onStats({ participants, max }) {
    Object.assign(this.#roster, { participants, max });
    this.#people();
  }

  #onUnreadable() {
    const { room, log } = this.#views;
    if (this.#keyFits) log.note(OTHER_KEY, "warning");
    else {
      room.alert(WRONG_KEY);
      log.note("A message cannot be read.", "warning");
    }
  }

  /** @param {import("./events.js").ReceivingEvent} event */
  #onFile(event) {
    const { room, log } = this.#views;
    if (event.type === "offered") {
      const author = this.#author(event.memberId, event.file.from);
      this.#files.set(event.key, log.file(author, event.file.name, event.file.size));
      room.unread();
    } else if (event.type === "progress") this.#files.get(event.key)?.progress(event.received);
    else if (event.type === "received") {
      const { key, name, mime, content } = event;
      const line = key === null ? undefined : this.#files.get(key);
      if (key !== null) this.#files.delete(key);
      if (line) line.done(name, mime, content);
      else {
        this.#keyFits = true;
        room.alert("");
        log.content(this.#author(event.memberId, event.from), name, mime, content);
        room.unread();
      }
    } else if (event.type === "failed") {
      const line = event.key === null ? undefined : this.#files.get(event.key);
      const what = event.name ? safeName(event.name) : "A file";
      if (line) line.fail(event.reason);
      else log.note(`${what} was not received: ${event.reason}.`, "warning");
    }
  }

  /** @param {{code: string, reason: string}} event */
  #onEnded({ code, reason }) {
    forgetSeat();
    this.ending = explainEnding(code, reason);
    if (code === "left") return;
    const { title, text, button } = this.ending;
    this.#views.room.ended(title, text, button);
  }

  #people() {
    this.#views.panel.people(this.#roster, this.place.label, this.#roster.others());
  }

  /** @param {string} roomId */
  #linkTo(roomId) {
    return this.#where.page + inviteFragment(roomId, this.#cipher.keyBytes);
  }

  /** @param {string} link */
  #show(link) {
    const { room, log, panel } = this.#views;
    log.clear();
    panel.room(link, this.#where.command(link), this.#words);
    room.show();
  }
}
