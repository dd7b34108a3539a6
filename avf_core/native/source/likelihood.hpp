// Likelihoods: -log p(x) of a row in nats, and its slope with respect to what the decoder says, in closed form.
//
// Energies are those of the observation's own units, slopes those of the standardised moments. What is not observed,
// and the padding of a row, has a weight of zero.
#pragma once
#include "intervals.hpp"
#include "plan.hpp"

namespace avf {

constexpr float LOG_2PI = 1.8378770664093453f;

// Softplus(logit) - x logit, and sigmoid(logit) - x.
inline float bernoulli(const float* logits, const float* x, const float* weight, int width, float* slope) {
  Lanes sum = {};
  for (int i = 0; i < width; i += LANES) {
    const Lanes logit = load(logits + i), seen = load(x + i), counts = load(weight + i);
    const Lanes decay = exponential(-magnitude(logit));
    const Lanes energy = higher(logit, Lanes{}) + log_one_plus(decay) - seen * logit;
    sum += counts > 0.0f ? energy : Lanes{};
    const Lanes probability = (logit >= 0.0f ? all(1.0f) : decay) / (1.0f + decay);
    if (slope) store(slope + i, counts > 0.0f ? probability - seen : Lanes{});
  }
  return total(sum);
}

// The density of N(center + scale mean, scale^2 variance) at x.
inline float gaussian(const Plan& plan, const float* mean, const float* log_variance, const float* x,
                      const float* weight, int width, float* by_mean, float* by_log_variance) {
  Lanes sum = {};
  for (int i = 0; i < width; i += LANES) {
    const Lanes logarithm = load(log_variance + i) + load_anywhere(plan.shift + i), precision = exponential(-logarithm);
    const Lanes error = load(x + i) - (load(mean + i) * load_anywhere(plan.scale + i) + load_anywhere(plan.center + i)), counts = load(weight + i);
    const Lanes squared = error * error * precision;
    sum += counts > 0.0f ? 0.5f * (LOG_2PI + logarithm + squared) : Lanes{};
    if (!by_mean) continue;
    store(by_mean + i, counts > 0.0f ? -load_anywhere(plan.scale + i) * error * precision : Lanes{});
    store(by_log_variance + i, counts > 0.0f ? 0.5f * (1.0f - squared) : Lanes{});
  }
  return total(sum);
}

// The probability of the bin around x.
inline float discretized(const Plan& plan, const float* mean, const float* log_variance, const float* x,
                         const float* weight, int width, float* by_mean, float* by_log_variance) {
  Lanes sum = {};
  for (int i = 0; i < width; i += LANES) {
    const Lanes counts = load(weight + i);
    const Lanes precision = exponential(-0.5f * (load(log_variance + i) + load_anywhere(plan.shift + i)));
    const Lanes u = (load(x + i) - (load(mean + i) * load_anywhere(plan.scale + i) + load_anywhere(plan.center + i))) * precision;
    const Interval found = plan.likelihood == DISCRETIZED ? interval(magnitude(u), 0.5f * plan.bin * precision)
                                                         : authors_interval(u, 0.5f * plan.bin * precision);
    sum += counts > 0.0f ? -found.value : Lanes{};
    if (!by_mean) continue;
    const Lanes outward = with_sign(found.outward, u) * precision * load_anywhere(plan.scale + i);
    store(by_mean + i, counts > 0.0f ? -outward : Lanes{});
    store(by_log_variance + i, counts > 0.0f ? -0.5f * (magnitude(u) * found.outward - found.by_width) : Lanes{});
  }
  return total(sum);
}

// The energy of a row, and where `slopes` are given those of its outputs.
inline float energy_of(const Plan& plan, const float* const outputs[2], const float* x, const float* weight, int width,
                       float* const slopes[2]) {
  float *first = slopes ? slopes[0] : nullptr, *second = slopes ? slopes[1] : nullptr;
  if (plan.likelihood == BERNOULLI) return bernoulli(outputs[0], x, weight, width, first);
  if (plan.likelihood == GAUSSIAN) return gaussian(plan, outputs[0], outputs[1], x, weight, width, first, second);
  return discretized(plan, outputs[0], outputs[1], x, weight, width, first, second);
}

// The expected observation of a row, by which what was not observed is filled.
inline float expected_of(const Plan& plan, const float* outputs, int i) {
  return plan.likelihood == BERNOULLI ? sigmoid(all(outputs[i]))[0] : plan.center[i] + plan.scale[i] * outputs[i];
}

}  // namespace avf
