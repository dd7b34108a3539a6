// Coefficients of linear prediction from numbers that a decoder may say freely, and the way back of their slopes.
//
// The forms are those of avf_core/emissions/_filters.py: reflection coefficients, or the cepstrum of a spectrum, of
// which the Yule-Walker equations are solved by Levinson's recursion.
#pragma once
#include <algorithm>
#include <vector>

#include "doubles.hpp"
#include "tables.hpp"

namespace avf {

constexpr double MOST_REFLECTION = 0.9999, WHITE = 1e-7;
constexpr int HALF_CIRCLE = 129, CIRCLE_VECTORS = 17, CIRCLE = CIRCLE_VECTORS * WORDS;  // 129 points, padded
constexpr int MOST_ORDER = 64, LAG_VECTORS = 9, LAGS = LAG_VECTORS * WORDS;             // order 64 at most

// Cosines between numbers of a cepstrum, points of the half circle, and lags.
struct Circle {
  int resolution;
  std::vector<double> to_spectrum, to_lags, from_lags;  // [n][point], [point][lag], [lag][point]

  explicit Circle(int resolution) : resolution(resolution) {
    to_spectrum.assign((size_t)resolution * CIRCLE, 0.0);
    to_lags.assign((size_t)CIRCLE * LAGS, 0.0), from_lags.assign((size_t)LAGS * CIRCLE, 0.0);
    for (int point = 0; point < HALF_CIRCLE; point++) {
      const double angle = 6.283185307179586477 * point / 256.0, weight = point == 0 || point == HALF_CIRCLE - 1 ? 0.5 : 1.0;
      for (int n = 0; n < resolution; n++)
        to_spectrum[(size_t)n * CIRCLE + point] = 2.0 * std::cos((n + 1) * angle);
      for (int lag = 0; lag <= MOST_ORDER; lag++)
        to_lags[(size_t)point * LAGS + lag] = from_lags[(size_t)lag * CIRCLE + point] = weight * std::cos(lag * angle);
    }
  }
};

// Levinson's recursion on the symmetric Toeplitz matrix with first row t[0...order - 1]: a, the predictor of
// t[1...order], and where `other` is given, `solved` of that vector. All arrays are LAGS long, padded with zeros.
inline void levinson(const double* t, int order, double* a, const double* other = nullptr, double* solved = nullptr) {
  alignas(64) double backwards[2 * LAGS] = {}, falling[2 * LAGS] = {};
  double *reversed = backwards + LAGS, error = t[0];  // a from its last to its first
  std::fill_n(a, LAGS, 0.0);
  if (solved) {
    std::fill_n(solved, LAGS, 0.0);
    for (int i = 0; i <= order; i++) falling[LAGS - i] = t[i];
  }
  for (int m = 0; m < order; m++) {
    if (solved) {
      const double last = (other[m] - dot(falling + LAGS - m, solved, m)) / error;
      for (int j = 0; j < m; j += WORDS) store_doubles(solved + j, load_doubles(solved + j) - last * load_doubles(reversed + j));
      solved[m] = last;
    }
    const double k = (t[m + 1] - dot(reversed, t + 1, m)) / error;
    for (int j = 0; j < m; j += WORDS) {
      const Doubles forward = load_doubles(a + j), back = load_doubles(reversed + j);
      store_doubles(a + j, forward - k * back), store_doubles(reversed + j, back - k * forward);
    }
    a[m] = k, *--reversed = k;
    error *= 1.0 - k * k;
  }
}

// Coefficients of up to eight spectra at once, one a lane. A cosine of an even number is the same from the circle's
// middle to both sides, one of an odd number the opposite: so both sides cost one.
inline void filters_of_spectra(const Circle& circle, const float* cepstra, int rows, int order, float* coefficients) {
  constexpr int MIDDLE = HALF_CIRCLE / 2;
  const int numbers = circle.resolution;
  std::vector<Doubles> said(numbers);
  Doubles share[HALF_CIRCLE], t[MOST_ORDER + 1], a[MOST_ORDER], error, most, sum = {};
  for (int lane = 0; lane < WORDS; lane++)
    for (int n = 0; n < numbers; n++) said[n][lane] = cepstra[(size_t)std::min(lane, rows - 1) * numbers + n];
  for (int p = 0; p <= MIDDLE; p++) {
    Doubles odd = {}, even = {};
    for (int n = 0; n < numbers; n += 2) {
      odd += said[n] * circle.to_spectrum[(size_t)n * CIRCLE + p];
      if (n + 1 < numbers) even += said[n + 1] * circle.to_spectrum[(size_t)(n + 1) * CIRCLE + p];
    }
    share[p] = even + odd, share[HALF_CIRCLE - 1 - p] = p == MIDDLE ? even + odd : even - odd;
  }
  most = share[0];
  for (const Doubles& one : share) most = one > most ? one : most;
  for (Doubles& one : share) one = exponential_of(one - most), sum += one;
  for (Doubles& one : share) one /= sum;
  for (int p = 0; p < MIDDLE; p++) {
    const Doubles left = share[p], right = share[HALF_CIRCLE - 1 - p];
    share[p] = left + right, share[HALF_CIRCLE - 1 - p] = left - right;
  }
  for (int lag = 0; lag <= order; lag++) {
    const double* cosines = circle.from_lags.data() + (size_t)lag * CIRCLE;
    Doubles first = share[MIDDLE] * cosines[MIDDLE], second = {};
    for (int p = 0; p < MIDDLE; p += 2) {
      first += (lag % 2 ? share[HALF_CIRCLE - 1 - p] : share[p]) * cosines[p];
      second += (lag % 2 ? share[HALF_CIRCLE - 2 - p] : share[p + 1]) * cosines[p + 1];
    }
    t[lag] = first + second;
  }
  error = t[0] += WHITE;
  for (int m = 0; m < order; m++) {
    Doubles first = {}, second = {};
    for (int j = 0; j < m; j += 2) {
      first += a[j] * t[m - j];
      if (j + 1 < m) second += a[j + 1] * t[m - j - 1];
    }
    const Doubles k = (t[m + 1] - first - second) / error;
    for (int j = 0; j < (m + 1) / 2; j++) {
      const Doubles low = a[j], high = a[m - 1 - j];
      a[j] = low - k * high, a[m - 1 - j] = high - k * low;
    }
    a[m] = k, error *= 1.0 - k * k;
  }
  for (int lane = 0; lane < rows; lane++)
    for (int k = 0; k < order; k++) coefficients[lane * order + k] = (float)a[k][lane];
}

// A filter as it was made, with what its slopes need on their way back.
struct Filter {
  int numbers, order;
  bool spectral;
  alignas(64) double coefficients[LAGS], lags[LAGS], share[CIRCLE];
  alignas(64) double steps[MOST_ORDER][LAGS], reflections[MOST_ORDER];  // of the recursion from reflections

  // The coefficients of the best predictor of noise with this log spectrum.
  void of_spectrum(const Circle& circle, const float* cepstrum) {
    alignas(64) double said[CIRCLE], spectrum[CIRCLE];
    std::vector<double> more;
    double* c = said;
    if (numbers > CIRCLE) more.resize(numbers), c = more.data();
    for (int n = 0; n < numbers; n++) c[n] = cepstrum[n];
    weighted_rows<CIRCLE_VECTORS>(c, numbers, circle.to_spectrum.data(), spectrum);
    double most = spectrum[0];
    for (int p = 1; p < HALF_CIRCLE; p++) most = std::max(most, spectrum[p]);
    double sum = 0.0;
    for (int p = 0; p < CIRCLE; p += WORDS) store_doubles(share + p, exponential_of(load_doubles(spectrum + p) - most));
    std::fill(share + HALF_CIRCLE, share + CIRCLE, 0.0);
    for (int p = 0; p < CIRCLE; p += WORDS) sum += total_of(load_doubles(share + p));
    for (int p = 0; p < CIRCLE; p += WORDS) store_doubles(share + p, load_doubles(share + p) / sum);
    weighted_rows<LAG_VECTORS>(share, HALF_CIRCLE, circle.to_lags.data(), lags);
    std::fill(lags + order + 1, lags + LAGS, 0.0);
    lags[0] += WHITE;
    levinson(lags, order, coefficients);
  }

  void of_reflections(const float* free) {
    std::fill_n(coefficients, LAGS, 0.0);
    for (int m = 0; m < order; m++) {
      std::copy_n(coefficients, LAGS, steps[m]);
      const double k = reflections[m] = MOST_REFLECTION * std::tanh((double)free[m]);
      for (int j = 0; j < m; j++) coefficients[j] = steps[m][j] - k * steps[m][m - 1 - j];
      coefficients[m] = k;
    }
  }

  void make(const float* said) {
    if (spectral) of_spectrum(table_of<Circle>(numbers), said);
    else of_reflections(said);
  }

  // From the slopes of the coefficients to those of what was said.
  void back(const double* by_coefficients, float* by_said) const {
    if (!spectral) return back_to_reflections(by_coefficients, by_said);
    const Circle& circle = table_of<Circle>(numbers);
    alignas(64) double predictor[LAGS], solved[LAGS], by_lags[LAGS] = {}, by_share[CIRCLE];
    levinson(lags, order, predictor, by_coefficients, solved);
    for (int k = 0; k < order; k++) by_lags[k + 1] = solved[k];
    for (int i = 0; i < order; i++)
      for (int j = 0; j < order; j++) by_lags[std::abs(i - j)] -= solved[i] * coefficients[j];
    weighted_rows<CIRCLE_VECTORS>(by_lags, order + 1, circle.from_lags.data(), by_share);
    const double mean = dot(share, by_share, CIRCLE);
    for (int p = 0; p < CIRCLE; p += WORDS) store_doubles(by_share + p, load_doubles(share + p) * (load_doubles(by_share + p) - mean));
    for (int n = 0; n < numbers; n++) by_said[n] = (float)dot(by_share, circle.to_spectrum.data() + (size_t)n * CIRCLE, CIRCLE);
  }

  void back_to_reflections(const double* by_coefficients, float* by_said) const {
    alignas(64) double by[LAGS] = {}, before[LAGS];
    std::copy_n(by_coefficients, order, by);
    for (int m = order - 1; m >= 0; m--) {
      const double k = reflections[m], tangent = k / MOST_REFLECTION;
      double by_k = by[m];
      for (int j = 0; j < m; j++) by_k -= by[j] * steps[m][m - 1 - j], before[j] = by[j] - k * by[m - 1 - j];
      std::copy_n(before, m, by);
      by_said[m] = (float)(by_k * MOST_REFLECTION * (1.0 - tangent * tangent));
    }
  }
};

}  // namespace avf
