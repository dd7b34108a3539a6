// What this page is streaming, in a strip below its head: it goes on whatever view is shown.
// @ts-check

import * as api from "./api.js";
import { h, mark, write } from "./dom.js";
import { Streamer } from "./streamer.js";

/** @typedef {import("./streamer.js").State} State */

/** @type {Record<State, string>} */
const SAYS = { running: "streaming", paused: "paused", broken: "reconnecting", ended: "done", failed: "failed" };

/** @type {Record<State, string | null>} */
const LOOKS = { running: "live", paused: "paused", broken: "lost", ended: null, failed: "lost" };

export class Running {
  /** @type {Map<Streamer, ReturnType<typeof parts>>} */
  #strips = new Map();

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
  }

  /**
   * Open a session and stream a feed through it; gives the session.
   * @param {{ name: string, feed: Feed, model: string, audio?: Wire.Audio | null, particles?: number, onStop?: () => void }} options
   */
  async start({ name, feed, model, audio = null, particles = 1, onStop }) {
    const session = await api.create({ model, particles, ...(audio ? { audio } : {}) });
    const streamer = new Streamer({ session, feed, name, onStop, onChange: (one) => this.#show(one) });
    this.#show(streamer);
    return session;
  }

  /** Stop all. */
  stop() {
    for (const streamer of [...this.#strips.keys()]) {
      streamer.stop();
      this.#drop(streamer);
    }
  }

  /** @param {Streamer} streamer */
  #show(streamer) {
    const strip = this.#strips.get(streamer) ?? this.#add(streamer);
    write(strip.state, streamer.error ? `${SAYS[streamer.state]}: ${streamer.error}` : SAYS[streamer.state]);
    mark(strip.state, "data-state", LOOKS[streamer.state]);
    write(strip.count, `${streamer.answered} steps`);
    if (streamer.progress !== null) strip.progress.value = streamer.progress;
    strip.progress.hidden = streamer.progress === null;
    const over = streamer.state === "ended" || streamer.state === "failed";
    strip.pause.hidden = over || streamer.feed.push !== undefined;
    write(strip.pause, streamer.state === "paused" ? "Resume" : "Pause");
    write(strip.stop, over ? "Close" : "Stop");
  }

  /** @param {Streamer} streamer */
  #add(streamer) {
    const strip = parts(streamer, () => this.#stop(streamer));
    this.root.append(strip.root);
    this.#strips.set(streamer, strip);
    return strip;
  }

  /** @param {Streamer} streamer */
  #stop(streamer) {
    if (streamer.state === "ended" || streamer.state === "failed") this.#drop(streamer);
    else streamer.stop();
  }

  /** @param {Streamer} streamer */
  #drop(streamer) {
    this.#strips.get(streamer)?.root.remove();
    this.#strips.delete(streamer);
  }
}

/**
 * The elements of a strip.
 * @param {Streamer} streamer
 * @param {() => void} onStop
 */
function parts(streamer, onStop) {
  const id = streamer.session.id;
  const state = h("span", { class: "chip" });
  const count = h("span", { class: "soft" });
  const progress = h("progress", { max: "1", "aria-label": `${streamer.name}: done` });
  const pause = h("button", { type: "button", onclick: () => (streamer.state === "paused" ? streamer.resume() : streamer.pause()) });
  const stop = h("button", { type: "button", onclick: onStop });
  const link = h("a", { href: `#/session/${id}`, class: "mono", text: id.slice(0, 10) });
  const root = h("div", { class: "running", "data-stream": id }, h("strong", { text: streamer.name }), link, state, count, progress, pause, stop);
  return { state, count, progress, pause, stop, root };
}
