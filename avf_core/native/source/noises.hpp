// log P of a level of some width around an error, by the noise that is named, with its slopes: avf_core/emissions/_noise.py.
//
// `value` is log P, `by_error` its slope by the error and `by_scale` that by the logarithm of the scale.
#pragma once
#include "intervals.hpp"

namespace avf {

enum NoiseKind : int32_t { GAUSSIAN_NOISE, LOGISTIC_NOISE, STUDENT_T_NOISE };

struct Level {
  Lanes value, by_error, by_scale;
};

inline Level gaussian_level(Lanes error, Lanes precision, Lanes h) {
  const Lanes u = error * precision;
  const Interval found = interval(magnitude(u), h);
  return {found.value, -with_sign(found.outward, u) * precision, magnitude(u) * found.outward - found.by_width};
}

// With x and h in units of the scale, log P = log(1 - e^-2h) - softplus(-h - x) - softplus(x - h).
inline Level logistic_level(Lanes error, Lanes precision, Lanes h) {
  const Lanes x = error * precision, lost = -exponential_less_one(-2.0f * h);
  const Lanes below = sigmoid(-h - x), above = sigmoid(x - h);
  const Lanes by_x = below - above, by_h = 2.0f * (1.0f - lost) / lost + below + above;
  return {logarithm(lost) - softplus(-h - x) - softplus(x - h), by_x * precision, -(x * by_x + h * by_h)};
}

// Four degrees of freedom, one by one in double precision: P = [(s_u - s_t) ((1 - s_u^2) + (1 - s_t^2) + (1 - s_t s_u))] / 4.
inline void student_t_level(double error, double precision, double h, float* value, float* by_error, float* by_scale) {
  const double far = std::fabs(error) * precision, low = far - h, high = far + h;
  const double a = std::hypot(low, 2.0), b = std::hypot(high, 2.0);
  const bool outside = low > 0.0;
  const double difference = outside ? 16.0 * far * h / (high * a + low * b) : high * a - low * b;
  const double crossed = outside ? (16.0 + 4.0 * low * low + 4.0 * high * high) / (a * b + low * high) : a * b - low * high;
  const double p = difference / (a * b) * 0.25 * (4.0 / (b * b) + 4.0 / (a * a) + crossed / (a * b));
  const double at_low = 12.0 / (a * a * a * a * a), at_high = 12.0 / (b * b * b * b * b);  // the density there
  const double by_far = (at_high - at_low) / p, by_h = (at_high + at_low) / p;
  *value = (float)std::log(p);
  *by_error = (float)((error < 0.0 ? -by_far : by_far) * precision);
  *by_scale = (float)-(far * by_far + h * by_h);
}

inline Level level_of(int kind, Lanes error, Lanes log_scale, float width) {
  const Lanes precision = exponential(-log_scale), h = 0.5f * width * precision;
  if (kind == LOGISTIC_NOISE) return logistic_level(error, precision, h);
  if (kind == GAUSSIAN_NOISE) return gaussian_level(error, precision, h);
  Level found;
  for (int i = 0; i < LANES; i++) {
    float value, by_error, by_scale;
    student_t_level(error[i], precision[i], h[i], &value, &by_error, &by_scale);
    found.value[i] = value, found.by_error[i] = by_error, found.by_scale[i] = by_scale;
  }
  return found;
}

}  // namespace avf
