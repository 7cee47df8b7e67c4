// The relay on socket.io, over its WebSocket transport only. A frame of the protocol is the one
// argument of the event "frame"; a broadcast is socket.io's own, which encodes once for a room.
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { Server } from "socket.io";
import { limits, tls } from "./rules.js";
import { Session } from "./session.js";

const http = tls ? createTlsServer(tls) : createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  maxHttpBufferSize: limits.maxFrameBytes,
  pingInterval: limits.pingMs,
});

class Carrier {
  constructor(socket) {
    this.socket = socket;
  }

  send(frame) {
    this.socket.emit("frame", frame);
  }

  broadcast(roomId, frame) {
    io.to(roomId).emit("frame", frame);
  }

  enter(roomId) {
    this.socket.join(roomId);
  }

  leave(roomId) {
    this.socket.leave(roomId);
  }

  close() {
    this.socket.disconnect(true); // socket.io has no codes
  }
}

io.on("connection", (socket) => {
  const session = new Session(new Carrier(socket));
  // The size on the wire is not told; the text is nearly all of it.
  socket.on("frame", (frame) => session.hear(frame, 128 + (frame?.body?.ciphertextB64?.length ?? 0)));
  socket.on("disconnect", () => {
    session.end().catch((fault) => console.error(`leave failed: ${fault.name}`));
  });
});

http.listen({ host: "127.0.0.1", port: limits.port, backlog: 1024 });
