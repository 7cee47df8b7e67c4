// @ts-check
/** Beside the messages: the invitation, who is here, and the safety words. */

import { byId, element } from "./dom.js";
import { qrCode } from "./qr.js";

const QUIET_ZONE = 4; // modules around a QR code that must stay light
const SVG = "http://www.w3.org/2000/svg";

export class PanelView {
  #panel = byId("panel");
  #toggle = byId("panel-toggle");
  #link = byId("link", HTMLInputElement);
  #copied = byId("copied");
  #news = byId("panel-news");
  #unseen = 0; // messages that came while the panel covered them

  constructor() {
    this.#toggle.addEventListener("click", () => this.open(!this.isOpen));
    byId("panel-close").addEventListener("click", () => {
      this.open(false);
      this.#toggle.focus();
    });
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.open(false);
      this.#toggle.focus();
    });
    byId("copy").addEventListener("click", () => void this.#copy());
    this.#link.addEventListener("focus", () => this.#link.select());
    const share = byId("share");
    share.hidden = !("share" in navigator);
    share.addEventListener("click", () => {
      navigator.share({ url: this.#link.value }).catch(() => undefined); // they decided otherwise
    });
  }

  get isOpen() {
    return this.#toggle.getAttribute("aria-expanded") === "true";
  }

  /** @param {boolean} open */
  open(open) {
    this.#toggle.setAttribute("aria-expanded", String(open));
    document.body.classList.toggle("panel-open", open);
    this.#unseen = 0;
    this.#news.textContent = "";
  }

  /** A message came, perhaps behind the panel. */
  unread() {
    if (!this.isOpen) return;
    this.#unseen += 1;
    this.#news.textContent = `${this.#unseen} new`;
  }

  /**
   * @param {string} link
   * @param {string} command that joins from a terminal
   * @param {string[]} words
   */
  room(link, command, words) {
    this.#link.value = link;
    this.#copied.textContent = "";
    byId("command").textContent = command;
    byId("words").replaceChildren(...words.map((word) => element("li", {}, word)));
    const holder = byId("qr");
    try {
      holder.replaceChildren(drawQr(link));
    } catch {
      holder.replaceChildren("The link is too long for a QR code.");
    }
  }

  /**
   * @param {{participants: number, max: number}} count
   * @param {string} me
   * @param {{names: string[], unheard: number}} others
   */
  people({ participants, max }, me, { names, unheard }) {
    const places = max ? ` of ${max}` : "";
    byId("count").textContent = `${participants}${places} in the room`;
    byId("count-short").textContent = String(participants);
    const lines = [`${me} (you)`, ...names];
    if (unheard) lines.push(`${unheard} whose name you have not heard yet`);
    byId("people").replaceChildren(
      ...lines.map((line) => element("li", {}, element("bdi", {}, line))),
    );
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#link.value);
      this.#copied.textContent = "The link is copied.";
    } catch {
      this.#link.focus();
      this.#link.select();
      this.#copied.textContent = "Your browser does not allow it. The link is selected: copy it.";
    }
  }
}

/** @param {string} text */
function drawQr(text) {
  const { rows } = qrCode(text);
  const size = rows.length + 2 * QUIET_ZONE;
  const parts = [];
  for (const [y, row] of rows.entries()) {
    for (const [x, dark] of row.entries()) {
      if (dark) parts.push(`M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z`);
    }
  }
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "QR code of the invitation");
  svg.setAttribute("shape-rendering", "crispEdges");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", parts.join(""));
  svg.append(path);
  return svg;
}
