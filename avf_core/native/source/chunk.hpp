// The memory of one thread: the registers of a plan for so many rows, and what a descent keeps of them.
#pragma once
#include "descent.hpp"

namespace avf {

struct Chunk {
  int capacity, most;
  Space in;
  Memory<float> memory;
  Memory<uint16_t> halves;
  Memory<int64_t> counts;
  Memory<uint8_t> flags;
  std::unique_ptr<Frames> frames;
  Moments q, proposal, by;
  float *noise, *common, *terms, *scaled, *row[5], *met, *weight;

  // For `capacity` sequences, of which none is given more than `most` updates.
  Chunk(const Plan& plan, const std::vector<Matrix>& matrices, int capacity, int most) : capacity(capacity), most(most) {
    in.plan = &plan, in.matrices = &matrices;
    size_t used = 0;
    lay(used, nullptr);
    memory = zeros<float>(used);
    used = 0;
    lay(used, memory.get());
    int widest = 0;
    for (const Matrix& m : matrices) widest = std::max(widest, rounded_up(m.inputs, 32));
    halves = zeros<uint16_t>((size_t)std::max(BLOCK, capacity) * widest + 64);
    in.halves = halves.get();
    counts = zeros<int64_t>(2 * (size_t)capacity);
    flags = zeros<uint8_t>(2 * (size_t)capacity);
    if (plan.likelihood == LINEAR_PREDICTION) frames = std::make_unique<Frames>(plan.framing, plan.observation_size, plan.center, plan.scale);
  }

  // Where everything stands from `base` on; without a base, only how much there is.
  void lay(size_t& used, float* base) {
    const Plan& plan = *in.plan;
    auto take = [&](size_t count) {
      float* at = base ? base + used : nullptr;
      used += (count + 15) / 16 * 16;
      return at;
    };
    in.values.clear(), in.slopes.clear();
    for (int r = 0; r < plan.register_count; r++) {
      const size_t rows = plan.registers[r].sampled ? std::max(BLOCK, capacity) : capacity;
      in.values.push_back(take(rows * in.stride(r)));
      in.slopes.push_back(plan.registers[r].sampled ? take(rows * in.stride(r)) : nullptr);
    }
    const size_t width = rounded_up(plan.latent_size, PANEL), all = width * capacity;
    for (Moments* m : {&q, &proposal, &by}) m->mean = take(all), m->log_variance = take(all);
    noise = take(std::max(all * (plan.samples + 1), all + width * BLOCK)), common = take(all * std::max(plan.common_samples, plan.guard_samples));
    terms = take(4 * all), scaled = take(width);
    for (float*& one : row) one = take(capacity);
    met = take((size_t)capacity * (most + 1));
    weight = take((size_t)capacity * rounded_up(plan.observation_size, PANEL));
  }
};

}  // namespace avf
