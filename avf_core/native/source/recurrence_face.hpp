// An LSTM over a stretch whose inputs are all known: step by step there is only the product with the hidden state.
//
// What the gates hear of the inputs comes as it was projected, biases included; gates are input, forget, cell, output.
// The law: rows know nothing of each other.
#pragma once
#include "studying.hpp"

namespace avf {

struct Recurrence {
  const float *weight, *projected, *hidden, *cell;  // W_hh; what is heard; the state before
  float *gates, *hiddens, *cells;                   // after each step; the gates as they were bent
  const float *by_hiddens, *by_cells;               // slopes of the above, for the way back
  float *by_projected, *by_hidden, *by_cell;
  int32_t steps, rows, size, threads;
};

// Rows from...to of a recurrence, padded to whole panels.
struct Recurring {
  const Recurrence& of;
  const Matrix& matrix;
  int from, to, width;
  Memory<float> gates, hidden, cell;

  Recurring(const Recurrence& of, const Matrix& matrix, int from, int to)
      : of(of), matrix(matrix), from(from), to(to), width(rounded_up(of.size, PANEL)), gates(zeros<float>((size_t)rows() * 4 * width)),
        hidden(zeros<float>((size_t)rows() * width)), cell(zeros<float>((size_t)rows() * width)) {}

  int rows() const { return to - from; }

  // A row of the caller's, of `parts` parts, in and out of a padded one.
  void enter(const float* rows_of, size_t at, int parts, float* row) const {
    for (int p = 0; p < parts; p++) std::memcpy(row + p * width, rows_of + (at * parts + p) * of.size, 4 * (size_t)of.size);
  }
  void leave(const float* row, size_t at, int parts, float* rows_of) const {
    for (int p = 0; p < parts; p++) std::memcpy(rows_of + (at * parts + p) * of.size, row + p * width, 4 * (size_t)of.size);
  }

  float* gates_of(int r) const { return gates.get() + (size_t)r * 4 * width; }
  float* hidden_of(int r) const { return hidden.get() + (size_t)r * width; }
  float* cell_of(int r) const { return cell.get() + (size_t)r * width; }

  void forwards() const {
    for (int r = 0; r < rows(); r++) enter(of.hidden, from + r, 1, hidden_of(r)), enter(of.cell, from + r, 1, cell_of(r));
    for (int t = 0; t < of.steps; t++) {
      const size_t at = (size_t)t * of.rows + from;
      for (int r = 0; r < rows(); r++) enter(of.projected, at + r, 4, gates_of(r));
      product_single(matrix, hidden.get(), width, rows(), gates.get(), 4 * width, true);
      for (int r = 0; r < rows(); r++) {
        float *all = gates_of(r), *h = hidden_of(r), *c = cell_of(r);
        for (int i = 0; i < width; i += LANES) {
          const Lanes input = sigmoid(load(all + i)), forget = sigmoid(load(all + width + i));
          const Lanes made = hyperbolic_tangent(load(all + 2 * width + i)), output = sigmoid(load(all + 3 * width + i));
          const Lanes kept = forget * load(c + i) + input * made;
          store(all + i, input), store(all + width + i, forget), store(all + 2 * width + i, made), store(all + 3 * width + i, output);
          store(c + i, kept), store(h + i, output * hyperbolic_tangent(kept));
        }
        leave(all, at + r, 4, of.gates), leave(h, at + r, 1, of.hiddens), leave(c, at + r, 1, of.cells);
      }
    }
  }

  // The hidden and cell rows are their slopes; `matrix` is the transpose of the weight.
  void backwards() const {
    const Memory<float> held = zeros<float>(8 * (size_t)width);
    float *all = held.get(), *by_h = all + 4 * width, *by_c = by_h + width, *c = by_c + width, *before = c + width;
    for (int t = of.steps - 1; t >= 0; t--) {
      const size_t at = (size_t)t * of.rows + from;
      for (int r = 0; r < rows(); r++) {
        enter(of.gates, at + r, 4, all), enter(of.by_hiddens, at + r, 1, by_h), enter(of.by_cells, at + r, 1, by_c);
        enter(of.cells, at + r, 1, c), enter(t ? of.cells : of.cell, t ? at + r - of.rows : from + r, 1, before);
        for (int i = 0; i < width; i += LANES) {
          const Lanes input = load(all + i), forget = load(all + width + i), made = load(all + 2 * width + i), output = load(all + 3 * width + i);
          const Lanes bent = hyperbolic_tangent(load(c + i)), slope = load(by_h + i) + load(hidden_of(r) + i);
          const Lanes by_cell = load(by_c + i) + load(cell_of(r) + i) + slope * output * (1.0f - bent * bent);
          store(gates_of(r) + i, by_cell * made * input * (1.0f - input));
          store(gates_of(r) + width + i, by_cell * load(before + i) * forget * (1.0f - forget));
          store(gates_of(r) + 2 * width + i, by_cell * input * (1.0f - made * made));
          store(gates_of(r) + 3 * width + i, slope * bent * output * (1.0f - output));
          store(cell_of(r) + i, by_cell * forget);
        }
        leave(gates_of(r), at + r, 4, of.by_projected);
      }
      product_single(matrix, gates.get(), 4 * width, rows(), hidden.get(), width, false);
    }
    for (int r = 0; r < rows(); r++) leave(hidden_of(r), from + r, 1, of.by_hidden), leave(cell_of(r), from + r, 1, of.by_cell);
  }
};

inline void recur(const Recurrence& of, bool back) {
  Part parts[4];
  for (int p = 0; p < 4; p++) parts[p] = {of.weight + (size_t)p * of.size * of.size, nullptr, of.size};
  const int gates = 4 * rounded_up(of.size, PANEL);
  Matrix matrix = back ? laid_out(of.size, gates, true, false) : laid_out(gates, of.size, true, false);
  pack(matrix, parts, 4, back);
  in_shares(of.rows, of.threads, 1, [&](int from, int to) {
    const Recurring rows(of, matrix, from, to);
    back ? rows.backwards() : rows.forwards();
  });
}

}  // namespace avf

extern "C" {

// The states after each step.
void avf_recur(const avf::Recurrence* of) { avf::recur(*of, false); }

// From the slopes of the states to those of what was heard, and of the state before.
void avf_recur_back(const avf::Recurrence* of) { avf::recur(*of, true); }
}
