// The plan: what a model and its inference procedure say of themselves, as the library lays it out in memory.
//
// The same structures stand in avf_core.native._layout.py; their fields are 32 bits wide, but for addresses.
#pragma once
#include <cstdint>

namespace avf {

enum OperationKind : int32_t { LINEAR, PASTE, CUT, HIGHWAY, LSTM, STANDARDIZE, LOUDNESS, POWER, HEAR };
enum Activation : int32_t { IDENTITY, RELU, CLIPPED_LEAKY_RELU, ELU, CLAMP };
enum LikelihoodKind : int32_t { BERNOULLI, GAUSSIAN, DISCRETIZED, DISCRETIZED_AUTHORS, LINEAR_PREDICTION };
enum ProcedureKind : int32_t { ITERATIVE, DIRECT };
enum Rule : int32_t { GATED, LEARNED_SGD };

// One operation on registers; -1 for those it has none of.
//
// LINEAR       out = activation(W read + b + other), or with an `offset` out += W read; on the way back `slope` is W transposed, and `adds` says that
//              another layer has read the same before.
// PASTE        out[offset...] = read
// CUT          out = read[offset...]
// HIGHWAY      gates = W read = (transform, gate, carry), the carry being `read` itself where `offset` is 0
// LSTM         gates = W read = (input, forget, cell, output), `other` is the cell before, out = hidden, second = cell
// STANDARDIZE  out = (read - center) / scale, of an observation
// LOUDNESS     out = the log amplitude of a power, less `other`
// POWER        out = the mean power of what was heard, `read` being new to `other`; `second` counts on from `gates`, to `high`
// HEAR         out = the numbers of a window, `read`, that ends with a frame of `offset` samples; relative to `other`, a level
struct Operation {
  int32_t kind, read, other, out, second, gates, matrix, slope, activation, offset, adds;
  float low, high;
};

struct Program {
  const Operation* operations;
  int32_t count;
};

// A register: rows of `size` numbers, one row a sequence, or one a sample where `sampled`.
struct Register {
  int32_t size, stride, sampled;
};

// Linear prediction: what the decoder's numbers are, and how samples follow those before them.
struct Framing {
  int32_t history;  // the register of what was observed before; -1 for other likelihoods
  int32_t order, filtering, gains, reactive, spectral, noise;
  float absolute, level;  // the noise's mean magnitude, and the width of a level
};

struct Plan {
  const Register* registers;
  Program predict, features, decode, infer, transition;
  // Where the values of a step stand; -1 for none.
  const int32_t *state, *following, *memory, *remembered;
  int32_t register_count, state_count, memory_count;
  int32_t x, z, seen, prior_mean, prior_log_variance, latents, outputs[2];
  int32_t asked, said[2];  // what the procedure's program reads, and what it says
  int32_t latent_size, observation_size;
  int32_t likelihood;
  Framing framing;
  const float *center, *scale, *shift;  // of each number of an observation; shift is 2 log scale
  float bin, lowest, highest;           // the last two: what log-variances of latents are clamped to
  const int32_t* schedule;  // gradient samples of each iteration, the last of all after it
  int32_t procedure, rule, whitened, normalize_mean, reads_observation;
  int32_t iterations, scheduled, samples, antithetic, keep_best, common_samples, guard_samples;  // samples: the most of any
  int32_t posterior_stream, iteration_stream;
  int64_t common_stream;
  float reach, gradient_scale;
};

// What is expected of observations: the likelihoods at draws from the prior, or without `draws` at its mean. Within a step state, seed, step and rows are
// the step's.
struct Expect {
  const float* const* state;
  const int64_t *seed, *step;
  float* outputs[2];  // for every row its draws
  int64_t stream;
  int32_t draws, rows, threads, mixed;
};

// One step of `rows` sequences: what goes in, row after row, and where what comes out is put.
struct Step {
  const float* const* state;
  const float* const* memory;
  float* const* following;   // nothing is fed back where this is null: `advance` does it
  float* const* remembered;
  const float* x;
  const uint8_t* observed;   // null where all of it is
  const int64_t *seed, *step, *limits;
  float *prior_mean, *prior_log_variance, *posterior_mean, *posterior_log_variance, *z;
  float* likelihood[2];
  float *free_energy, *reconstruction, *kl, *free_energies;
  int64_t* iterations;
  int32_t* visited;
  const Expect* expected[2];  // what is asked of its observation beforehand; null where nothing is
  double tolerance, budget;  // negative where there is none
  int32_t rows, most, threads, mixed;
  int32_t samples;  // the most gradient samples of an iteration; 0 where there are as many as the schedule has
};

// A transition alone: after a step of which some was missing.
struct Advance {
  const float* const* state;
  float* const* following;
  const float *x, *z;
  int32_t rows, threads;
};

}  // namespace avf
