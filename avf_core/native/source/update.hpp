// The update model of iterative inference: what it reads of a posterior and F's gradient, and how it moves the one.
//
// See avf_core/inference/iterative.py; the trunk between the two is a program like any other.
#pragma once
#include "objective.hpp"

namespace avf {

inline Lanes within(Lanes value, int i, int size) {
  if (i + LANES <= size) return value;
  for (int lane = 0; lane < LANES; lane++)
    if (i + lane >= size) value[lane] = 0.0f;
  return value;
}

// Mean 0 and variance 1 over the first `size` numbers.
inline void layer_normed(const float* from, int size, int width, float* to) {
  Lanes sum = {}, squares = {};
  for (int i = 0; i < width; i += LANES) sum += within(load(from + i), i, size);
  const float mean = total(sum) / size;
  for (int i = 0; i < width; i += LANES) {
    const Lanes error = within(load(from + i) - mean, i, size);
    squares += error * error;
  }
  const float scale = 1.0f / std::sqrt(total(squares) / size + 1e-5f);
  for (int i = 0; i < width; i += LANES) store(to + i, within((load(from + i) - mean) * scale, i, size));
}

// The terms of a row, four times `width` numbers: mean, log-variance and their slopes, in the prior's units if asked.
inline void terms_of(const Objective& objective, const Moments& q, const Moments& by, int b, float* terms) {
  const Plan& plan = objective.plan;
  const int width = objective.width;
  const size_t at = (size_t)b * width;
  const float *prior_mean = objective.in.row(plan.prior_mean, b), *prior_log_variance = objective.in.row(plan.prior_log_variance, b);
  for (int i = 0; i < width; i += LANES) {
    Lanes mean = load(q.mean + at + i), log_variance = load(q.log_variance + at + i), slope = load(by.mean + at + i);
    if (plan.whitened) {
      const Lanes deviation = exponential(0.5f * load(prior_log_variance + i));
      mean = (mean - load(prior_mean + i)) / deviation;
      log_variance = log_variance - load(prior_log_variance + i);
      slope = slope * deviation;
    }
    store(terms + i, mean);
    store(terms + width + i, log_variance);
    store(terms + 2 * width + i, slope);
    store(terms + 3 * width + i, load(by.log_variance + at + i));
  }
}

// What the trunk reads of a row's terms, on the scale of one.
inline void ask(const Objective& objective, const float* terms, float* scaled, float* asked) {
  const Plan& plan = objective.plan;
  const int width = objective.width, size = plan.latent_size;
  for (int part = 0; part < 4; part++) {
    const float* from = terms + part * width;
    if (!plan.whitened) layer_normed(from, size, width, scaled);
    else if (part < 2) std::memcpy(scaled, from, 4 * (size_t)size);
    else
      for (int i = 0; i < width; i += LANES) store(scaled + i, inverse_hyperbolic_sine(load(from + i) * plan.gradient_scale));
    std::memcpy(asked + (size_t)part * size, scaled, 4 * (size_t)size);
  }
}

// Where the trunk's words move a row: proposals and gates of mean and log-variance. Whether that is within reach.
inline bool settle(const Objective& objective, const float* terms, const float* said, int b, float* mean, float* log_variance) {
  const Plan& plan = objective.plan;
  const int width = objective.width;
  const float *prior_mean = objective.in.row(plan.prior_mean, b), *prior_log_variance = objective.in.row(plan.prior_log_variance, b);
  for (int part = 0; part < 2; part++) {
    float* moved = part ? log_variance : mean;
    const float *position = terms + part * width, *slope = terms + (2 + part) * width;
    const float *proposal = said + 2 * part * width, *gate = said + (2 * part + 1) * width;
    for (int i = 0; i < width; i += LANES) {
      const Lanes open = sigmoid(load(gate + i));
      const Lanes to = plan.rule == GATED ? load(proposal + i) + open * (load(position + i) - load(proposal + i))
                                          : load(position + i) + load(proposal + i) - open * load(slope + i);
      store(moved + i, within(to, i, plan.latent_size));
    }
  }
  if (plan.normalize_mean) layer_normed(mean, plan.latent_size, width, mean);
  Ints outside = {};
  for (int i = 0; i < width; i += LANES) {
    Lanes at = load(mean + i), spread = load(log_variance + i);
    const Lanes deviation = exponential(0.5f * load(prior_log_variance + i));
    if (plan.whitened) at = load(prior_mean + i) + deviation * at, spread = load(prior_log_variance + i) + spread;
    store(mean + i, at);
    store(log_variance + i, clamped(spread, plan.lowest, plan.highest));
    outside |= ~(magnitude(at - load(prior_mean + i)) <= plan.reach * deviation) | (spread != spread);
  }
  int any = 0;
  for (int lane = 0; lane < LANES; lane++) any |= outside[lane];
  return !any;
}

}  // namespace avf
