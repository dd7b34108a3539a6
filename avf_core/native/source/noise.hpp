// Counter-based noise: SplitMix64 keyed by (seed, step, stream), and Box and Muller's pairs of normal numbers.
//
// The law: the same numbers as avf_core/noise.py, in double precision and then rounded to single. Logarithm and
// sine are series good to 1e-12, so that rounding differs from the library's in one number of ten thousand.
#pragma once
#include <cmath>
#include <cstdint>

namespace avf {

constexpr uint64_t GAMMA = 0x9E3779B97F4A7C15ull;

template <class Word>
inline Word mixed(Word z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

constexpr int WORDS = 8;
typedef uint64_t Words __attribute__((vector_size(WORDS * 8)));
typedef int64_t Signed __attribute__((vector_size(WORDS * 8)));
typedef double Doubles __attribute__((vector_size(WORDS * 8)));

// log x of a positive normal number: 2 artanh((m - 1) / (m + 1)) of its mantissa m.
inline Doubles logarithm_of(Doubles x) {
  Words bits = (Words)x;
  Signed exponent = (Signed)((bits >> 52) & 0x7ff) - 1022;
  Doubles m = (Doubles)((bits & 0x000fffffffffffffull) | 0x3fe0000000000000ull);  // in [0.5, 1)
  Signed small = m < 0.70710678118654752;
  exponent = exponent + small;
  m = m + (small ? m : Doubles{});
  Doubles s = (m - 1.0) / (m + 1.0), squared = s * s;
  Doubles p = Doubles{} + 1.0 / 17.0;
  for (int odd = 15; odd > 0; odd -= 2) p = p * squared + 1.0 / odd;
  return 2.0 * s * p + __builtin_convertvector(exponent, Doubles) * 0.693147180559945309;
}

// cos and sin of w / 2^32 of a whole turn, for 32-bit w.
inline void turned(Words w, Doubles& cosine, Doubles& sine) {
  Words quarter = (w + (1ull << 29)) >> 30;
  Doubles angle = __builtin_convertvector((Signed)w - (Signed)(quarter << 30), Doubles) * (6.283185307179586477 * 0x1p-32);
  Doubles squared = angle * angle;
  Doubles s = Doubles{} + 1.0 / 6227020800.0;
  s = s * squared - 1.0 / 39916800.0;
  s = s * squared + 1.0 / 362880.0;
  s = s * squared - 1.0 / 5040.0;
  s = s * squared + 1.0 / 120.0;
  s = s * squared - 1.0 / 6.0;
  s = s * squared * angle + angle;
  Doubles c = Doubles{} - 1.0 / 87178291200.0;
  c = c * squared + 1.0 / 479001600.0;
  c = c * squared - 1.0 / 3628800.0;
  c = c * squared + 1.0 / 40320.0;
  c = c * squared - 1.0 / 720.0;
  c = c * squared + 1.0 / 24.0;
  c = c * squared - 0.5;
  c = c * squared + 1.0;
  Signed crossed = (Signed)(quarter & 1) != 0;
  Signed cosine_below = (Signed)((quarter + 1) & 2) != 0, sine_below = (Signed)(quarter & 2) != 0;
  Doubles one = crossed ? s : c, other = crossed ? c : s;
  cosine = cosine_below ? -one : one;
  sine = sine_below ? -other : other;
}

// `size` standard normal numbers of one stream of a row.
inline void standard_normal(int64_t seed, int64_t step, int64_t stream, int size, float* out) {
  const uint64_t row = mixed(mixed((uint64_t)seed + GAMMA) + (uint64_t)step * GAMMA);
  const uint64_t key = mixed(row ^ mixed(((uint64_t)stream + 1) * GAMMA));
  const int pairs = (size + 1) / 2;
  Words counter;
  for (int lane = 0; lane < WORDS; lane++) counter[lane] = key + (uint64_t)(lane + 1) * GAMMA;
  for (int first = 0; first < pairs; first += WORDS, counter += (uint64_t)WORDS * GAMMA) {
    Words bits = mixed(counter);
    Doubles uniform = (__builtin_convertvector((Signed)(bits >> 32), Doubles) + 0.5) * 0x1p-32;
    Doubles squared = -2.0 * logarithm_of(uniform), radius, cosine, sine;
    for (int lane = 0; lane < WORDS; lane++) radius[lane] = __builtin_sqrt(squared[lane]);
    turned(bits & 0xffffffffull, cosine, sine);
    const int count = pairs - first < WORDS ? pairs - first : WORDS;
    for (int lane = 0; lane < count; lane++) {
      out[first + lane] = (float)(radius[lane] * cosine[lane]);
      if (pairs + first + lane < size) out[pairs + first + lane] = (float)(radius[lane] * sine[lane]);
    }
  }
}

}  // namespace avf
