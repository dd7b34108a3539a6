// What is known of one session: its steps in order, each with its figures, and with all of its estimate where that was
// seen. Bounded: figures of the last STEPS steps, arrays of as many as fit in ARRAYS bytes.

const STEPS = 20_000;
const ARRAYS = 96 * 1024 * 1024;
const PAUSE = 12; // times the usual time between steps, after which going on is a resumption worth a mark
const LEAST_PAUSE = 5; // seconds

const order = (a, b) => a.epoch - b.epoch || a.seq - b.seq;
const floats = (values) => (values ? Float32Array.from(values, (value) => (value === null ? NaN : value)) : null);
const moments = (said) => ({ mean: floats(said.mean), deviation: floats(said.deviation) });

/** An estimate as it came, with its arrays as such. */
export function estimateOf(said) {
  return {
    prior: moments(said.prior),
    posterior: moments(said.posterior),
    prediction: moments(said.prediction),
    likelihood: moments(said.likelihood),
    energies: said.free_energies,
    observation: said.observation === undefined ? undefined : floats(said.observation),
  };
}

/** The steps of one session. Positions are counted so that a step keeps its own as long as none is put before it. */
export class Trace {
  entries = [];
  marks = []; // {epoch, seq, kind, text}
  version = 0;
  #arrays = 0;
  #oldest = 0; // where to look for arrays to drop
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

  /** Take figures of steps, in any order, some of them perhaps known. */
  addHistory(entries) {
    for (const said of entries) this.#put(said);
    this.#trim();
  }

  /** Take an estimate. `at` is when it was seen, where the server does not say. */
  addEstimate(said, at) {
    const entry = this.#put({ at, ...said });
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

  /** Note what happened before step `seq`. */
  addMark(epoch, seq, kind, text) {
    if (!this.marks.some((mark) => mark.epoch === epoch && mark.seq === seq && mark.kind === kind)) {
      this.marks.push({ epoch, seq, kind, text });
      this.version++;
    }
  }

  /** The position of the first step at or after (epoch, seq). */
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

  #put(said) {
    this.version++;
    const at = this.last === null || order(this.last, said) < 0 ? this.entries.length : this.find(said.epoch, said.seq);
    const here = this.entries[at];
    if (here && order(here, said) === 0) return Object.assign(here, figures(said, here));
    const entry = { epoch: said.epoch, seq: said.seq, full: null, ...figures(said, {}) };
    this.entries.splice(at, 0, entry);
    if (at < this.entries.length - 1) this.#oldest = 0;
    if (at > 0) this.#note(this.entries[at - 1], entry);
    return entry;
  }

  #note(before, entry) {
    if (entry.epoch > before.epoch) this.addMark(entry.epoch, entry.seq, "reset", `reset: epoch ${entry.epoch} begins`);
    const gap = entry.at - before.at;
    if (!(gap >= 0)) return;
    if (this.#gap !== null && gap > Math.max(LEAST_PAUSE, PAUSE * this.#gap)) {
      this.addMark(entry.epoch, entry.seq, "resume", `resumed after ${Math.round(gap)} s`);
    } else {
      this.#gap = this.#gap === null ? gap : 0.9 * this.#gap + 0.1 * gap;
    }
  }

  #trim() {
    while (this.entries.length > STEPS) {
      this.#drop(this.entries.shift());
      this.#oldest = Math.max(0, this.#oldest - 1);
    }
    while (this.#arrays > ARRAYS && this.#oldest < this.entries.length - 1) this.#drop(this.entries[this.#oldest++]);
  }

  #drop(entry) {
    if (!entry.full) return;
    this.#arrays -= weight(entry.full);
    entry.full = null;
  }
}

function figures(said, known) {
  return {
    at: said.at ?? known.at ?? NaN,
    F: said.free_energy,
    reconstruction: said.reconstruction,
    kl: said.kl,
    prior: said.prior_free_energy ?? said.free_energies?.[0] ?? known.prior ?? NaN,
    iterations: said.iterations,
    surprise: said.surprise ?? known.surprise ?? null,
    durability: said.durability ?? known.durability,
  };
}

function weight(full) {
  const sizes = [full.prior, full.posterior, full.prediction, full.likelihood].map(
    (each) => each.mean.byteLength + (each.deviation?.byteLength ?? 0),
  );
  return sizes.reduce((a, b) => a + b, full.observation?.byteLength ?? 0);
}
