// The relay on Fastify and @fastify/websocket (ws). A message is encoded once, and the same Buffer
// goes to each member.
import websocket from "@fastify/websocket";
import Fastify, { LogController } from "fastify";
import { limits, tls } from "./rules.js";
import { Session } from "./session.js";

const members = new Map(); // the sockets in a room, by its id
const sockets = new Set();

const encoded = (frame) => Buffer.from(JSON.stringify(frame));
const asText = { binary: false };

class Carrier {
  constructor(socket) {
    this.socket = socket;
  }

  send(frame) {
    this.socket.send(encoded(frame), asText);
  }

  broadcast(roomId, frame) {
    const data = encoded(frame);
    for (const socket of members.get(roomId) ?? []) {
      if (socket.bufferedAmount > limits.slowBytes) socket.close(1008, "slow consumer");
      else socket.send(data, asText);
    }
  }

  enter(roomId) {
    let room = members.get(roomId);
    if (!room) members.set(roomId, (room = new Set()));
    room.add(this.socket);
  }

  leave(roomId) {
    const room = members.get(roomId);
    room?.delete(this.socket);
    if (room?.size === 0) members.delete(roomId);
  }

  close(code, reason) {
    this.socket.close(code, reason);
  }
}

// No line for each request, which the relay does not write either.
const app = Fastify({
  logger: true,
  logController: new LogController({ disableRequestLogging: true }),
  https: tls,
});
await app.register(websocket, {
  options: { maxPayload: limits.maxFrameBytes, perMessageDeflate: false },
});
app.get("/healthz", async () => ({ ok: true }));
app.get("/ws", { websocket: true }, (socket) => {
  const session = new Session(new Carrier(socket));
  sockets.add(socket);
  socket.alive = true;
  socket.on("pong", () => (socket.alive = true));
  socket.on("message", (data, isBinary) => {
    let frame;
    try {
      frame = isBinary ? null : JSON.parse(data.toString());
    } catch {
      frame = null;
    }
    session.hear(frame, data.length);
  });
  socket.on("error", () => socket.terminate());
  socket.on("close", () => {
    sockets.delete(socket);
    session.end().catch((fault) => app.log.error({ type: fault.name }, "leave failed"));
  });
});

setInterval(() => {
  for (const socket of sockets) {
    if (!socket.alive) socket.terminate();
    else {
      socket.alive = false;
      socket.ping();
    }
  }
}, limits.pingMs);

await app.listen({ host: "127.0.0.1", port: limits.port, backlog: 1024 });
