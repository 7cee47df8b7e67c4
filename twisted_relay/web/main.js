// @ts-check
/** The page: which view is shown, and what the address says. */

import { byId } from "./dom.js";
import { explainEntry } from "./explain.js";
import { Refused } from "./link.js";
import {
  InviteError,
  inviteFragment,
  looksLikeInvite,
  pageFolder,
  parseInvite,
  relayAddress,
} from "./invite.js";
import { Room } from "./room.js";
import { loadSeat } from "./seat.js";
import { FrontView } from "./view-front.js";
import { LogView } from "./view-log.js";
import { PanelView } from "./view-panel.js";
import { RoomView } from "./view-room.js";

/** @typedef {import("./invite.js").Invite} Invite */

const configured = document.querySelector('meta[name="relay"]')?.getAttribute("content") ?? "";
const page = pageFolder(location.href);
const relay = relayAddress(location.href, configured) ?? "";
const hosts = [new URL(page).host, relay && new URL(relay).host];

/** @type {import("./room.js").Where} */
const where = {
  relay,
  page,
  command: (link) => (configured.trim() ? `relay-chat ${relay} '${link}'` : `relay-chat '${link}'`),
};

/** @type {Invite | null} the invitation of the page that asks for a name */
let invite = null;
/** @type {Room | null} */
let room = null;
/** @type {Room | null} where the person is about to go in */
let entering = null;
let attempt = 0; // counts them: what an earlier one comes to is of no concern any more

const front = new FrontView({ create, open, join, cancel: () => toStart() });
const views = {
  log: new LogView(),
  panel: new PanelView(),
  room: new RoomView({
    say: (text) => room?.say(text) ?? false,
    send: (files) => room?.send(files),
    leave: () => void leave(),
    retry: () => room?.retryNow(),
    again: () => void again(),
    restart: () => toStart(),
  }),
};

/** @param {string} name */
async function create(name) {
  try {
    const made = await enter(null, (one) => one.create(name));
    if (made) entered(made, true);
  } catch (fault) {
    front.alert(explainEntry(fault));
  }
}

/** @param {string} name */
async function join(name) {
  if (!invite) return;
  const { roomId, key, token, host } = invite;
  try {
    const joined = await enter(key, (one) => one.join(roomId, token, name));
    if (joined) entered(joined, false);
  } catch (fault) {
    const elsewhere = fault instanceof Refused && host && !hosts.includes(host);
    const hint = elsewhere ? ` The link is one of ${host}: open it there.` : "";
    front.alert(explainEntry(fault) + hint);
  }
}

/**
 * Go into a room, unless the person does something else before one is in.
 * @param {Uint8Array<ArrayBuffer> | null} key null makes a new one
 * @param {(room: Room) => Promise<void>} how
 * @returns {Promise<Room | null>} null if it was given up
 */
async function enter(key, how) {
  giveUp();
  const mine = attempt;
  const made = await Room.of(where, views, key);
  if (attempt !== mine) return null;
  entering = made;
  try {
    await how(made);
  } catch (fault) {
    if (attempt !== mine) return null;
    throw fault;
  }
  return attempt === mine ? made : null;
}

/** The person has turned to something else: a room that they were going into is left at once. */
function giveUp() {
  attempt += 1;
  void entering?.leave();
  entering = null;
}

/**
 * @param {Room} made
 * @param {boolean} inviting whether nobody else is there yet
 */
function entered(made, inviting) {
  room = made;
  entering = null;
  invite = null;
  front.hide();
  history.replaceState(null, "", made.link);
  views.panel.open(inviting);
  views.room.focus();
}

/** @param {string} link */
function open(link) {
  history.replaceState(null, "", page);
  readInvite(link);
}

/**
 * @param {string} text an address, or what a person took for one
 * @param {string} [label] the name that the person had before
 */
function readInvite(text, label = "") {
  giveUp();
  try {
    invite = parseInvite(text);
  } catch (fault) {
    if (!(fault instanceof InviteError)) throw fault;
    toStart(fault.message);
    return;
  }
  const { roomId, key, token, name } = invite;
  // The key leaves the query, if it was there: a reload would send it to the server.
  history.replaceState(null, "", page + inviteFragment(roomId, key, token));
  const seat = loadSeat(relay);
  if (seat && inviteFragment(roomId, key) === inviteFragment(seat.place.roomId, seat.key)) {
    void resume(seat);
  } else front.join(name || label);
}

/** @param {import("./seat.js").Seat} seat */
async function resume({ place, key, unacknowledged }) {
  leaveView();
  const mine = attempt;
  const made = await Room.of(where, views, key);
  if (attempt !== mine) return;
  room = made;
  history.replaceState(null, "", page + inviteFragment(place.roomId, key));
  await made.resume(place, unacknowledged);
  views.room.focus();
}

/** @param {string} [alert] */
function toStart(alert = "") {
  leaveView();
  invite = null;
  history.replaceState(null, "", page);
  front.start(alert);
}

async function leave() {
  const leaving = room;
  await leaving?.leave();
  if (room === leaving) toStart();
}

/** Try once more after the end: with the old seat, or as a new person. */
async function again() {
  const old = room;
  if (!old?.ending) return;
  const { place, key, link, ending } = old;
  if (ending.again === "resume") await resume({ relay, place, key, unacknowledged: [] });
  else {
    leaveView();
    // A name that the relay gave belongs to the seat, and not to the person.
    readInvite(link, /^P\d+$/.test(place.label) ? "" : place.label);
  }
}

function leaveView() {
  giveUp();
  room = null;
  views.room.hide();
  views.log.clear();
  views.panel.open(false);
  front.hide();
}

/** What the address asks for; at the start, and when somebody changes it. */
function route() {
  if (looksLikeInvite(location.href)) readInvite(location.href);
  else toStart();
}

function onAddress() {
  if (!room || room.ending) {
    leaveView();
    route();
  } else if (location.href !== room.link) {
    history.replaceState(null, "", room.link);
    views.log.note("Leave this room before you open another link in this tab.", "warning");
  }
}

function start() {
  showTrust();
  if (!globalThis.isSecureContext || !crypto.subtle) {
    front.start(
      "Your browser cannot encrypt here: it allows that only on pages with https:// (or on this " +
        "computer itself). Open this page with https://, or ask who hosts it to add TLS.",
    );
    front.disable();
    return;
  }
  if (!relay) {
    front.start("This page names no relay. Whoever hosts it has to write one into its index.html.");
    front.disable();
    return;
  }
  addEventListener("hashchange", onAddress);
  addEventListener("pagehide", () => room?.save());
  addEventListener("online", () => room?.retryNow());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) room?.save();
    else room?.retryNow();
  });
  route();
}

function showTrust() {
  const template = byId("trust-template", HTMLTemplateElement);
  for (const place of document.querySelectorAll(".trust")) {
    place.append(template.content.cloneNode(true));
  }
  for (const place of document.querySelectorAll(".page-host")) place.textContent = hosts[0];
  for (const place of document.querySelectorAll(".relay-host")) place.textContent = hosts[1];
}

start();
