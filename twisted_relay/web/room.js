// @ts-check
/** A room as the person meets it: what happens is shown, what the person does is done. */

import { RoomCipher } from "./cipher.js";
import { Conversation } from "./conversation.js";
import { explainEnding } from "./explain.js";
import { inviteFragment } from "./invite.js";
import { People } from "./people.js";
import { forgetSeat, saveSeat } from "./seat.js";
import { Transfers } from "./transfers.js";
import { safetyWords } from "./words.js";

const WRONG_KEY =
  "A message cannot be read: the key in your link does not fit. " +
  "Leave, and ask for the whole link again.";
const OTHER_KEY = "A message cannot be read: its sender has another key. Compare the safety words.";

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
  #people;
  #entered = false;
  #keyFits = false;
  #transfers;
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
    this.#people = new People(views.log, views.panel);
    this.#transfers = new Transfers(views.log, {
      me: () => this.#me,
      author: (memberId, claimed) => this.#people.author(memberId, claimed),
      send: (file, onProgress) => this.#conversation.sendFile(file, onProgress),
    });
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
    this.#people.expectOwnNotice();
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
    this.#views.log.note("What was said before you came back is not kept.");
    const again = await this.#conversation.resume(place, unacknowledged);
    for (const { id, text } of again) this.#views.log.pending(this.#me, text, id);
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
    if (!this.place.nextToken || this.ending) return;
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
        this.#views.log.pending(this.#me, message.text, message.id);
      }
    } catch (fault) {
      if (!(fault instanceof RangeError)) throw fault;
      this.#views.log.note(`This was not sent: ${fault.message}.`, "warning");
      return false;
    }
    return true;
  }

  /** @param {File[]} files */
  send(files) {
    this.#transfers.send(files);
  }

  get #me() {
    return { memberId: this.place.memberId, name: this.place.label, own: true };
  }

  // What happens

  /** @param {ConversationEvent} event */
  #on(event) {
    const { room, log } = this.#views;
    if (event.type === "joined") void this.#onJoined(event);
    else if (event.type === "said") this.#onSaid(event);
    else if (event.type === "unsent") log.settle(event.id, `not sent: ${event.reason}`, true);
    else if (event.type === "notice") this.#people.notice(event.text);
    else if (event.type === "stats") this.#people.count(event.participants, event.max);
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
    const back = this.#entered;
    this.#entered = true;
    this.save();
    if (!room.isShown) this.#show(this.link);
    this.#people.joined(this.place, participants, max);
    room.status("In the room");
    if (back) log.note("You are back in the room. What was said meanwhile is not kept.");
    else if (participants === 1) log.note("You are alone here. Share the link to invite somebody.");
  }

  /** @param {Extract<ConversationEvent, {type: "said"}>} event */
  #onSaid({ memberId, own, message }) {
    const { log } = this.#views;
    if (own) {
      if (!log.settle(message.id, "sent")) log.text(this.#me, message.text);
      return;
    }
    this.#keyIsRight();
    log.text(this.#people.author(memberId, message.from), message.text);
    this.#unread();
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
    const alone = event.type === "received" && event.key === null;
    if (alone) this.#keyIsRight();
    this.#transfers.on(event);
    if (alone || event.type === "offered") this.#unread();
  }

  #unread() {
    this.#views.room.unread();
    this.#views.panel.unread();
  }

  #keyIsRight() {
    if (this.#keyFits) return;
    this.#keyFits = true;
    this.#views.room.alert("");
  }

  /** @param {{code: string, reason: string}} event */
  #onEnded({ code, reason }) {
    forgetSeat();
    this.ending = explainEnding(code, reason);
    if (code === "left") return;
    const { title, text, button } = this.ending;
    this.#views.room.ended(title, text, button);
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
