// What a model expects of the next observation: the likelihoods at draws from the prior.
//
// Draws come in pairs of opposite noise, as in avf_core/predictions.py. Where the search is in bfloat16 they are decoded in
// it, too: what many draws say together differs by far less than they do. What is said at the mean is of float32.
#pragma once
#include "step.hpp"

namespace avf {

inline void expect(const ChunkStep& chunk, const Expect& expect) {
  const Plan& plan = chunk.plan;
  Space& in = chunk.in();
  for (int s = 0; s < plan.state_count; s++) chunk.enter(expect.state[s], plan.state[s]);
  run(plan.predict, in, {chunk.rows, 0, chunk.rows}, false);
  chunk.start_at_prior();
  const int draws = std::max(expect.draws, 1), all = draws * chunk.rows;
  for (int first = 0; first < all; first += BLOCK) {
    const Rows some = {std::min(BLOCK, all - first), first % chunk.rows, chunk.rows};
    for (int r = 0; r < some.count; r++) {
      const int at = chunk.from + some.sequence(r), draw = (first + r) / chunk.rows;
      float* eps = chunk.chunk.noise + (size_t)(some.first + r) * chunk.width();
      if (expect.draws) standard_normal(expect.seed[at], expect.step[at], expect.stream + draw / 2, plan.latent_size, eps);
      for (int i = 0; i < chunk.width(); i += LANES) store(eps + i, !expect.draws ? Lanes{} : draw % 2 ? -load(eps + i) : load(eps + i));
    }
    chunk.objective().sample(chunk.chunk.q, chunk.chunk.noise, some);
    run(plan.decode, in, some, expect.mixed && expect.draws);
    for (int i = 0; i < 2; i++)
      for (int r = 0; r < some.count && plan.outputs[i] >= 0; r++) {
        const int size = in.size(plan.outputs[i]), draw = (first + r) / chunk.rows;
        std::memcpy(expect.outputs[i] + ((size_t)(chunk.from + some.sequence(r)) * draws + draw) * size,
                    in.row(plan.outputs[i], r), 4 * (size_t)size);
      }
  }
}

}  // namespace avf
