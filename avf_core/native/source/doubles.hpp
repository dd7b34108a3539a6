// Vectors of doubles, for what single precision would lose: spectra, autocorrelations and the filters that they make.
//
// The law is that of lanes.hpp: every element goes through the same instructions. Arrays are padded to whole vectors.
#pragma once
#include <cstring>

#include "noise.hpp"

namespace avf {

inline Doubles load_doubles(const double* at) {
  Doubles value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline void store_doubles(double* at, Doubles value) { std::memcpy(at, &value, sizeof value); }

inline double total_of(Doubles x) {
  double sum = 0.0;
  for (int i = 0; i < WORDS; i++) sum += x[i];
  return sum;
}

inline double dot(const double* x, const double* y, int count) {
  Doubles sum = {};
  for (int i = 0; i < count; i += WORDS) sum += load_doubles(x + i) * load_doubles(y + i);
  return total_of(sum);
}

// e^x by Taylor's series of x's remainder modulo log 2; for x in [-700, 700].
inline Doubles exponential_of(Doubles x) {
  const double round = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  x = x < -700.0 ? Doubles{} - 700.0 : x;
  const Doubles shifted = x * 1.4426950408889634 + round, n = shifted - round;
  const Doubles r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  Doubles p = Doubles{} + 1.0 / 6227020800.0;
  for (double factorial : {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0})
    p = p * r + 1.0 / factorial;
  const Words power = ((Words)shifted - (Words)(Doubles{} + round) + 1023) << 52;
  return p * (Doubles)power;
}

// out = sum_i x_i * rows_i of a table whose rows are `VECTORS` vectors wide.
template <int VECTORS>
inline void weighted_rows(const double* x, int count, const double* table, double* out) {
  constexpr int AT_ONCE = 9;
  for (int from = 0; from < VECTORS; from += AT_ONCE) {
    Doubles sum[AT_ONCE] = {};
    const int some = VECTORS - from < AT_ONCE ? VECTORS - from : AT_ONCE;
    for (int i = 0; i < count; i++)
      for (int v = 0; v < some; v++) sum[v] += x[i] * load_doubles(table + ((size_t)i * VECTORS + from + v) * WORDS);
    for (int v = 0; v < some; v++) store_doubles(out + (from + v) * WORDS, sum[v]);
  }
}

}  // namespace avf
