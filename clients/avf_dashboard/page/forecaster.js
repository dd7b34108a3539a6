// Forecasts of the session that is looked at: when asked for, and every few seconds while it moves and the chart can be
// seen. One at a time, and only where the session has gone on since the last.
// @ts-check

import * as api from "./api.js";

const EVERY = 4_000; // milliseconds
const VALUES = 200_000; // steps x paths x dimensions, below the server's usual bound
const PATHS = 60;
const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];

export class Forecaster {
  /** @type {number | undefined} */
  #timer;
  #asking = false;
  /** @type {string | null} */
  #last = null;
  #closed = new AbortController();

  /**
   * `wanted()` says whether to go on asking; `show(forecast)` takes what comes. Where the model takes inputs, the last
   * ones, of `inputs()`, are held.
   * @param {{ id: string, model: Wire.ModelInfo, horizon: number, inputs: () => number[], wanted: () => boolean, show: (forecast: Wire.Forecast) => void, place: () => string | null }} options
   */
  constructor({ id, model, horizon, inputs, wanted, show, place }) {
    this.id = id;
    this.model = model;
    this.horizon = horizon;
    this.inputs = inputs;
    this.wanted = wanted;
    this.show = show;
    this.place = place;
    this.#timer = setInterval(() => this.wanted() && this.#moved() && this.ask(), EVERY);
  }

  /** Ask now. Gives what went wrong, in words, or null. */
  async ask() {
    if (this.#asking) return null;
    this.#asking = true;
    const most = Math.floor(VALUES / (this.horizon * this.model.observation_size));
    const paths = Math.max(2, Math.min(PATHS, most));
    const here = this.place();
    try {
      const body = { horizon: this.horizon, paths, quantiles: QUANTILES, ...this.#held() };
      this.show(await api.forecast(this.id, body, this.#closed.signal));
      this.#last = here;
      return null;
    } catch (error) {
      return this.#closed.signal.aborted ? null : api.words(error);
    } finally {
      this.#asking = false;
    }
  }

  #held() {
    const size = this.model.input_size;
    if (!size) return {};
    const last = this.inputs();
    const held = Array.from({ length: size }, (_, i) => last[i] ?? 0);
    return { inputs: Array.from({ length: this.horizon }, () => held) };
  }

  close() {
    clearInterval(this.#timer);
    this.#closed.abort();
  }

  #moved() {
    const here = this.place();
    return here !== null && here !== this.#last;
  }
}
