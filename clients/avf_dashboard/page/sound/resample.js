// From one rate to another, in pieces of any length: a sinc within a Hann window, narrow enough that nothing folds back.
// @ts-check

const CROSSINGS = 12; // of the sinc, to either side
const ROOM = 0.94; // of the lower rate's band that is kept

/** A stream of samples at rate `from`, told in pieces, given back at rate `to`. */
export class Resampler {
  #rest = new Float32Array(0);
  #at = 0; // where in `rest` the next output stands

  /**
   * @param {number} from
   * @param {number} to
   */
  constructor(from, to) {
    this.step = from / to;
    this.cut = Math.min(1, to / from) * (from === to ? 1 : ROOM);
    this.half = Math.ceil(CROSSINGS / this.cut);
    this.same = from === to;
    this.#rest = new Float32Array(this.same ? 0 : this.half);
    this.#at = this.half;
  }

  /**
   * What `piece` completes.
   * @param {Float32Array} piece
   */
  push(piece) {
    if (this.same) return piece;
    const all = new Float32Array(this.#rest.length + piece.length);
    all.set(this.#rest);
    all.set(piece, this.#rest.length);
    const made = [];
    while (this.#at + this.half < all.length) {
      made.push(this.#one(all, this.#at));
      this.#at += this.step;
    }
    const drop = Math.max(0, Math.floor(this.#at) - this.half);
    this.#rest = all.slice(drop);
    this.#at -= drop;
    return Float32Array.from(made);
  }

  /**
   * @param {Float32Array} all
   * @param {number} at
   */
  #one(all, at) {
    const first = Math.max(0, Math.ceil(at - this.half));
    const last = Math.min(all.length - 1, Math.floor(at + this.half));
    let sum = 0;
    for (let i = first; i <= last; i++) {
      const away = i - at;
      const x = Math.PI * away * this.cut;
      const sinc = Math.abs(x) < 1e-9 ? 1 : Math.sin(x) / x;
      sum += all[i] * sinc * (0.5 + 0.5 * Math.cos((Math.PI * away) / this.half));
    }
    return sum * this.cut;
  }
}
