// @ts-check
/** The two pages before a room: the start, and the invitation. */

import { byId, tell } from "./dom.js";

/**
 * @typedef {object} FrontActions
 * @property {(name: string) => Promise<void>} create
 * @property {(link: string) => void} open
 * @property {(name: string) => Promise<void>} join
 * @property {() => void} cancel
 */

export class FrontView {
  #views = { start: byId("start"), join: byId("join") };
  #alerts = { start: byId("start-alert"), join: byId("join-alert") };
  #link = byId("open-link", HTMLInputElement);
  #names = [byId("create-name", HTMLInputElement), byId("join-name", HTMLInputElement)];

  /** @param {FrontActions} actions */
  constructor(actions) {
    const [createName, joinName] = this.#names;
    onSubmit("create-form", "Making a room…", () => actions.create(createName.value.trim()));
    onSubmit("join-form", "Entering the room…", () => actions.join(joinName.value.trim()));
    byId("open-form").addEventListener("submit", (event) => {
      event.preventDefault();
      actions.open(this.#link.value);
    });
    byId("join-cancel").addEventListener("click", actions.cancel);
  }

  /**
   * @param {string} [alert] what went wrong, and what to do about it
   */
  start(alert = "") {
    this.#link.value = "";
    this.#show("start", alert);
  }

  /**
   * @param {string} name what the link proposes
   * @param {string} [alert]
   */
  join(name, alert = "") {
    const field = this.#names[1];
    field.value ||= name;
    this.#show("join", alert);
    if (!alert) field.focus();
  }

  /**
   * Tell on the page that is shown.
   * @param {string} text
   */
  alert(text) {
    for (const name of /** @type {const} */ (["start", "join"])) {
      if (!this.#views[name].hidden) tell(this.#alerts[name], text);
    }
  }

  hide() {
    for (const view of Object.values(this.#views)) view.hidden = true;
  }

  /** Encryption is impossible here: nothing can be done on these pages. */
  disable() {
    for (const form of document.querySelectorAll("main.front form")) {
      for (const control of form.querySelectorAll("input, button")) {
        control.setAttribute("disabled", "");
      }
    }
  }

  /**
   * @param {"start" | "join"} name
   * @param {string} alert
   */
  #show(name, alert) {
    this.hide();
    document.title = name === "start" ? "Relay chat" : "Join the room · Relay chat";
    this.#views[name].hidden = false;
    tell(this.#alerts[name], alert);
    byId(`${name}-title`).focus();
  }
}

/**
 * @param {string} id of a form
 * @param {string} busyText
 * @param {() => Promise<void>} action during which the form cannot be sent again
 */
function onSubmit(id, busyText, action) {
  const form = byId(id, HTMLFormElement);
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button[type=submit]"));
  const busy = /** @type {HTMLElement} */ (form.querySelector(".busy"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled") === "true") return;
    // Not `disabled`, which would take the focus away.
    button.setAttribute("aria-disabled", "true");
    busy.textContent = busyText;
    try {
      await action();
    } finally {
      button.removeAttribute("aria-disabled");
      busy.textContent = "";
    }
  });
}
