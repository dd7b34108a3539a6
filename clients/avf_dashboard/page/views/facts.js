// The figures of one step, in one line.
// @ts-check

import { h, mark, write } from "../dom.js";
import { clock, count, moment, nats, probability, rate, short, surprise } from "../format.js";

/** @type {Record<string, [title: string, text: (entry: Entry, known: Known) => string]>} */
const FACTS = {
  step: ["Step", (entry) => count(entry.seq)],
  epoch: ["Epoch", (entry) => String(entry.epoch)],
  F: ["Free energy, nats", (entry) => nats(entry.F)],
  reconstruction: ["Reconstruction", (entry) => nats(entry.reconstruction)],
  kl: ["KL", (entry) => nats(entry.kl)],
  surprise: ["Surprise, p", (entry) => probability(entry.surprise)],
  bound: ["Evidence bound, nats", (entry) => nats(entry.bound)],
  particles: ["Effective particles", (entry, known) => (Number.isFinite(entry.effective) ? `${short(entry.effective)} of ${known.session?.particles ?? 1}` : "–")],
  gain: ["Gain of inference", (entry) => (Number.isFinite(entry.prior) ? nats(entry.prior - entry.F) : "–")],
  rate: ["Steps a second", (entry, known) => (known.ended ? "ended" : rate(known.trace.rate))],
  durability: ["Durability", (entry, known) => entry.durability ?? known.session?.durability ?? "–"],
  time: ["At", (entry) => (Number.isFinite(entry.time) ? moment(entry.time) : clock(entry.at))],
};

export class Facts {
  constructor() {
    /** @type {Record<string, HTMLElement>} */
    this.values = {};
    this.root = h("dl", { class: "card facts" }, Object.entries(FACTS).map(([name, [title]]) => {
      this.values[name] = h("dd", { "data-fact": name, text: "–" });
      return h("div", {}, h("dt", { text: title }), this.values[name]);
    }));
  }

  /**
   * Show a step of what is known of its session.
   * @param {Entry | null} entry
   * @param {Known} known
   */
  show(entry, known) {
    if (!entry) return;
    for (const [name, [, text]] of Object.entries(FACTS)) write(this.values[name], text(entry, known));
    mark(this.values.surprise, "data-level", surprise(entry.surprise));
    mark(this.root, "data-seq", `${entry.epoch}.${entry.seq}`);
  }
}
