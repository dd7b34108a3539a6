// What is heard of sound: a running level, and of a window the numbers of avf_core/nets/spectra.py.
#pragma once
#include "filters.hpp"
#include "lanes.hpp"
#include "product.hpp"

namespace avf {

namespace heard {
constexpr int ORDER = 32, CEPSTRUM = 48, LAST = 40;
constexpr double WHITE = 1e-6, FLOOR = 1e-12;
constexpr float LEAST_POWER = 1e-6f;

// From a whitening filter to its response, and from a log spectrum to a cepstrum.
struct Tables {
  std::vector<double> cosines, sines, to_cepstrum;  // [lag][point], [point][number]
  Tables() : cosines((ORDER + 1) * CIRCLE), sines((ORDER + 1) * CIRCLE), to_cepstrum(HALF_CIRCLE * CEPSTRUM) {
    for (int point = 0; point < HALF_CIRCLE; point++) {
      const double angle = 6.283185307179586477 * point / 256.0, weight = point == 0 || point == HALF_CIRCLE - 1 ? 1.0 : 2.0;
      for (int k = 0; k <= ORDER; k++) cosines[k * CIRCLE + point] = std::cos(k * angle), sines[k * CIRCLE + point] = std::sin(k * angle);
      for (int n = 0; n < CEPSTRUM; n++) to_cepstrum[point * CEPSTRUM + n] = weight * std::cos((n + 1) * angle) / 256.0;
    }
  }
};

inline const Tables& tables() {
  static const Tables made;
  return made;
}

// Autocorrelations of a window that weighs its last samples most.
inline void autocorrelations(const float* window, int size, double* lags) {
  constexpr int VECTORS = (ORDER + WORDS) / WORDS;
  const Memory<double> tapered = zeros<double>(size + VECTORS * WORDS);
  const double step = size > 1 ? 0.8 / (size - 1) : 0.0;
  for (int i = 0; i < size; i++) tapered[i] = window[i] * (0.2 + step * i);
  Doubles sum[VECTORS] = {};
  for (int i = 0; i < size; i++)
    for (int v = 0; v < VECTORS; v++) sum[v] += tapered[i] * load_doubles(tapered.get() + i + v * WORDS);
  std::fill_n(lags, LAGS, 0.0);
  for (int k = 0; k <= ORDER; k++) lags[k] = sum[k / WORDS][k % WORDS] / size;
}

// The cepstrum of the all-pole envelope with these autocorrelations; its residual's share of the power.
inline double envelope(const double* lags, double* cepstrum) {
  alignas(64) double share[LAGS], matrix[LAGS], a[LAGS], whitening[LAGS] = {}, real[CIRCLE], imaginary[CIRCLE];
  for (int k = 0; k < LAGS; k++) matrix[k] = share[k] = lags[k] / (lags[0] + FLOOR);
  matrix[0] += WHITE + (1.0 - share[0]);
  levinson(matrix, ORDER, a);
  const double residual = std::max(1.0 - dot(a, share + 1, ORDER), WHITE);
  whitening[0] = 1.0;
  for (int k = 0; k < ORDER; k++) whitening[k + 1] = -a[k];
  weighted_rows<CIRCLE_VECTORS>(whitening, ORDER + 1, tables().cosines.data(), real);
  weighted_rows<CIRCLE_VECTORS>(whitening, ORDER + 1, tables().sines.data(), imaginary);
  for (int p = 0; p < CIRCLE; p += WORDS) {
    const Doubles re = load_doubles(real + p), im = load_doubles(imaginary + p), power = re * re + im * im;
    store_doubles(real + p, -logarithm_of(power < FLOOR ? Doubles{} + FLOOR : power));
  }
  weighted_rows<CEPSTRUM / WORDS>(real, HALF_CIRCLE, tables().to_cepstrum.data(), cepstrum);
  return residual;
}

}  // namespace heard

constexpr int HEARD = heard::CEPSTRUM + 2 + heard::LAST;  // numbers beside the energies of a frame's parts

// The numbers of a window that ends with a frame, relative to a level.
inline void hear(const float* window, int size, int frame, int parts, float level, float* out) {
  using namespace heard;
  alignas(64) double lags[LAGS], cepstrum[CEPSTRUM];
  autocorrelations(window, size, lags);
  const double residual = envelope(lags, cepstrum), own = 0.5 * std::log(lags[0] + FLOOR), gain = std::exp(-own);
  for (int n = 0; n < CEPSTRUM; n++) *out++ = (float)(2.0 * std::sqrt(n + 1.0) * cepstrum[n]);
  *out++ = (float)(own - level), *out++ = (float)(0.5 * std::log(residual));
  for (int p = 0; p < parts; p++) {
    const int each = frame / parts;
    const float* from = window + size - frame + p * each;
    double square = 0.0;
    for (int i = 0; i < each; i++) square += (double)from[i] * from[i];
    const float energy = 0.5f * std::log((float)(square / each) + (float)FLOOR) - level;
    *out++ = std::min(std::max(energy, -12.0f), 12.0f);
  }
  for (int i = size - LAST; i < size; i++) *out++ = (float)(window[i] * gain);
}

// The log amplitude of a power.
inline float loudness(float power) { return 0.5f * std::log(power + heard::LEAST_POWER); }

// The running power after a frame, and how many frames count in it, at most `memory`.
inline void hear_power(const float* frame, int size, float memory, float* power, float* count) {
  double square = 0.0;
  for (int i = 0; i < size; i++) square += (double)frame[i] * frame[i];
  *count = std::min(*count + 1.0f, memory);
  *power += ((float)(square / size) - *power) / *count;
}

}  // namespace avf
