// Programs: operations on registers, forwards, and backwards to the latents where all of them are linear layers.
//
// Registers that are not sampled hold a row a sequence; sampled ones a row a sample, in which row r belongs to
// sequence r % batch, so that what a step computes once is read by all samples.
#pragma once
#include <vector>

#include "tiles.hpp"
#include "plan.hpp"
#include "product.hpp"
#include "sound.hpp"

namespace avf {

// The registers of one thread's rows.
struct Space {
  const Plan* plan = nullptr;
  const std::vector<Matrix>* matrices = nullptr;
  std::vector<float*> values, slopes;
  uint16_t* halves = nullptr;  // a product's rows in bfloat16

  int size(int r) const { return plan->registers[r].size; }
  int stride(int r) const { return plan->registers[r].stride; }
  float* row(int r, int at) const { return values[r] + (size_t)at * stride(r); }
  float* slope(int r, int at) const { return slopes[r] + (size_t)at * stride(r); }
};

// Rows of a program: row r of the sampled registers belongs to sequence (first + r) % batch.
struct Rows {
  int count, first, batch;
  int sequence(int r) const { return (first + r) % batch; }
};

inline void product(const Space& in, int matrix, const float* x, int x_stride, int rows, float* y, int y_stride,
                    bool mixed, bool adds = false) {
  const Matrix& m = (*in.matrices)[matrix];
#if defined(__AMX_BF16__)
  if (mixed && m.half) return product_tiled(m, x, x_stride, rows, y, y_stride, adds, in.halves);
#elif defined(AVF_HALF)
  if (mixed && m.half) return product_half(m, x, x_stride, rows, y, y_stride, adds, in.halves);
#endif
  product_single(m, x, x_stride, rows, y, y_stride, adds);
}

inline void activate(const Operation& op, float* y, const float* other, int width) {
  for (int i = 0; i < width; i += LANES) {
    Lanes value = load(y + i);
    if (other) value += load(other + i);
    if (op.activation == RELU) value = higher(value, Lanes{});
    if (op.activation == CLIPPED_LEAKY_RELU) value = clipped_leaky_relu(value);
    if (op.activation == ELU) value = elu(value);
    if (op.activation == CLAMP) value = clamped(value, op.low, op.high);
    store(y + i, value);
  }
}

// The slope through an activation, by the value that it had.
inline void through(const Operation& op, const float* y, float* slope, int width) {
  for (int i = 0; i < width; i += LANES) {
    Lanes value = load(y + i), by = load(slope + i);
    if (op.activation == RELU) by = value > 0.0f ? by : Lanes{};
    if (op.activation == ELU) by = value > 0.0f ? by : by * (value + 1.0f);
    if (op.activation == CLAMP) by = (value > op.low) & (value < op.high) ? by : Lanes{};
    if (op.activation == CLIPPED_LEAKY_RELU) {
      by = value > 0.0f ? by : by * (1.0f / 3.0f);
      by = (value > -3.0f) & (value < 3.0f) ? by : Lanes{};
    }
    store(slope + i, by);
  }
}

inline void highway(const float* read, const float* gates, bool carries, float* out, int width) {
  for (int i = 0; i < width; i += LANES) {
    Lanes carried = carries ? load(gates + 2 * width + i) : load(read + i);
    store(out + i, carried + sigmoid(load(gates + width + i)) * (elu(load(gates + i)) - carried));
  }
}

inline void lstm(const float* gates, const float* before, float* hidden, float* cell, int width) {
  for (int i = 0; i < width; i += LANES) {
    Lanes input = sigmoid(load(gates + i)), forget = sigmoid(load(gates + width + i));
    Lanes made = hyperbolic_tangent(load(gates + 2 * width + i)), output = sigmoid(load(gates + 3 * width + i));
    Lanes kept = forget * load(before + i) + input * made;
    store(cell + i, kept);
    store(hidden + i, output * hyperbolic_tangent(kept));
  }
}

// The operations on sound.
inline void listen(const Operation& op, const Space& in, int r) {
  const float *read = in.row(op.read, r), *other = op.other < 0 ? nullptr : in.row(op.other, r);
  float* out = in.row(op.out, r);
  if (op.kind == LOUDNESS) *out = loudness(*read) - (other ? *other : 0.0f);
  if (op.kind == POWER) {
    float* count = in.row(op.second, r);
    *out = *other, *count = *in.row(op.gates, r);
    hear_power(read, in.size(op.read), op.high, out, count);
  }
  if (op.kind == HEAR) hear(read, in.size(op.read), op.offset, in.size(op.out) - HEARD, *other, out);
}

inline void operate(const Operation& op, const Space& in, const Rows& rows, bool mixed) {
  const int width = rounded_up(in.size(op.out), PANEL);
  if (op.matrix >= 0) {
    const int to = op.kind == LINEAR ? op.out : op.gates;
    product(in, op.matrix, in.row(op.read, 0), in.stride(op.read), rows.count, in.row(to, 0), in.stride(to), mixed,
            op.kind == LINEAR && op.offset);
    if (op.kind == LINEAR && op.activation == IDENTITY && op.other < 0) return;
  }
  for (int r = 0; r < rows.count; r++) {
    const float* read = in.row(op.read, r);
    float* out = in.row(op.out, r);
    if (op.kind == LINEAR) activate(op, out, op.other < 0 ? nullptr : in.row(op.other, rows.sequence(r)), width);
    if (op.kind == PASTE) std::memcpy(out + op.offset, read, 4 * (size_t)in.size(op.read));
    if (op.kind == CUT) std::memcpy(out, read + op.offset, 4 * (size_t)in.size(op.out));
    if (op.kind == HIGHWAY) highway(read, in.row(op.gates, r), op.offset, out, width);
    if (op.kind == LSTM) lstm(in.row(op.gates, r), in.row(op.other, r), out, in.row(op.second, r), width);
    if (op.kind == STANDARDIZE)
      for (int i = 0; i < width; i += LANES) store(out + i, (load(read + i) - load_anywhere(in.plan->center + i)) / load_anywhere(in.plan->scale + i));
    if (op.kind >= LOUDNESS) listen(op, in, r);
  }
}

inline void run(const Program& program, const Space& in, const Rows& rows, bool mixed) {
  for (int o = 0; o < program.count; o++) operate(program.operations[o], in, rows, mixed);
}

// From the slopes of what a program of linear layers made to those of what it read.
inline void run_back(const Program& program, const Space& in, int rows, bool mixed) {
  for (int o = program.count - 1; o >= 0; o--) {
    const Operation& op = program.operations[o];
    const int width = rounded_up(in.size(op.out), PANEL);
    if (op.activation != IDENTITY)
      for (int r = 0; r < rows; r++) through(op, in.row(op.out, r), in.slope(op.out, r), width);
    product(in, op.slope, in.slope(op.out, 0), in.stride(op.out), rows, in.slope(op.read, 0), in.stride(op.read), mixed,
            op.adds);
  }
}

}  // namespace avf
