// @ts-check
/** What happens in a room, as values. Types only: no page loads this file. */

/** @typedef {{roomId: string, memberId: string, label: string, nextToken: string}} Place */

/**
 * What a RoomClient tells; `own` marks a message of this client that came back.
 * @typedef {{type: "joined", participants: number, max: number, resumed: boolean}
 *   | {type: "message", id: string, memberId: string, sealed: string, own: boolean}
 *   | {type: "media", memberId: string, from: string, body: Record<string, unknown>}
 *   | {type: "notice", text: string}
 *   | {type: "stats", participants: number, max: number}
 *   | {type: "token"} | {type: "gap"}
 *   | {type: "lost", reason: string, retryMs: number}
 *   | {type: "ended", code: string, reason: string}} ClientEvent
 */

/**
 * What Receiving tells. `key` names a file that was announced; null one that was not.
 * @typedef {{type: "offered", key: string, memberId: string,
 *      file: import("./messages.js").FileMessage}
 *   | {type: "progress", key: string, received: number, size: number}
 *   | {type: "received", key: string | null, memberId: string, from: string, name: string,
 *      mime: string, content: Uint8Array<ArrayBuffer>}
 *   | {type: "failed", key: string | null, memberId: string, name: string, reason: string}
 *   | {type: "unreadable", memberId: string, from: string}} ReceivingEvent
 */

/**
 * What a Conversation tells.
 * @typedef {Exclude<ClientEvent, {type: "message"} | {type: "media"}> | ReceivingEvent
 *   | {type: "said", memberId: string, own: boolean, message: import("./messages.js").TextMessage}
 *   | {type: "unsent", id: string, reason: string}
 *   | {type: "unknown", memberId: string}} ConversationEvent
 */

export {};
