// @ts-check
/** Sends a picture or another file to everybody in the room, piece by piece. */

import { sha256Hex } from "./cipher.js";
import { newId } from "./frames.js";
import * as media from "./media.js";
import { MESSAGE_CONTEXT, encodeMessage } from "./messages.js";

const IN_FLIGHT = 3; // pieces that wait for their acknowledgement

/** @typedef {{name: string, mime: string, content: Uint8Array<ArrayBuffer>}} OutgoingFile */

/**
 * @param {import("./client.js").RoomClient} client
 * @param {import("./cipher.js").RoomCipher} cipher
 * @param {OutgoingFile} file
 * @param {(sent: number) => void} onProgress hears how many bytes were handed to the room
 * @throws {import("./link.js").Refused | import("./sender.js").SeatLost | RangeError}
 */
export async function sendFile(client, cipher, file, onProgress) {
  const { mime, content } = file;
  const { maxWsMsgBytes } = client.limits;
  const chunkSize = media.chunkSizeFor(maxWsMsgBytes);
  const common = { size: content.length, chunkSize, mediaId: newId() };
  const pieces = media.cut(content, chunkSize);
  /** @type {(index: number) => Promise<string>} */
  const seal = (index) =>
    cipher.seal(pieces[index], media.pieceContext(index, pieces[index].length));
  const small = media.fitsOneFrame(content.length, chunkSize, maxWsMsgBytes);
  if (small && media.isPicture(mime, content)) {
    const chunks = await Promise.all(pieces.map((_, index) => seal(index)));
    await client.send("MEDIA_MSG", newId(), { mime, ...common, chunks });
    onProgress(content.length);
    return;
  }
  await announce(client, cipher, file, common.mediaId);
  let sent = 0;
  /** @type {Set<Promise<void>>} */
  const flying = new Set();
  for (const [part, piece] of pieces.entries()) {
    const chunks = [await seal(part)];
    const body = { mime: media.OCTETS, ...common, part, parts: pieces.length, chunks };
    const flight = client.send("MEDIA_MSG", newId(), body).then(() => {
      flying.delete(flight);
      onProgress((sent += piece.length));
    });
    flight.catch(() => undefined); // the race and the end below tell of the first that fails
    flying.add(flight);
    // Few at a time: progress is true, and little is in memory twice.
    if (flying.size >= IN_FLIGHT) await Promise.race(flying);
  }
  await Promise.all(flying);
}

/**
 * @param {import("./client.js").RoomClient} client
 * @param {import("./cipher.js").RoomCipher} cipher
 * @param {OutgoingFile} file
 * @param {string} mediaId
 */
async function announce(client, cipher, { name, mime, content }, mediaId) {
  const id = newId();
  /** @type {import("./messages.js").FileMessage} */
  const message = {
    type: "file",
    id,
    ts: Date.now(),
    from: client.place.label,
    mediaId,
    name: media.safeName(name),
    mime: mime || media.OCTETS,
    size: content.length,
    sha256: await sha256Hex(content),
  };
  const sealed = await cipher.seal(encodeMessage(message), MESSAGE_CONTEXT);
  await client.send("APP_MSG", id, { ciphertextB64: sealed });
}
