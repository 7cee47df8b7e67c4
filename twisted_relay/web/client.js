// @ts-check
/** A member of one room: enter, send, come back after a loss, leave. What it carries is opaque. */

import { Backoff } from "./backoff.js";
import { Exchange } from "./exchange.js";
import { countOf, textOf } from "./frames.js";
import { Gathering } from "./gathering.js";
import { limitsOf } from "./limits.js";
import { ConnectFailed, Refused } from "./link.js";
import { Repeats } from "./outbox.js";
import { Sender, SeatLost } from "./sender.js";

/** @typedef {import("./frames.js").Frame} Frame */

const OUR_FAULT = [1003, 1007, 1009]; // the same again would end the same way
const COME_AGAIN = ["ERR_UNAVAILABLE", "ERR_ROOM_FULL", "ERR_RATE_LIMITED"];
const LEAVE_MS = 3_000;
const SETTLED_MS = 10_000; // in the room for so long, the next loss is a new trouble

export class RoomClient {
  #listener;
  #backoff = new Backoff();
  #sender = new Sender();
  #repeats = new Repeats();
  #gathering = new Gathering();
  #exchange;
  #seated = false;
  #over = false;
  #returning = false;
  #returnTimer = 0;
  #seatedAt = 0;

  /**
   * @param {string} relay its WebSocket address
   * @param {(event: import("./events.js").ClientEvent) => void} listener hears everything, in order
   */
  constructor(relay, listener) {
    this.#listener = listener;
    this.#exchange = new Exchange(relay, {
      onFrame: (frame) => this.#onFrame(frame),
      onLost: (code, reason) => this.#onLost(code, reason),
    });
    /** @type {import("./events.js").Place} */
    this.place = { roomId: "", memberId: "", label: "", nextToken: "" };
    this.limits = limitsOf(null);
  }

  /**
   * Make a room and enter it.
   * @param {string} label
   * @throws {ConnectFailed | Refused}
   */
  async create(label) {
    await this.#enter("ROOM_CREATE", { label: label || null });
  }

  /**
   * Enter a room with a join token.
   * @param {string} roomId
   * @param {string} token
   * @param {string} label
   * @param {boolean} singleUse whether the token is one of a QR code
   * @throws {ConnectFailed | Refused}
   */
  async join(roomId, token, label, singleUse) {
    const field = singleUse ? "qrToken" : "token";
    await this.#enter("JOIN_REQUEST", { roomId, [field]: token, label: label || null });
  }

  /**
   * Take back a seat from before the page was loaded anew.
   * @param {import("./events.js").Place} place
   */
  resume(place) {
    this.place = place;
    this.#seated = true;
    void this.#return();
  }

  /** @returns {{id: string, sealed: string}[]} what was said and is not acknowledged */
  get unacknowledged() {
    return this.#sender.unacknowledged;
  }

  /**
   * Send to everybody in the room. Survives a lost connection: it goes out again with the same id.
   * @param {"APP_MSG" | "MEDIA_MSG"} kind
   * @param {string} id
   * @param {Record<string, unknown>} body without roomId
   * @returns {Promise<void>} done when the relay has handed it to the room
   * @throws {Refused | SeatLost}
   */
  async send(kind, id, body) {
    if (this.#over) throw new SeatLost("the conversation is over");
    await this.#sender.send(kind, id, { roomId: this.place.roomId, ...body });
  }

  /** Give the seat up and close; never fails. */
  async leave() {
    if (this.#seated && !this.#over && !this.#returning) {
      this.#over = true;
      const asked = this.#exchange.ask("LEAVE", { roomId: this.place.roomId }, LEAVE_MS);
      await asked.catch(() => undefined); // we go, whether or not the relay confirms it
    }
    this.#end("left", "left");
  }

  /** Come back now rather than when the wait is over. */
  retryNow() {
    if (this.#returnTimer && !this.#over) this.#startReturn();
  }

  // Entering

  /**
   * @param {string} kind
   * @param {Record<string, unknown>} body
   */
  async #enter(kind, body) {
    if (this.#over) throw new SeatLost("the conversation is over");
    try {
      this.#greeted(await this.#exchange.open());
      this.#sit(await this.#exchange.ask(kind, body));
    } catch (fault) {
      this.#exchange.close();
      throw fault;
    }
  }

  /** @param {Frame} frame HELLO */
  #greeted(frame) {
    this.limits = limitsOf(frame.body.limits);
    this.#sender.allow(this.limits);
  }

  /** @param {Frame} frame ROOM_CREATED or JOINED */
  #sit({ t, body }) {
    const created = t === "ROOM_CREATED";
    this.place = {
      roomId: textOf(body.roomId, this.place.roomId),
      memberId: textOf(body.memberId),
      label: textOf(body.label, this.place.label),
      nextToken: textOf(body.nextToken),
    };
    this.#seated = true;
    this.#returning = false;
    this.#seatedAt = performance.now();
    const participants = created ? 1 : countOf(body.participants, 1);
    this.#listener({
      type: "joined",
      participants,
      max: countOf(created ? body.maxParticipants : body.max),
      resumed: body.resumed === true,
    });
    this.#sender.start(this.#exchange.link, this.#gathering.patience(participants));
  }

  // Coming back

  /**
   * @param {number} code
   * @param {string} reason
   */
  #onLost(code, reason) {
    if (this.#over || !this.#seated || this.#returning) return;
    const replaced = code === 1008 && reason === "replaced";
    if (replaced || OUR_FAULT.includes(code) || !this.place.nextToken) {
      this.#end(replaced ? "replaced" : `${code}`, reason || `closed with ${code}`);
    } else {
      if (performance.now() - this.#seatedAt >= SETTLED_MS) this.#backoff.reset();
      this.#planReturn(reason || "the connection was lost");
    }
  }

  /** @param {string} reason */
  #planReturn(reason) {
    this.#returning = true;
    this.#sender.pause();
    this.#gathering.lost();
    const wait = this.#backoff.next();
    this.#returnTimer = setTimeout(() => this.#startReturn(), wait);
    this.#listener({ type: "lost", reason, retryMs: wait });
  }

  #startReturn() {
    clearTimeout(this.#returnTimer);
    this.#returnTimer = 0;
    void this.#return();
  }

  async #return() {
    this.#returning = true;
    const { roomId, nextToken: token } = this.place;
    try {
      this.#greeted(await this.#exchange.open());
      this.#sit(await this.#exchange.ask("JOIN_REQUEST", { roomId, token }));
    } catch (fault) {
      this.#exchange.close();
      if (this.#over) return;
      if (fault instanceof Refused && !COME_AGAIN.includes(fault.code)) {
        this.#end(fault.code, fault.message);
      } else {
        this.#planReturn(fault instanceof Error ? fault.message : "");
      }
    }
  }

  // What the relay says

  /** @param {Frame} frame */
  #onFrame(frame) {
    const { t, id, re, body } = frame;
    const memberId = textOf(body.memberId);
    if (t === "APP_MSG") this.#onMessage(id, memberId, textOf(body.ciphertextB64));
    else if (t === "MEDIA_MSG") {
      if (memberId && this.#repeats.isRepeat(memberId, id)) return;
      this.#listener({ type: "media", memberId, from: textOf(body.from), body });
    } else if (t === "ACK") this.#sender.acknowledge(re ?? "");
    else if (t === "ERROR") this.#sender.refuse(re ?? "", Refused.of(body));
    else if (t === "SYSTEM_MSG") this.#listener({ type: "notice", text: textOf(body.text) });
    else if (t === "ROOM_STATS") {
      const [participants, max] = [body.participants, body.max].map((value) => countOf(value));
      this.#listener({ type: "stats", participants, max });
      if (this.#gathering.complete(participants)) this.#sender.release();
    } else if (t === "TOKEN") {
      this.place = { ...this.place, nextToken: textOf(body.nextToken, this.place.nextToken) };
      this.#listener({ type: "token" });
    } else if (t === "GAP") this.#listener({ type: "gap" });
  }

  /**
   * @param {string} id
   * @param {string} memberId
   * @param {string} sealed
   */
  #onMessage(id, memberId, sealed) {
    const mine = memberId !== "" && memberId === this.place.memberId;
    const own = mine || (!memberId && this.#sender.has(id)); // older relays name no member
    if (!memberId || !this.#repeats.isRepeat(memberId, id)) {
      this.#listener({ type: "message", id, memberId, sealed, own });
    }
    if (own) this.#sender.acknowledge(id);
  }

  /**
   * @param {string} code
   * @param {string} reason
   */
  #end(code, reason) {
    this.#over = true;
    clearTimeout(this.#returnTimer);
    this.#exchange.close();
    this.#sender.giveUp(reason);
    if (this.#seated) this.#listener({ type: "ended", code, reason });
    this.#seated = false;
  }
}
