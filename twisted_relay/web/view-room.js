// @ts-check
/** The room's frame: its state, the composer, and how it ended. */

import { byId, tell } from "./dom.js";

/**
 * @typedef {object} RoomActions
 * @property {(text: string) => boolean} say whether the text was taken
 * @property {(files: File[]) => void} send
 * @property {() => void} leave
 * @property {() => void} retry
 * @property {() => void} again
 * @property {() => void} restart
 */

export class RoomView {
  #room = byId("room");
  #message = byId("message", HTMLTextAreaElement);
  #files = byId("files", HTMLInputElement);
  #composer = byId("composer");
  #ended = byId("ended");
  #connection = byId("connection");
  #countdown = 0;
  #unread = 0;

  /** @param {RoomActions} actions */
  constructor(actions) {
    this.#listenToComposer(actions);
    this.#listenToDrops(actions);
    byId("leave").addEventListener("click", actions.leave);
    byId("retry").addEventListener("click", actions.retry);
    byId("ended-again").addEventListener("click", actions.again);
    byId("ended-start").addEventListener("click", actions.restart);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#unread = 0;
      this.#title();
    });
  }

  get isShown() {
    return !this.#room.hidden;
  }

  show() {
    this.#room.hidden = false;
    this.#ended.hidden = true;
    this.#composer.hidden = false;
    this.alert("");
    this.#unread = 0;
    this.#title();
  }

  hide() {
    clearInterval(this.#countdown);
    this.#room.hidden = true;
    this.#message.value = "";
    this.#grow();
  }

  focus() {
    this.#message.focus();
  }

  /** @param {string} text the state, in a word or two */
  status(text) {
    clearInterval(this.#countdown);
    this.#connection.hidden = true;
    byId("status").textContent = text;
  }

  /**
   * The connection is lost.
   * @param {string} reason
   * @param {number} retryMs
   */
  reconnecting(reason, retryMs) {
    this.status("Reconnecting");
    const until = Date.now() + retryMs;
    const place = byId("countdown");
    const show = () => {
      const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
      place.textContent = seconds ? `Reconnecting in ${seconds} s.` : "Reconnecting now.";
    };
    byId("connection-text").textContent = `Not connected: ${reason}.`;
    this.#connection.hidden = false;
    this.#countdown = setInterval(show, 500);
    show();
  }

  /**
   * @param {string} title
   * @param {string} text what happened, and what can be done
   * @param {string} again what the first button does; "" for none
   */
  ended(title, text, again) {
    this.status("Ended");
    this.#composer.hidden = true;
    byId("ended-title").textContent = title;
    byId("ended-text").textContent = text;
    tell(byId("ended-again"), again);
    this.#ended.hidden = false;
    byId("ended-title").focus();
  }

  /** @param {string} text something is wrong, and stays so */
  alert(text) {
    tell(byId("room-alert"), text);
  }

  /** A message came: count it in the title while nobody looks. */
  unread() {
    if (!document.hidden) return;
    this.#unread += 1;
    this.#title();
  }

  #title() {
    if (this.#room.hidden) return;
    const count = this.#unread ? `(${this.#unread}) ` : "";
    document.title = `${count}Private room · Relay chat`;
  }

  /** @param {RoomActions} actions */
  #listenToComposer(actions) {
    const send = () => {
      if (this.#message.value.trim() && actions.say(this.#message.value)) {
        this.#message.value = "";
        this.#grow();
      }
    };
    this.#composer.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
      this.#message.focus();
    });
    this.#message.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word.
      const composes = event.isComposing || event.keyCode === 229; // the second is Safari's way
      if (event.key !== "Enter" || event.shiftKey || composes) return;
      event.preventDefault();
      send();
    });
    this.#message.addEventListener("input", () => this.#grow());
    byId("attach").addEventListener("click", () => this.#files.click());
    this.#files.addEventListener("change", () => {
      actions.send([...(this.#files.files ?? [])]);
      this.#files.value = "";
    });
    this.#room.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      const types = event.clipboardData?.types ?? [];
      // Office programs add a picture of the text that was copied.
      const text = types.includes("text/plain") && types.includes("text/html");
      if (!files.length || text || this.#composer.hidden) return;
      event.preventDefault();
      actions.send(files);
    });
  }

  /** @param {RoomActions} actions */
  #listenToDrops(actions) {
    const over = (/** @type {boolean} */ on) => this.#room.classList.toggle("dropping", on);
    this.#room.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      over(!this.#composer.hidden);
    });
    this.#room.addEventListener("dragleave", (event) => {
      if (!(event.relatedTarget instanceof Node)) over(false);
    });
    this.#room.addEventListener("drop", (event) => {
      const files = [...(event.dataTransfer?.files ?? [])];
      over(false);
      if (!files.length) return;
      event.preventDefault(); // or the browser would open the file in place of the room
      if (!this.#composer.hidden) actions.send(files);
    });
  }

  /** The field is as high as its text, within what the style allows. */
  #grow() {
    this.#message.rows = Math.min(8, Math.max(1, this.#message.value.split("\n").length));
  }
}
