// Where a key is asked for: on servers that want one, and when a token has ended.
// @ts-check

import { Problem, request, words } from "../api.js";
import * as auth from "../auth.js";
import { h } from "../dom.js";

export class Login {
  name = "login";
  title = "Sign in";

  /** @param {{ expired: boolean, onDone: () => void }} options */
  constructor({ expired, onDone }) {
    this.key = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true, "aria-describedby": "login-help" });
    this.stay = h("input", { type: "checkbox", name: "stay" });
    this.alert = h("p", { role: "alert" });
    this.button = h("button", { class: "main", type: "submit", text: "Sign in" });
    this.root = h(
      "section", { class: "card login", "aria-labelledby": "login-title" },
      h("h1", { id: "login-title", text: expired ? "Your sign-in has ended" : "Sign in" }),
      h(
        "form", { onsubmit: (event) => this.#submit(event, onDone) },
        h("p", { class: "soft", id: "login-help", text: "An API key of this server. The page exchanges it for a token that is good for an hour, in this tab only." }),
        h("label", {}, "API key", this.key),
        h("label", { class: "check" }, this.stay, "Stay signed in until this tab is closed"),
        this.alert,
        this.button,
      ),
    );
  }

  open() {
    this.key.focus();
  }

  close() {}

  /**
   * @param {Event} event
   * @param {() => void} onDone
   */
  async #submit(event, onDone) {
    event.preventDefault();
    this.alert.textContent = "";
    this.button.disabled = true;
    try {
      await auth.login(this.key.value.trim(), { stay: this.stay.checked, request });
      onDone();
    } catch (error) {
      this.alert.textContent = error instanceof Problem && error.status === 401 ? "The server does not know this key." : `${words(error)}.`;
      this.key.focus();
    } finally {
      this.button.disabled = false;
    }
  }
}
