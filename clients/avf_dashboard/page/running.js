// What this page is streaming, in a strip below its head: it goes on whatever view is shown.

import * as api from "./api.js";
import { h, mark, write } from "./dom.js";
import { Streamer } from "./streamer.js";

const SAYS = { running: "streaming", paused: "paused", broken: "reconnecting", ended: "done", failed: "failed" };

export class Running {
  #strips = new Map();

  constructor(root) {
    this.root = root;
  }

  /** Open a session and stream a feed through it; gives the session. */
  async start({ name, feed, model, audio = null, onStop }) {
    const session = await api.create({ model, ...(audio ? { audio } : {}) });
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

  #show(streamer) {
    const strip = this.#strips.get(streamer) ?? this.#add(streamer);
    write(strip.state, streamer.error ? `${SAYS[streamer.state]}: ${streamer.error}` : SAYS[streamer.state]);
    mark(strip.state, "data-state", { running: "live", paused: "paused", broken: "lost", failed: "lost" }[streamer.state] ?? null);
    write(strip.count, `${streamer.answered} steps`);
    if (streamer.progress !== null) strip.progress.value = streamer.progress;
    strip.progress.hidden = streamer.progress === null;
    const over = streamer.state === "ended" || streamer.state === "failed";
    strip.pause.hidden = over || streamer.feed.push !== undefined;
    write(strip.pause, streamer.state === "paused" ? "Resume" : "Pause");
    write(strip.stop, over ? "Close" : "Stop");
  }

  #add(streamer) {
    const id = streamer.session.id;
    const strip = {
      state: h("span", { class: "chip" }),
      count: h("span", { class: "soft" }),
      progress: h("progress", { max: "1", "aria-label": `${streamer.name}: done` }),
      pause: h("button", { type: "button", onclick: () => (streamer.state === "paused" ? streamer.resume() : streamer.pause()) }),
      stop: h("button", { type: "button", onclick: () => this.#stop(streamer) }),
    };
    strip.root = h("div", { class: "running", "data-stream": id }, h("strong", { text: streamer.name }), h("a", { href: `#/session/${id}`, class: "mono", text: id.slice(0, 10) }), strip.state, strip.count, strip.progress, strip.pause, strip.stop);
    this.root.append(strip.root);
    this.#strips.set(streamer, strip);
    return strip;
  }

  #stop(streamer) {
    if (streamer.state === "ended" || streamer.state === "failed") this.#drop(streamer);
    else streamer.stop();
  }

  #drop(streamer) {
    this.#strips.get(streamer)?.root.remove();
    this.#strips.delete(streamer);
  }
}
