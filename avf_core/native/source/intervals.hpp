// log P of an interval under a Gaussian, with its slopes: the three forms of avf_core/intervals.py.
//
// With a = |x - mean| and h = half the interval, both in deviations: `value` is log P, `outward` -d log P / da and
// `by_width` h d log P / dh. The narrow form is computed in vectors; the others, of few elements as a rule, one by one
// in double precision.
#pragma once
#include "lanes.hpp"

namespace avf {

constexpr float NARROW = 0.3f;  // half-widths below it have the first form
constexpr double FAR = 10.0;
constexpr double ROOT_HALF = 0.70710678118654752, HALF_LOG_2PI = 0.91893853320467274;

struct Interval {
  Lanes value, outward, by_width;
};

inline Interval narrow(Lanes a, Lanes h) {
  const Lanes y = higher(a * h, all(1e-30f));
  const Lanes decay = -exponential_less_one(-2.0f * y);
  const Lanes y_coth = y * (2.0f - decay) / decay, squared = clamped(y * y, 1e-12f, 1e12f), half = 0.5f * h * h;
  const Lanes near = 1.0f / 3.0f + squared * (2.0f / 45.0f - squared * (4.0f / 945.0f - squared * (2.0f / 4725.0f)));
  const Lanes mean = y < 0.5f ? near : 1.0f - 2.0f * (y_coth - 1.0f) / squared;
  const Lanes variance = (0.0887298f + 0.0321257f * squared) / (1.0f + squared * (0.2567954f + 0.0102636f * squared));
  const Lanes kept = half * (0.5f * half * variance - mean);  // the logarithm of the expectation
  const Lanes value = y - 0.5f * a * a - (float)HALF_LOG_2PI + logarithm(decay / y * h) + kept;
  const Lanes ratio = exponential(-half - kept);
  return {value, a * ratio, y_coth * ratio};
}

// exp(x^2) erfc(x) for x >= 0.
inline double scaled_complement(double x) {
  if (x < 20.0) return std::exp(x * x) * std::erfc(x);
  const double inverse = 1.0 / (x * x);
  return 0.56418958354775629 / x * (1.0 - 0.5 * inverse * (1.0 - 1.5 * inverse * (1.0 - 2.5 * inverse)));
}

inline void central(double a, double h, float* value, float* outward, float* by_width) {
  const bool inside = a < h;
  const double near = std::erfc(std::fabs(a - h) * ROOT_HALF), far = std::erfc((a + h) * ROOT_HALF);
  const double outer = std::fmax(0.5 * (inside ? near + far : near - far), 1.17549435e-38);
  const double density = std::exp(-0.5 * (a - h) * (a - h) - HALF_LOG_2PI) / (inside ? 1.0 - outer : outer);
  const double decay = std::expm1(-2.0 * a * h);
  *value = (float)(inside ? std::log1p(-outer) : std::log(outer));
  *outward = (float)(-density * decay), *by_width = (float)(h * density * (2.0 + decay));
}

inline void distant(double a, double h, float* value, float* outward, float* by_width) {
  const double distance = a - h, decay = std::expm1(-2.0 * a * h);
  const double near = scaled_complement(std::fmax(distance, 0.0) * ROOT_HALF);
  const double scaled = 0.5 * (near - (1.0 + decay) * scaled_complement((a + h) * ROOT_HALF));
  const bool inside = distance < 0.0;
  const double outer = 0.5 * std::erfc(-distance * ROOT_HALF);  // the far end is out of sight
  const double density = inside ? std::exp(-0.5 * distance * distance - HALF_LOG_2PI) / (1.0 - outer)
                                : std::exp(-HALF_LOG_2PI) / scaled;
  *value = (float)(inside ? std::log1p(-outer) : -0.5 * distance * distance + std::log(scaled));
  *outward = (float)(-density * decay), *by_width = (float)(h * density * (2.0 + decay));
}

inline Interval interval(Lanes a, Lanes h) {
  Interval found = narrow(a, h);
  for (int i = 0; i < LANES; i++) {
    if (!(h[i] >= NARROW)) continue;
    float value, outward, by_width;
    (a[i] > FAR ? distant : central)(a[i], h[i], &value, &outward, &by_width);
    found.value[i] = value, found.outward[i] = outward, found.by_width[i] = by_width;
  }
  return found;
}

// The authors' form, log(P + 1e-6). In double precision: of narrow bins, single leaves little of P.
inline Interval authors_interval(Lanes u, Lanes h) {
  Interval found;
  for (int i = 0; i < LANES; i++) {
    const double above = (double)u[i] + h[i], below = (double)u[i] - h[i];
    const double probability = 0.5 * (std::erfc(-above * ROOT_HALF) - std::erfc(-below * ROOT_HALF)) + 1e-6;
    const double at_upper = std::exp(-0.5 * above * above - HALF_LOG_2PI);
    const double at_lower = std::exp(-0.5 * below * below - HALF_LOG_2PI);
    found.value[i] = (float)std::log(probability);
    found.outward[i] = (float)(std::fabs(at_lower - at_upper) / probability);
    found.by_width[i] = (float)(h[i] * (at_lower + at_upper) / probability);
  }
  return found;
}

}  // namespace avf
