// What is known of one session: its steps in order, each with its figures, and with all of its estimate where that was
// seen. Bounded: figures of the last STEPS steps, arrays of as many as fit in ARRAYS bytes.
// @ts-check

import { short } from "./format.js";

/** @typedef {Place & { kind: string, text: string }} Mark what happened before a step */

const STEPS = 20_000;
const ARRAYS = 96 * 1024 * 1024;
const PAUSE = 12; // times the usual time between steps, after which going on is a resumption worth a mark
const LEAST_PAUSE = 5; // seconds

/**
 * @param {Place} a
 * @param {Place} b
 */
const order = (a, b) => a.epoch - b.epoch || a.seq - b.seq;
/** @param {(number | null)[]} values */
const floats = (values) => Float32Array.from(values, (value) => (value === null ? NaN : value));
/**
 * @param {Wire.Moments} said
 * @returns {Expected}
 */
const moments = ({ mean, deviation }) => ({ mean: floats(mean), deviation: deviation && floats(deviation) });
/**
 * @param {Wire.Moments} said
 * @returns {Belief}
 */
const belief = ({ mean, deviation }) => ({ mean: floats(mean), deviation: floats(deviation ?? []) });

/**
 * An estimate as it came, with its arrays as such.
 * @param {Wire.Estimate} said
 * @returns {Full}
 */
export function estimateOf(said) {
  return {
    prior: belief(said.prior),
    posterior: belief(said.posterior),
    prediction: moments(said.prediction),
    likelihood: moments(said.likelihood),
    quantiles: said.prediction_quantiles && {
      levels: said.prediction_quantiles.levels,
      values: said.prediction_quantiles.values.map(floats),
    },
    energies: said.free_energies,
    observation: said.observation && floats(said.observation),
    inputs: said.inputs && floats(said.inputs),
  };
}

/**
 * Those whose arrays are here.
 * @param {Entry[]} entries
 */
export const whole = (entries) => /** @type {Whole[]} */ (entries.filter((entry) => entry.full));

/**
 * Those of which the observation is here.
 * @param {Entry[]} entries
 */
export const heard = (entries) => /** @type {Heard[]} */ (entries.filter((entry) => entry.full?.observation));

/** The steps of one session. Positions are counted so that a step keeps its own as long as none is put before it. */
export class Trace {
  /** @type {Entry[]} */
  entries = [];
  /** @type {Mark[]} */
  marks = [];
  version = 0;
  #arrays = 0;
  #oldest = 0; // where to look for arrays to drop
  /** @type {number | null} */
  #gap = null; // usual seconds between steps

  /** The newest step, or null. */
  get last() {
    return this.entries.length ? this.entries[this.entries.length - 1] : null;
  }

  /** The newest step whose arrays are here, or null. */
  get newest() {
    for (let i = this.entries.length - 1; i >= 0; i--) if (this.entries[i].full) return this.entries[i];
    return null;
  }

  /** Steps a second, of the last few; NaN where two steps are not known yet. */
  get rate() {
    const some = this.entries.slice(-32).filter((entry) => Number.isFinite(entry.at));
    const seconds = some.length > 1 ? some[some.length - 1].at - some[0].at : 0;
    return seconds > 0 ? (some.length - 1) / seconds : NaN;
  }

  /**
   * Take figures of steps, in any order, some of them perhaps known.
   * @param {Wire.HistoryEntry[]} entries
   */
  addHistory(entries) {
    for (const said of entries) {
      this.#put(said);
      if (said.alarm) this.addMark(said.epoch, said.seq, "alarm", "alarm");
    }
    this.#trim();
  }

  /**
   * Take an estimate. `at` is when it was seen, where the server does not say.
   * @param {Wire.Estimate} said
   * @param {number} [at]
   */
  addEstimate(said, at) {
    const entry = this.#put({ at, ...said });
    if (said.alarm?.raised) this.addMark(entry.epoch, entry.seq, "alarm", "alarm");
    if (entry.full) return;
    entry.full = estimateOf(said);
    entry.missing = said.observation === null;
    if (entry.missing && !this.entries[this.find(entry.epoch, entry.seq) - 1]?.missing) {
      this.addMark(entry.epoch, entry.seq, "gap", "gap: not observed");
    }
    entry.iterations = said.iterations;
    this.#arrays += weight(entry.full);
    this.#trim();
  }

  /**
   * Note what happened before step `seq`.
   * @param {number} epoch
   * @param {number} seq
   * @param {string} kind
   * @param {string} text
   */
  addMark(epoch, seq, kind, text) {
    if (!this.marks.some((mark) => mark.epoch === epoch && mark.seq === seq && mark.kind === kind)) {
      this.marks.push({ epoch, seq, kind, text });
      this.version++;
    }
  }

  /**
   * The position of the first step at or after (epoch, seq).
   * @param {number} epoch
   * @param {number} seq
   */
  find(epoch, seq) {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order(this.entries[middle], { epoch, seq }) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {Said} said */
  #put(said) {
    this.version++;
    const at = this.last === null || order(this.last, said) < 0 ? this.entries.length : this.find(said.epoch, said.seq);
    const here = this.entries[at];
    if (here && order(here, said) === 0) return Object.assign(here, figures(said, here));
    /** @type {Entry} */
    const entry = { epoch: said.epoch, seq: said.seq, full: null, ...figures(said, {}) };
    this.entries.splice(at, 0, entry);
    if (at < this.entries.length - 1) this.#oldest = 0;
    if (at > 0) this.#note(this.entries[at - 1], entry);
    return entry;
  }

  /**
   * @param {Entry} before
   * @param {Entry} entry
   */
  #note(before, entry) {
    if (entry.epoch > before.epoch) this.addMark(entry.epoch, entry.seq, "reset", `reset: epoch ${entry.epoch} begins`);
    const timed = Number.isFinite(entry.time) && Number.isFinite(before.time) && entry.epoch === before.epoch;
    const gap = timed ? entry.time - before.time : entry.at - before.at;
    if (!(gap >= 0)) return;
    if (this.#gap !== null && gap > Math.max(timed ? 0 : LEAST_PAUSE, PAUSE * this.#gap)) {
      this.addMark(entry.epoch, entry.seq, "resume", timed ? `gap of ${short(gap)}` : `resumed after ${Math.round(gap)} s`);
    } else {
      this.#gap = this.#gap === null ? gap : 0.9 * this.#gap + 0.1 * gap;
    }
  }

  #trim() {
    while (this.entries.length > STEPS) {
      this.#drop(this.entries[0]);
      this.entries.shift();
      this.#oldest = Math.max(0, this.#oldest - 1);
    }
    while (this.#arrays > ARRAYS && this.#oldest < this.entries.length - 1) this.#drop(this.entries[this.#oldest++]);
  }

  /** @param {Entry} entry */
  #drop(entry) {
    if (!entry.full) return;
    this.#arrays -= weight(entry.full);
    entry.full = null;
  }
}

/**
 * @param {Said} said
 * @param {Partial<Entry>} known
 */
function figures(said, known) {
  return {
    at: said.at ?? known.at ?? NaN,
    F: said.free_energy,
    reconstruction: said.reconstruction,
    kl: said.kl,
    prior: ("free_energies" in said ? said.free_energies[0] : said.prior_free_energy) ?? known.prior ?? NaN,
    iterations: said.iterations,
    surprise: said.surprise ?? known.surprise ?? null,
    durability: "durability" in said ? said.durability : known.durability,
    bound: said.evidence_bound ?? known.bound ?? NaN,
    effective: said.effective_sample_size ?? known.effective ?? NaN,
    time: said.time ?? known.time ?? NaN,
  };
}

/** @param {Full} full */
function weight(full) {
  const sizes = /** @type {Expected[]} */ ([full.prior, full.posterior, full.prediction, full.likelihood]).map(
    (each) => each.mean.byteLength + (each.deviation?.byteLength ?? 0),
  );
  const levels = full.quantiles?.values ?? [];
  const beside = levels.reduce((sum, values) => sum + values.byteLength, full.observation?.byteLength ?? 0);
  return sizes.reduce((a, b) => a + b, beside);
}
