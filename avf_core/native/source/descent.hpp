// Descent on F from the prior: the loop of avf_core/inference/_descent.py, with its pace and its acceptance.
//
// The laws are those there: a row is limited by what itself has spent and met, and rows that are done are frozen.
#pragma once
#include <chrono>

#include "update.hpp"

namespace avf {

using Clock = std::chrono::steady_clock;

// What a descent of `rows` sequences keeps; all of it lies in the chunk's memory.
struct Descent {
  const Objective& objective;
  const Step& step;
  const int64_t *seed, *number, *limits;
  Clock::time_point started;
  Moments q, proposal, by;
  float *noise, *common, *terms, *scaled;                  // of samples, of the step, of a row, of a term
  float *free_energy, *before, *kept, *at_prior, *proposed;  // one a row
  float* met;                                              // F of each iterate: step.most + 1 a row
  int64_t* spent;
  uint8_t *going, *possible;
  int visited = 0;

  int rows() const { return objective.rows; }

  void draw(int64_t stream, int count, bool antithetic, float* out) const {
    const Plan& plan = objective.plan;
    const size_t block = (size_t)rows() * objective.width;
    for (int s = 0; s < count; s++)
      for (int b = 0; b < rows(); b++)
        standard_normal(seed[b], number[b], stream + s, plan.latent_size, out + s * block + (size_t)b * objective.width);
    if (!antithetic) return;
    for (size_t i = 0; i < count * block; i += LANES) store(out + count * block + i, -load(out + i));
  }

  bool over() const { return step.tolerance >= 0 && std::none_of(going, going + rows(), [](uint8_t one) { return one; }); }

  // Whether there is time for another iteration: what would end too late, going by those so far, is not begun.
  bool in_time() const {
    if (step.budget < 0) return true;
    const double elapsed = std::chrono::duration<double>(Clock::now() - started).count();
    return elapsed + (visited ? elapsed / visited : 0.0) < step.budget;
  }

  void settle_row(int b, float change) {
    if (step.tolerance >= 0) going[b] = going[b] && std::fabs(change) >= step.tolerance;
  }

  // F as the descent goes by it; rows of which the last update changed too little are done.
  void visit(int iteration, bool keeps) {
    for (int b = 0; b < rows(); b++) {
      if (keeps) free_energy[b] = kept[b];
      else if (iteration > 0) settle_row(b, free_energy[b] - before[b]);
      before[b] = free_energy[b];
    }
  }

  void propose(int iteration) {
    const Plan& plan = objective.plan;
    const Space& in = objective.in;
    const int width = objective.width;
    for (int b = 0; b < rows(); b++) {
      terms_of(objective, q, by, b, terms + (size_t)b * 4 * width);
      ask(objective, terms + (size_t)b * 4 * width, scaled, in.row(plan.asked, b));
    }
    run(plan.infer, in, {rows(), 0, rows()}, step.mixed);
    for (int b = 0; b < rows(); b++)
      possible[b] = going[b] & settle(objective, terms + (size_t)b * 4 * width, in.row(plan.said[0], b), b,
                                      proposal.mean + (size_t)b * width, proposal.log_variance + (size_t)b * width);
  }

  // Which of the possible proposals are accepted; where the change of F is asked for, rows settle by it.
  void judge(int iteration, bool keeps, bool guards) {
    const Plan& plan = objective.plan;
    const bool compared = keeps || (guards && iteration >= plan.iterations);
    const int samples = keeps ? plan.common_samples : plan.guard_samples;
    if (guards && iteration == plan.iterations) objective.measure(q, common, samples, step.mixed, kept);
    if (compared) objective.measure(proposal, common, samples, step.mixed, proposed);
    for (int b = 0; b < rows(); b++) {
      const float change = compared ? proposed[b] - kept[b] : 0.0f;
      if (compared) possible[b] &= proposed[b] <= (keeps ? kept[b] : std::max(kept[b], at_prior[b]));
      if (compared && possible[b]) kept[b] = proposed[b];
      if (possible[b]) accept(b);
      spent[b] += going[b];
      if (keeps) settle_row(b, change);
      going[b] = going[b] && spent[b] < limits[b];
    }
  }

  void accept(int b) {
    const size_t at = (size_t)b * objective.width, bytes = 4 * (size_t)objective.width;
    std::memcpy(q.mean + at, proposal.mean + at, bytes);
    std::memcpy(q.log_variance + at, proposal.log_variance + at, bytes);
  }

  // Before the first iteration, of at most so many: whether proposals are kept only where they are better.
  bool begin(int64_t most) {
    const Plan& plan = objective.plan;
    for (int b = 0; b < rows(); b++) spent[b] = 0, going[b] = limits[b] > 0;
    if (plan.keep_best || most > plan.iterations) {
      const int samples = plan.keep_best ? plan.common_samples : plan.guard_samples;
      draw(plan.common_stream, samples / 2, true, common);
      objective.measure(q, common, samples, step.mixed, kept);
      std::copy_n(kept, rows(), at_prior);
    }
    return plan.keep_best;
  }

  // The noise of an iteration's gradient samples, whose number is returned; `stream` goes on to the next one's.
  int draw_samples(int iteration, int64_t& stream) {
    const Plan& plan = objective.plan;
    const int planned = plan.schedule[std::min(iteration, plan.scheduled - 1)];
    const int samples = step.samples ? std::min(planned, step.samples) : planned;
    draw(stream, plan.antithetic ? samples / 2 : samples, plan.antithetic, noise);
    stream += samples;
    return samples;
  }

  void run_all() {
    const Plan& plan = objective.plan;
    const int64_t most = *std::max_element(limits, limits + rows());
    const bool keeps = begin(most), guards = !keeps && most > plan.iterations;
    int64_t stream = plan.iteration_stream;
    for (int iteration = 0; iteration < most; iteration++) {
      if (over() || !in_time()) break;
      const int samples = draw_samples(iteration, stream);
      objective.gradient(q, noise, samples, step.mixed, by, free_energy);
      visit(iteration, keeps);
      if (over()) break;
      for (int b = 0; b < rows(); b++) met[(size_t)b * (step.most + 1) + iteration] = free_energy[b];
      visited = iteration + 1;
      propose(iteration);
      judge(iteration, keeps, guards);
    }
  }
};

}  // namespace avf
