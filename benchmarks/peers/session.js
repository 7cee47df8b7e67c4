// One client's conversation, whatever carries it. The carrier gives: send(frame), enter(roomId),
// leave(roomId), broadcast(roomId, frame), close(code, reason).
import { randomBytes } from "node:crypto";
import { rooms } from "./rooms.js";
import { Bucket, checkText, isFrame, limits, Refusal, sign, verify } from "./rules.js";

const random = () => randomBytes(16).toString("base64url");
const frameOf = (t, body, re) => ({ v: 1, t, id: random(), body, re });

export class Session {
  constructor(carrier) {
    this.carrier = carrier;
    this.roomId = null;
    this.memberId = random();
    this.label = null;
    this.busy = false; // a join is awaited; later frames wait, so that order is kept
    this.waiting = [];
    this.frames = new Bucket(limits.framesPer10s);
    this.bytes = new Bucket(limits.bytesPer10s);
    this.say("HELLO", { serverTimeUnixMs: Date.now() });
  }

  say(t, body, re) {
    this.carrier.send(frameOf(t, body, re));
  }

  hear(frame, size) {
    if (!this.frames.take(1) || !this.bytes.take(size))
      return this.carrier.close(1008, "rate limit exceeded");
    if (!isFrame(frame)) return this.carrier.close(1003, "invalid message");
    if (this.busy) this.waiting.push(frame);
    else this.act(frame);
  }

  act(frame) {
    try {
      if (frame.t === "APP_MSG") this.relay(frame);
      else if (frame.t === "PING") this.say("PONG", {}, frame.id);
      else if (frame.t === "ROOM_CREATE") this.await(this.create(frame), frame);
      else if (frame.t === "JOIN_REQUEST") this.await(this.join(frame), frame);
      else throw new Refusal("ERR_INVALID_MESSAGE");
    } catch (fault) {
      this.refuse(fault, frame);
    }
  }

  relay({ id, body }) {
    if (this.roomId === null || body.roomId !== this.roomId) throw new Refusal("ERR_NOT_IN_ROOM");
    checkText(body.ciphertextB64);
    const copy = {
      roomId: this.roomId,
      ciphertextB64: body.ciphertextB64,
      memberId: this.memberId,
    };
    this.carrier.broadcast(this.roomId, { v: 1, t: "APP_MSG", id, body: copy });
  }

  async create(frame) {
    if (this.roomId !== null) throw new Refusal("ERR_ALREADY_IN_ROOM");
    const roomId = random();
    await rooms.create(roomId);
    this.enter(roomId, 1);
    const qrExpUnixMs = Date.now() + 60_000;
    const qrToken = sign({ v: 1, rid: roomId, exp: qrExpUnixMs, jti: random() });
    const created = { roomId, qrToken, qrExpUnixMs, maxParticipants: limits.roomMax };
    this.say("ROOM_CREATED", { ...created, memberId: this.memberId, label: this.label }, frame.id);
    this.say("ROOM_STATS", { roomId, participants: 1, max: limits.roomMax });
  }

  async join(frame) {
    const { roomId, qrToken, token } = frame.body;
    if (this.roomId !== null) throw new Refusal("ERR_ALREADY_IN_ROOM");
    if (typeof roomId !== "string") throw new Refusal("ERR_INVALID_MESSAGE");
    const count = await rooms.join(roomId, verify(qrToken ?? token, roomId));
    this.enter(roomId, count);
    const stats = { roomId, participants: count, max: limits.roomMax };
    const { memberId, label } = this;
    const nextTokenExpUnixMs = Date.now() + 86_400_000;
    const nextToken = sign({ v: 1, rid: roomId, exp: nextTokenExpUnixMs, jti: random() });
    this.say("JOINED", { ...stats, label, memberId, nextToken, nextTokenExpUnixMs }, frame.id);
    const text = `this person has entered the chat with the name ${this.label}`;
    this.carrier.broadcast(roomId, frameOf("SYSTEM_MSG", { roomId, text, type: "info" }));
    this.carrier.broadcast(roomId, frameOf("ROOM_STATS", stats));
  }

  enter(roomId, count) {
    this.roomId = roomId;
    this.label = `P${count}`;
    this.carrier.enter(roomId);
  }

  await(step, frame) {
    this.busy = true;
    step
      .catch((fault) => this.refuse(fault, frame))
      .then(() => {
        this.busy = false;
        while (!this.busy && this.waiting.length > 0) this.act(this.waiting.shift());
      });
  }

  refuse(fault, frame) {
    if (!(fault instanceof Refusal)) return this.carrier.close(1011, "internal error");
    this.say("ERROR", { code: fault.code, retryable: fault.retryable }, frame.id);
  }

  async end() {
    const { roomId } = this;
    if (roomId === null) return;
    this.roomId = null;
    this.carrier.leave(roomId);
    const count = await rooms.leave(roomId);
    if (count > 0)
      this.carrier.broadcast(
        roomId,
        frameOf("ROOM_STATS", { roomId, participants: count, max: limits.roomMax }),
      );
  }
}
