// One step of a chunk of sequences: predict, infer, sample, decode, and where nothing is missing the transition.
//
// The same as `Filter.step`, from which each line can be read off; see avf_core/filtering.py.
#pragma once
#include <atomic>

#include "chunk.hpp"

namespace avf {

struct ChunkStep {
  const Plan& plan;
  const Step& step;
  Chunk& chunk;
  int from, rows;  // sequences from...from + rows of the step
  std::atomic<int>& visited;

  Space& in() const { return chunk.in; }
  int width() const { return rounded_up(plan.latent_size, PANEL); }
  int observation_width() const { return rounded_up(plan.observation_size, PANEL); }
  Objective objective() const { return {plan, chunk.in, rows, width(), observation_width(), chunk.weight, chunk.frames.get()}; }

  // Rows of the caller's into a register, and out of one, or out of an array with this stride.
  void enter(const float* rows_of, int r) const {
    const int size = in().size(r);
    for (int b = 0; b < rows; b++) std::memcpy(in().row(r, b), rows_of + (size_t)(from + b) * size, 4 * (size_t)size);
  }
  void leave(const float* rows_of, int stride, int size, float* out) const {
    for (int b = 0; b < rows; b++) std::memcpy(out + (size_t)(from + b) * size, rows_of + (size_t)b * stride, 4 * (size_t)size);
  }
  void leave(int r, float* out) const { leave(in().row(r, 0), in().stride(r), in().size(r), out); }

  bool observed_at_all(int b) const {
    if (!step.observed) return true;
    const uint8_t* row = step.observed + (size_t)(from + b) * plan.observation_size;
    return std::any_of(row, row + plan.observation_size, [](uint8_t one) { return one; });
  }

  void predict() const {
    for (int s = 0; s < plan.state_count; s++) enter(step.state[s], plan.state[s]);
    for (int s = 0; s < plan.memory_count; s++) enter(step.memory[s], plan.memory[s]);
    run(plan.predict, in(), {rows, 0, rows}, false);
    leave(plan.prior_mean, step.prior_mean);
    leave(plan.prior_log_variance, step.prior_log_variance);
  }

  // The likelihood at one latent a row, left in the sampled registers.
  void decode(const float* z, int stride) const {
    for (int b = 0; b < rows; b++)
      std::memcpy(in().row(plan.latents, b), z + (size_t)b * stride, 4 * (size_t)plan.latent_size);
    run(plan.decode, in(), {rows, 0, rows}, false);
  }

  // x with the prediction's mean where it was not observed, and what counts of it.
  void fill() const {
    enter(step.x, plan.x);
    for (int b = 0; b < rows; b++) {
      float *weight = chunk.weight + (size_t)b * observation_width(), *x = in().row(plan.x, b);
      const uint8_t* seen = step.observed ? step.observed + (size_t)(from + b) * plan.observation_size : nullptr;
      for (int i = 0; i < plan.observation_size; i++) {
        weight[i] = !seen || seen[i];
        if (seen && !seen[i] && !chunk.frames) x[i] = expected_of(plan, in().row(plan.outputs[0], b), i);
      }
      if (seen && chunk.frames) chunk.frames->fill(in().row(plan.outputs[0], b), in().row(plan.framing.history, b), seen, x);
    }
  }

  // The descent from the prior, not begun.
  Descent descent(const Objective& objective) const {
    float** row = chunk.row;
    if (plan.reads_observation)  // beside the terms, and the same in every iteration
      for (int b = 0; b < rows; b++)
        std::memcpy(in().row(plan.asked, b) + 4 * plan.latent_size, in().row(plan.seen, b), 4 * (size_t)in().size(plan.seen));
    int64_t* limits = chunk.counts.get() + chunk.capacity;
    for (int b = 0; b < rows; b++)
      limits[b] = !observed_at_all(b) ? 0 : step.limits ? step.limits[from + b] : plan.iterations;
    return {objective, step, step.seed + from, step.step + from, limits, Clock::now(),
            chunk.q, chunk.proposal, chunk.by, chunk.noise, chunk.common, chunk.terms, chunk.scaled,
            row[0], row[1], row[2], row[3], row[4], chunk.met, chunk.counts.get(),
            chunk.flags.get(), chunk.flags.get() + chunk.capacity};
  }

  void descend(const Objective& objective) const {
    Descent descent = this->descent(objective);
    descent.run_all();
    int before = visited;
    while (before < descent.visited && !visited.compare_exchange_weak(before, descent.visited)) {
    }
  }

  // The posterior of a row, of what the procedure said of it.
  void place(int b) const {
    const float *mean = in().row(plan.said[0], b), *log_variance = in().row(plan.said[1], b);
    const float *prior_mean = in().row(plan.prior_mean, b), *prior_log_variance = in().row(plan.prior_log_variance, b);
    float *to_mean = chunk.q.mean + (size_t)b * width(), *to_log_variance = chunk.q.log_variance + (size_t)b * width();
    for (int i = 0; i < width(); i += LANES) {
      Lanes at = load(mean + i), spread = load(log_variance + i);
      if (plan.whitened) {
        at = load(prior_mean + i) + exponential(0.5f * load(prior_log_variance + i)) * at;
        spread = clamped(load(prior_log_variance + i) + spread, plan.lowest, plan.highest);
      }
      store(to_mean + i, at);
      store(to_log_variance + i, spread);
    }
  }

  void infer_directly() const {
    run(plan.infer, in(), {rows, 0, rows}, false);
    for (int b = 0; b < rows; b++) {
      chunk.counts[b] = 0;
      const bool heard = observed_at_all(b);
      if (heard) place(b);
      for (int s = 0; s < plan.memory_count; s++) {  // it stands still where there is nothing to hear
        const int size = in().size(plan.memory[s]);
        std::memcpy(step.remembered[s] + (size_t)(from + b) * size, in().row(heard ? plan.remembered[s] : plan.memory[s], b), 4 * (size_t)size);
      }
    }
  }

  void start_at_prior() const {
    for (int b = 0; b < rows; b++) {
      const size_t at = (size_t)b * width(), bytes = 4 * (size_t)width();
      std::memcpy(chunk.q.mean + at, in().row(plan.prior_mean, b), bytes);
      std::memcpy(chunk.q.log_variance + at, in().row(plan.prior_log_variance, b), bytes);
    }
  }

  // Likelihoods at draws from the prior, at which `q` is. Draws come in pairs of opposite noise, as in
  // avf_core/predictions.py. Where the search is in bfloat16 they are decoded in it, too: what many draws say together
  // differs by far less than they do. What is said at the mean is of float32.
  void expect(const Expect& asked, const int64_t* seed, const int64_t* number) const {
    const int draws = std::max(asked.draws, 1), all = draws * rows;
    for (int first = 0; first < all; first += BLOCK) {
      const Rows some = {std::min(BLOCK, all - first), first % rows, rows};
      for (int r = 0; r < some.count; r++) {
        const int at = from + some.sequence(r), draw = (first + r) / rows;
        float* eps = chunk.noise + (size_t)(some.first + r) * width();
        if (asked.draws) standard_normal(seed[at], number[at], asked.stream + draw / 2, plan.latent_size, eps);
        for (int i = 0; i < width(); i += LANES) store(eps + i, !asked.draws ? Lanes{} : draw % 2 ? -load(eps + i) : load(eps + i));
      }
      objective().sample(chunk.q, chunk.noise, some);
      run(plan.decode, in(), some, asked.mixed && asked.draws);
      for (int i = 0; i < 2; i++)
        for (int r = 0; r < some.count && plan.outputs[i] >= 0; r++) {
          const int size = in().size(plan.outputs[i]), draw = (first + r) / rows;
          std::memcpy(asked.outputs[i] + ((size_t)(from + some.sequence(r)) * draws + draw) * size,
                      in().row(plan.outputs[i], r), 4 * (size_t)size);
        }
    }
  }

  // A draw from the posterior.
  void draw() const {
    const Moments& q = chunk.q;
    for (int b = 0; b < rows; b++)
      standard_normal(step.seed[from + b], step.step[from + b], plan.posterior_stream, plan.latent_size, chunk.noise + (size_t)b * width());
    for (size_t i = 0; i < (size_t)rows * width(); i += LANES)
      store(chunk.terms + i, load(q.mean + i) + exponential(0.5f * load(q.log_variance + i)) * load(chunk.noise + i));
    leave(q.mean, width(), plan.latent_size, step.posterior_mean);
    leave(q.log_variance, width(), plan.latent_size, step.posterior_log_variance);
    leave(chunk.terms, width(), plan.latent_size, step.z);
  }

  // The likelihood at the draw, and F.
  void conclude(const Objective& objective) const {
    const Moments& q = chunk.q;
    decode(chunk.terms, width());
    for (int i = 0; i < 2; i++)
      if (plan.outputs[i] >= 0) leave(plan.outputs[i], step.likelihood[i]);
    for (int b = 0; b < rows; b++) {
      const int at = from + b;
      step.reconstruction[at] = objective.energy(b, b, false);
      step.kl[at] = objective.kl(q, b);
      step.free_energy[at] = step.reconstruction[at] + step.kl[at];
      step.iterations[at] = chunk.counts[b];
      const float* met = chunk.met + (size_t)b * (step.most + 1);
      float* all = step.free_energies + (size_t)at * (step.most + 1);
      for (int i = 0; i <= step.most; i++) all[i] = i < chunk.counts[b] ? met[i] : step.free_energy[at];
    }
  }

  void feed_back(bool features) const {
    if (features) run(plan.features, in(), {rows, 0, rows}, false);
    run(plan.transition, in(), {rows, 0, rows}, false);
  }

  // The transition with what was drawn, and out with the state that it leads to.
  void go_on(bool features) const {
    for (int b = 0; b < rows; b++) std::memcpy(in().row(plan.z, b), chunk.terms + (size_t)b * width(), 4 * (size_t)plan.latent_size);
    feed_back(features);
    for (int s = 0; s < plan.state_count; s++) leave(plan.following[s], step.following[s]);
  }

  void make() const {
    predict();
    start_at_prior();
    for (const Expect* asked : step.expected)
      if (asked) expect(*asked, step.seed, step.step);
    if (step.observed) decode(in().row(plan.prior_mean, 0), in().stride(plan.prior_mean));  // for what was not
    fill();
    const bool reads = plan.procedure == DIRECT || plan.reads_observation;
    if (reads) run(plan.features, in(), {rows, 0, rows}, false);
    const Objective f = objective();
    if (plan.procedure == DIRECT) infer_directly();
    else descend(f);
    draw();
    conclude(f);
    if (step.following) go_on(!reads);
  }
};

}  // namespace avf
