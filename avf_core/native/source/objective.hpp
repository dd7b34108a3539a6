// F of a step as a function of the posterior, for the rows of one chunk: energies, gradients, KL.
//
// The law: each row's own F, samples added one after another; so neither chunks nor blocks of rows show in a result.
#pragma once
#include <algorithm>

#include "frames.hpp"
#include "likelihood.hpp"
#include "noise.hpp"
#include "program.hpp"

namespace avf {

constexpr int BLOCK = 96;  // rows of samples that are decoded together: what they make stays in the cache

// Moments of `rows` diagonal Gaussians, each row padded with standard normal dimensions.
struct Moments {
  float *mean, *log_variance;
};

struct Objective {
  const Plan& plan;
  const Space& in;
  int rows, width;         // sequences; the latent's size, padded
  int padded_observation;  // the observation's, padded
  float* weight;           // one where a dimension was observed, zero elsewhere and in the padding
  Frames* frames;          // null where samples do not hear each other
  float kl_weight = 1.0f;  // below one while training with KL annealing

  int stride() const { return in.stride(plan.prior_mean); }

  const float* weight_of(int b) const { return weight + (size_t)b * padded_observation; }

  float energy(int r, int b, bool slopes) const {
    const float* outputs[2] = {in.row(plan.outputs[0], r), nullptr};
    float* by[2] = {in.slope(plan.outputs[0], r), nullptr};
    if (frames) return frames->energy(outputs[0], in.row(plan.framing.history, b), in.row(plan.x, b), weight_of(b), slopes ? by[0] : nullptr);
    if (plan.outputs[1] >= 0) outputs[1] = in.row(plan.outputs[1], r), by[1] = in.slope(plan.outputs[1], r);
    return energy_of(plan, outputs, in.row(plan.x, b), weight_of(b), padded_observation, slopes ? by : nullptr);
  }

  // KL(q || prior) of a row in nats.
  float kl(const Moments& q, int b) const {
    const float *mean = q.mean + (size_t)b * width, *log_variance = q.log_variance + (size_t)b * width;
    const float *prior_mean = in.row(plan.prior_mean, b), *prior_log_variance = in.row(plan.prior_log_variance, b);
    Lanes sum = {};
    for (int i = 0; i < width; i += LANES) {
      const Lanes logarithm = load(log_variance + i) - load(prior_log_variance + i);
      const Lanes error = load(mean + i) - load(prior_mean + i), precision = exponential(-load(prior_log_variance + i));
      sum += exponential(logarithm) - logarithm - 1.0f + error * error * precision;
    }
    return 0.5f * total(sum);
  }

  // Latents of samples first...first + count of the chunk, of which sample s of sequence b is number s * rows + b.
  void sample(const Moments& q, const float* noise, const Rows& some) const {
    for (int r = 0; r < some.count; r++) {
      const int b = some.sequence(r);
      const float *mean = q.mean + (size_t)b * width, *log_variance = q.log_variance + (size_t)b * width;
      const float* eps = noise + (size_t)(some.first + r) * width;
      float* z = in.row(plan.latents, r);
      for (int i = 0; i < width; i += LANES)
        store(z + i, load(mean + i) + exponential(0.5f * load(log_variance + i)) * load(eps + i));
    }
  }

  // F of every row, averaged over `samples` of noise.
  void measure(const Moments& q, const float* noise, int samples, bool mixed, float* free_energy) const {
    std::fill_n(free_energy, rows, 0.0f);
    for (int first = 0; first < samples * rows; first += BLOCK) {
      const Rows some = {std::min(BLOCK, samples * rows - first), first, rows};
      sample(q, noise, some);
      run(plan.decode, in, some, mixed);
      for (int r = 0; r < some.count; r++) free_energy[some.sequence(r)] += energy(r, some.sequence(r), false);
    }
    for (int b = 0; b < rows; b++) free_energy[b] = free_energy[b] / samples + kl_weight * kl(q, b);
  }

  // F of every row, and its gradient with respect to mean and log-variance.
  void gradient(const Moments& q, const float* noise, int samples, bool mixed, const Moments& by, float* free_energy) const {
    std::fill_n(free_energy, rows, 0.0f);
    std::fill_n(by.mean, (size_t)rows * width, 0.0f);
    std::fill_n(by.log_variance, (size_t)rows * width, 0.0f);
    for (int first = 0; first < samples * rows; first += BLOCK) {
      const Rows some = {std::min(BLOCK, samples * rows - first), first, rows};
      sample(q, noise, some);
      run(plan.decode, in, some, mixed);
      for (int r = 0; r < some.count; r++) free_energy[some.sequence(r)] += energy(r, some.sequence(r), true);
      run_back(plan.decode, in, some.count, mixed);
      for (int r = 0; r < some.count; r++) {
        float *by_mean = by.mean + (size_t)some.sequence(r) * width;
        float *by_log_variance = by.log_variance + (size_t)some.sequence(r) * width;
        const float *slope = in.slope(plan.latents, r), *eps = noise + (size_t)(first + r) * width;
        for (int i = 0; i < width; i += LANES) {
          store(by_mean + i, load(by_mean + i) + load(slope + i));
          store(by_log_variance + i, load(by_log_variance + i) + load(slope + i) * load(eps + i));
        }
      }
    }
    for (int b = 0; b < rows; b++) free_energy[b] = free_energy[b] / samples + with_kl(q, by, samples, b);
  }

  // The gradient's closed part added to what samples gave; KL, weighted.
  float with_kl(const Moments& q, const Moments& by, int samples, int b) const {
    const size_t at = (size_t)b * width;
    const float *prior_mean = in.row(plan.prior_mean, b), *prior_log_variance = in.row(plan.prior_log_variance, b);
    const float each = 1.0f / samples;
    Lanes sum = {};
    for (int i = 0; i < width; i += LANES) {
      const Lanes log_variance = load(q.log_variance + at + i), deviation = exponential(0.5f * log_variance);
      const Lanes precision = exponential(-load(prior_log_variance + i));
      const Lanes error = load(q.mean + at + i) - load(prior_mean + i), ratio = deviation * deviation * precision;
      const Lanes by_mean = error * precision;
      sum += ratio - (log_variance - load(prior_log_variance + i)) - 1.0f + error * by_mean;
      store(by.mean + at + i, load(by.mean + at + i) * each + kl_weight * by_mean);
      store(by.log_variance + at + i, 0.5f * (kl_weight * (ratio - 1.0f) + deviation * load(by.log_variance + at + i) * each));
    }
    return kl_weight * (0.5f * total(sum));
  }
};

}  // namespace avf
