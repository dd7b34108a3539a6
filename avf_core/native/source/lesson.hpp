// A descent in training: what the update model read and said at each application, by which slope of F that is judged,
// and from these the gradients of its parameters.
//
// The same as avf_core/inference/_study.py, by the same descent as a step's. The law: the gradient that judges an
// application is, where a row went on from it, the one that the next iteration reads.
#pragma once
#include "gradients.hpp"
#include "step.hpp"

namespace avf {

// A step of a clip; what is missing of `step.x` is filled already, and is fed back so.
struct Study {
  Step step;
  float* free_energy;  // at what each application proposed: `rows` for each iteration
  float kl_weight;
  int32_t at;  // applications before this step's
};

// Of every application since the last renewal, a row each: what the operations of the update model read and made, and
// the slope of F by what it said.
struct Record {
  int capacity = 0;
  std::vector<Memory<float>> read, made;
  Memory<float> slope;

  static int made_by(const Operation& op) { return op.kind == HIGHWAY ? op.gates : op.out; }

  void hold(const Plan& plan, const Space& in, int rows) {
    if (rows <= capacity) return;
    read.clear(), made.clear();
    for (int o = 0; o < plan.infer.count; o++) {
      read.push_back(zeros<float>((size_t)rows * in.stride(plan.infer.operations[o].read)));
      made.push_back(zeros<float>((size_t)rows * in.stride(made_by(plan.infer.operations[o]))));
    }
    slope = zeros<float>((size_t)rows * in.stride(plan.said[0]));
    capacity = rows;
  }

  void note(const Plan& plan, const Space& in, int rows, int at) {
    for (int o = 0; o < plan.infer.count; o++) {
      const Operation& op = plan.infer.operations[o];
      const size_t reads = in.stride(op.read), makes = in.stride(made_by(op));
      std::memcpy(read[o].get() + at * reads, in.row(op.read, 0), 4 * reads * rows);
      std::memcpy(made[o].get() + at * makes, in.row(made_by(op), 0), 4 * makes * rows);
    }
  }
};

// From the slope of a layer-normalised row to that of the row; `from` is the row, and `slope` is changed in place.
inline void through_layer_norm(const float* from, int size, int width, float* slope) {
  Lanes sum = {}, squares = {}, slopes = {}, products = {};
  for (int i = 0; i < width; i += LANES) sum += within(load(from + i), i, size);
  const float mean = total(sum) / size;
  for (int i = 0; i < width; i += LANES) {
    const Lanes error = within(load(from + i) - mean, i, size);
    squares += error * error, slopes += load(slope + i), products += load(slope + i) * error;
  }
  const float scale = 1.0f / std::sqrt(total(squares) / size + 1e-5f);
  const float middle = total(slopes) / size, share = total(products) * scale * scale / size;
  for (int i = 0; i < width; i += LANES)
    store(slope + i, within(scale * (load(slope + i) - middle - (load(from + i) - mean) * share), i, size));
}

// From the slope of F by the moments that a row was moved to, to that by what the update model said: `settle` backwards.
inline void unsettle(const Objective& objective, const float* terms, const float* said, int b, const Moments& by, float* out) {
  const Plan& plan = objective.plan;
  const int width = objective.width, size = plan.latent_size;
  const float* prior_log_variance = objective.in.row(plan.prior_log_variance, b);
  for (int part = 0; part < 2; part++) {
    const float *position = terms + part * width, *slope = terms + (2 + part) * width;
    const float *proposal = said + 2 * part * width, *gate = said + (2 * part + 1) * width;
    float *moved = out + (2 * part + 1) * width, *back = out + 2 * part * width;  // of which the first is in the way only
    for (int i = 0; i < width; i += LANES) {
      const Lanes open = sigmoid(load(gate + i));
      const Lanes to = plan.rule == GATED ? load(proposal + i) + open * (load(position + i) - load(proposal + i))
                                          : load(position + i) + load(proposal + i) - open * load(slope + i);
      Lanes by_moved = load((part ? by.log_variance : by.mean) + (size_t)b * width + i);
      if (part) {
        const Lanes spread = plan.whitened ? load(prior_log_variance + i) + to : to;
        by_moved = (spread >= plan.lowest) & (spread <= plan.highest) ? by_moved : Lanes{};
      } else if (plan.whitened) by_moved *= exponential(0.5f * load(prior_log_variance + i));
      store(moved + i, to);
      store(back + i, within(by_moved, i, size));
    }
    if (!part && plan.normalize_mean) through_layer_norm(moved, size, width, back);
    for (int i = 0; i < width; i += LANES) {
      const Lanes open = sigmoid(load(gate + i)), by_moved = load(back + i), opens = open * (1.0f - open);
      const Lanes moves = plan.rule == GATED ? load(position + i) - load(proposal + i) : -load(slope + i);
      store(moved + i, within(moves * opens * by_moved, i, size));
      if (plan.rule == GATED) store(back + i, by_moved * (1.0f - open));
    }
  }
}

struct ChunkStudy {
  const Study& study;
  const ChunkStep& one;
  Record& record;

  // The applications of iteration `i`: their place in the record.
  int place(int i) const { return study.at + i * study.step.rows + one.from; }

  void judge(const Descent& d, int i, const Moments& by, const float* free_energy) const {
    const Space& in = one.in();
    const int said = one.plan.said[0], width = d.objective.width;
    for (int b = 0; b < one.rows; b++) {
      unsettle(d.objective, d.terms + (size_t)b * 4 * width, in.row(said, b), b, by, record.slope.get() + (size_t)(place(i) + b) * in.stride(said));
      study.free_energy[(size_t)i * study.step.rows + one.from + b] = free_energy[b];
    }
  }

  // As `Descent::run_all` goes, with each application noted and judged.
  void learn(Descent& d) const {
    const Plan& plan = one.plan;
    const size_t all = (size_t)one.rows * d.objective.width;
    const Memory<float> aside = zeros<float>(2 * all + one.rows);
    const Moments by_proposal = {aside.get(), aside.get() + all};
    float* at_proposal = aside.get() + 2 * all;
    const bool keeps = d.begin(plan.iterations);
    int64_t stream = plan.iteration_stream;
    int samples = d.draw_samples(0, stream);
    d.objective.gradient(d.q, d.noise, samples, one.step.mixed, d.by, d.free_energy);
    for (int i = 0; i < plan.iterations; i++) {
      d.propose(i);
      record.note(plan, one.in(), one.rows, place(i));
      d.judge(i, keeps, false);
      const bool everywhere = std::all_of(d.possible, d.possible + one.rows, [](uint8_t each) { return each; });
      samples = d.draw_samples(i + 1, stream);
      if (!everywhere) d.objective.gradient(d.proposal, d.noise, samples, one.step.mixed, by_proposal, at_proposal);
      if (everywhere || i + 1 < plan.iterations) d.objective.gradient(d.q, d.noise, samples, one.step.mixed, d.by, d.free_energy);
      judge(d, i, everywhere ? d.by : by_proposal, everywhere ? d.free_energy : at_proposal);
    }
  }

  void make() const {
    const Plan& plan = one.plan;
    one.predict();
    if (one.step.observed) one.decode(one.in().row(plan.prior_mean, 0), one.in().stride(plan.prior_mean));
    one.fill();
    if (plan.reads_observation) run(plan.features, one.in(), {one.rows, 0, one.rows}, false);
    one.start_at_prior();
    Objective f = one.objective();
    f.kl_weight = study.kl_weight;
    Descent d = one.descent(f);
    learn(d);
    one.draw();
    if (one.step.observed) one.enter(one.step.x, plan.x);
    one.go_on(!plan.reads_observation || one.step.observed);
  }
};

}  // namespace avf
