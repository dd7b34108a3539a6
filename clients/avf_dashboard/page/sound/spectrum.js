// Levels of frequencies in a short piece of sound: a radix-2 Fourier transform under a Hann window.
// @ts-check

/** A transform of pieces of `size` samples, padded to a power of two. */
export class Spectrum {
  /** @param {number} size */
  constructor(size) {
    this.size = 2 ** Math.ceil(Math.log2(Math.max(16, size)));
    this.bins = this.size / 2;
    this.window = Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / size));
    this.re = new Float32Array(this.size);
    this.im = new Float32Array(this.size);
    this.order = Uint32Array.from({ length: this.size }, (_, i) => reversed(i, Math.log2(this.size)));
    this.cos = Float32Array.from({ length: this.bins }, (_, i) => Math.cos((2 * Math.PI * i) / this.size));
    this.sin = Float32Array.from({ length: this.bins }, (_, i) => -Math.sin((2 * Math.PI * i) / this.size));
  }

  /**
   * Decibels of each bin, relative to a full sine.
   * @param {Float32Array} samples
   */
  of(samples) {
    this.re.fill(0);
    this.im.fill(0);
    for (let i = 0; i < this.window.length; i++) this.re[this.order[i]] = (samples[i] || 0) * this.window[i];
    for (let half = 1; half < this.size; half *= 2) this.#stage(half);
    const full = this.window.length / 4;
    return Float32Array.from({ length: this.bins }, (_, i) => 20 * Math.log10(Math.hypot(this.re[i], this.im[i]) / full + 1e-6));
  }

  /** @param {number} half */
  #stage(half) {
    const { re, im, cos, sin } = this;
    const stride = this.bins / half;
    for (let start = 0; start < this.size; start += 2 * half) {
      for (let i = 0; i < half; i++) {
        const [a, b, k] = [start + i, start + i + half, i * stride];
        const r = re[b] * cos[k] - im[b] * sin[k];
        const m = re[b] * sin[k] + im[b] * cos[k];
        re[b] = re[a] - r;
        im[b] = im[a] - m;
        re[a] += r;
        im[a] += m;
      }
    }
  }
}

/**
 * @param {number} i
 * @param {number} bits
 */
function reversed(i, bits) {
  let out = 0;
  for (let bit = 0; bit < bits; bit++) out |= ((i >> bit) & 1) << (bits - 1 - bit);
  return out;
}
