// What a model expects of the next observation, by itself: `ChunkStep::expect` from a state.
#pragma once
#include "step.hpp"

namespace avf {

inline void expect(const ChunkStep& chunk, const Expect& expect) {
  for (int s = 0; s < chunk.plan.state_count; s++) chunk.enter(expect.state[s], chunk.plan.state[s]);
  run(chunk.plan.predict, chunk.in(), {chunk.rows, 0, chunk.rows}, false);
  chunk.start_at_prior();
  chunk.expect(expect, expect.seed, expect.step);
}

}  // namespace avf
