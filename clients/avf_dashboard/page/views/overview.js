// Every stream alive: how the server is, which models it holds, and the sessions with what they have felt lately.
// @ts-check

import * as api from "../api.js";
import { h, write } from "../dom.js";
import { Fleet } from "../fleet.js";
import { count, short } from "../format.js";
import { Rows } from "./rows.js";
import { Tiles } from "./tiles.js";

const POLL = 2_000; // milliseconds between looks at the server's status

export class Overview {
  name = "overview";
  title = "Overview";
  /** @type {number | undefined} */
  #timer;
  #closed = new AbortController();

  /** @param {Shared} shared */
  constructor(shared) {
    this.shared = shared;
    this.tiles = new Tiles();
    this.models = h("ul", { class: "models", "aria-label": "Models" });
    this.total = h("span", { class: "soft" });
    this.search = h("input", { type: "search", placeholder: "Search sessions", "aria-label": "Search sessions by name or model" });
    this.filter = h(
      "select", { "aria-label": "Which sessions are shown" },
      [["all", "All sessions"], ["live", "Moving"], ["surprised", "Surprised"], ["ended", "Ended"]].map(([value, text]) => h("option", { value, text })),
    );
    this.fleet = new Fleet({
      onChange: (changed, what) => this.rows.changed(changed, what),
      onState: (state) => shared.state(state),
    });
    this.rows = new Rows(this.fleet, { onCount: (shown, all) => write(this.total, shown === all ? count(all) : `${count(shown)} of ${count(all)}`) });
    for (const field of [this.search, this.filter]) field.addEventListener("input", () => this.rows.select(this.search.value, this.filter.value));
    this.root = h(
      "div", {},
      h("div", { class: "head" }, h("h1", { text: "Overview" })),
      this.tiles.root,
      h("div", { class: "head" }, h("h2", { text: "Models" })),
      this.models,
      h("div", { class: "head" }, h("h2", {}, "Sessions ", this.total), this.search, this.filter),
      this.rows.root,
    );
  }

  open() {
    this.fleet.open();
    this.#poll();
    this.#listModels();
  }

  close() {
    this.#closed.abort();
    clearTimeout(this.#timer);
    this.fleet.close();
    this.rows.close();
    this.tiles.close();
  }

  repaint() {
    this.rows.repaint();
  }

  async #poll() {
    try {
      if (!document.hidden) this.tiles.show(await api.status(this.#closed.signal));
    } catch {
      this.tiles.lost(); // what is shown is old, and said to be
    }
    if (!this.#closed.signal.aborted) this.#timer = setTimeout(() => this.#poll(), POLL);
  }

  async #listModels() {
    try {
      const models = await api.models(this.#closed.signal);
      this.models.replaceChildren(...models.map(card));
    } catch {
      if (!this.#closed.signal.aborted) this.#timer = setTimeout(() => this.#listModels(), POLL);
    }
  }
}

/** @param {Wire.ModelInfo} model */
function card(model) {
  const procedure = model.iterations ? `${model.inference} inference, ${model.iterations} iterations` : `${model.inference} inference`;
  const sizes = `${model.observation_size} observed, ${model.latent_size} latent`;
  /** @param {string} text */
  const line = (text) => h("span", { class: "soft line", text });
  return h(
    "li", { class: "card" },
    h("strong", { text: model.name }),
    line(`${model.kind} for ${model.modality} · ${short(model.parameters)} parameters`),
    line(sizes),
    line(procedure),
  );
}
