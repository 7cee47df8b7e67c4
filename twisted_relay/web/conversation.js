// @ts-check
/** A conversation in one room: sealed on its way out, opened on its way in. */

import { CipherError } from "./cipher.js";
import { RoomClient } from "./client.js";
import { newId } from "./frames.js";
import { Refused, fetchToken } from "./link.js";
import {
  MESSAGE_CONTEXT,
  UnknownMessage,
  decodeMessage,
  encodeMessage,
  splitText,
} from "./messages.js";
import { Repeats } from "./outbox.js";
import { Receiving } from "./receiving.js";
import { sendFile } from "./sending.js";

/** @typedef {import("./events.js").ClientEvent} ClientEvent */
/** @typedef {import("./messages.js").TextMessage} TextMessage */

export class Conversation {
  #relay;
  #cipher;
  #listener;
  #client;
  #receiving;
  #heard = new Repeats();
  /** @type {Promise<void>} what came is told in order, though decrypting takes its time */
  #inbox = Promise.resolve();
  /** @type {Promise<unknown>} what is said goes out in order, though encrypting takes its time */
  #line = Promise.resolve();

  /**
   * @param {string} relay its WebSocket address
   * @param {import("./cipher.js").RoomCipher} cipher
   * @param {(event: import("./events.js").ConversationEvent) => void} listener
   */
  constructor(relay, cipher, listener) {
    this.#relay = relay;
    this.#cipher = cipher;
    this.#listener = listener;
    this.#receiving = new Receiving(cipher, listener);
    this.#client = new RoomClient(relay, (event) => {
      this.#inbox = this.#inbox.then(() => this.#on(event));
    });
  }

  get place() {
    return this.#client.place;
  }

  get unacknowledged() {
    return this.#client.unacknowledged;
  }

  /**
   * Make a room.
   * @param {string} name
   * @throws {import("./link.js").ConnectFailed | Refused}
   */
  async create(name) {
    await this.#client.create(name);
    await this.#inbox;
  }

  /**
   * Enter a room. A token of the link that is spent or expired is replaced by a fresh one.
   * @param {string} roomId
   * @param {string | null} token
   * @param {string} name
   * @throws {import("./link.js").ConnectFailed | Refused}
   */
  async join(roomId, token, name) {
    const first = token ?? (await fetchToken(this.#relay, roomId));
    try {
      await this.#client.join(roomId, first, name, token !== null);
    } catch (fault) {
      const stale = fault instanceof Refused && fault.code.startsWith("ERR_TOKEN_");
      if (!token || !stale) throw fault;
      await this.#client.join(roomId, await fetchToken(this.#relay, roomId), name, false);
    }
    await this.#inbox;
  }

  /**
   * Take back the seat of before a reload, and say again what was not acknowledged then.
   * @param {import("./events.js").Place} place
   * @param {{id: string, sealed: string}[]} unacknowledged
   * @returns {Promise<TextMessage[]>} what is said again
   */
  async resume(place, unacknowledged) {
    /** @type {TextMessage[]} */
    const again = [];
    this.#client.resume(place);
    for (const { id, sealed } of unacknowledged) {
      const message = await this.#open(sealed).catch(() => null);
      if (message?.type !== "text") continue; // a file's content is gone with the old page
      again.push(message);
      void this.#deliver(id, sealed);
    }
    return again;
  }

  /**
   * Say something; a long text becomes several messages. For each follows "said", with `own`, in
   * its place among those of others, or "unsent".
   * @param {string} text
   * @returns {TextMessage[]} to be shown as pending
   * @throws {RangeError} if the relay's limits leave no room
   */
  say(text) {
    const from = this.place.label;
    const parts = splitText(text.toWellFormed(), from, this.#client.limits);
    return parts.map((part) => {
      /** @type {TextMessage} */
      const message = { type: "text", id: newId(), ts: Date.now(), from, text: part };
      this.#line = this.#line.then(async () => {
        void this.#deliver(
          message.id,
          await this.#cipher.seal(encodeMessage(message), MESSAGE_CONTEXT),
        );
      });
      return message;
    });
  }

  /**
   * Send a picture or another file to everybody.
   * @param {import("./sending.js").OutgoingFile} file
   * @param {(sent: number) => void} onProgress hears how many bytes were handed to the room
   * @throws {Refused | import("./sender.js").SeatLost | RangeError}
   */
  async sendFile(file, onProgress) {
    await sendFile(this.#client, this.#cipher, file, onProgress);
  }

  /** Give the seat up; never fails. */
  async leave() {
    await this.#client.leave();
    await this.#inbox;
  }

  /** While the connection is lost: try again now. */
  retryNow() {
    this.#client.retryNow();
  }

  /**
   * @param {string} id
   * @param {string} sealed
   */
  async #deliver(id, sealed) {
    try {
      await this.#client.send("APP_MSG", id, { ciphertextB64: sealed });
    } catch (fault) {
      this.#listener({ type: "unsent", id, reason: fault instanceof Error ? fault.message : "" });
    }
  }

  /** @param {string} sealed */
  async #open(sealed) {
    return decodeMessage(await this.#cipher.open(sealed, MESSAGE_CONTEXT));
  }

  /** @param {ClientEvent} event */
  async #on(event) {
    if (event.type === "message") await this.#onMessage(event);
    else if (event.type === "media") {
      await this.#receiving.media(event.memberId, event.from, event.body);
    } else {
      if (event.type === "gap") this.#receiving.gap();
      if (event.type === "ended") this.#receiving.stop();
      this.#listener(event);
    }
  }

  /** @param {Extract<ClientEvent, {type: "message"}>} event */
  async #onMessage({ memberId, sealed, own }) {
    try {
      const message = await this.#open(sealed);
      // Without the key one can still send again, as one's own, what another member has sealed.
      const repeat = message.id !== "" && this.#heard.isRepeat("inside", message.id);
      if (repeat && !own) return;
      if (message.type === "text") this.#listener({ type: "said", memberId, own, message });
      else if (!own) this.#receiving.announce(memberId, message);
    } catch (fault) {
      if (fault instanceof UnknownMessage) this.#listener({ type: "unknown", memberId });
      else if (fault instanceof CipherError) {
        this.#listener({ type: "unreadable", memberId, from: "" });
      } else throw fault;
    }
  }
}
