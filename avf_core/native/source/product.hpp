// Products of rows with packed matrices: y = x W^T + b.
//
// The law: an element of y is summed over k from first to last, in one accumulator, whatever the number of rows. So a
// row's result does not depend on the batch it is computed in, and any blocking of rows and columns gives the same
// bits. W lies in panels of 32 columns, in the order in which the kernel reads it.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "lanes.hpp"

namespace avf {

constexpr int PANEL = 32;
constexpr int VECTORS = PANEL / LANES;
constexpr int DEPTH = 512;  // of W's columns that are read before the next rows: a panel then stays in the cache

inline int rounded_up(int n, int to) { return (n + to - 1) / to * to; }

struct Freed {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using Memory = std::unique_ptr<T[], Freed>;

template <class T>
Memory<T> zeros(size_t count) {
  const size_t bytes = (count * sizeof(T) + 127) / 64 * 64;
  void* memory = std::aligned_alloc(64, bytes);
  if (!memory) std::abort();
  std::memset(memory, 0, bytes);
  return Memory<T>(static_cast<T*>(memory));
}

inline uint16_t rounded_to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A weight matrix, packed for float32, for bfloat16, or for both.
struct Matrix {
  int outputs, inputs;
  Memory<float> bias, single;
  Memory<uint16_t> half;  // in each panel pairs of successive k, to a whole tile: [k / 2][column][2]

  int panels() const { return rounded_up(outputs, PANEL) / PANEL; }
  int pairs() const { return (inputs + 1) / 2; }
  size_t panel_size() const { return (size_t)rounded_up(inputs, 32) * PANEL; }  // of `half`
};

// ROWS rows times PANELS panels, in registers. `first`: the sums begin with the bias, else with what y holds.
template <int ROWS, int PANELS>
inline void tile(const float* x, int x_stride, const float* panel, size_t panel_size, int depth, float* y, int y_stride,
                 const float* bias, bool first) {
  constexpr int N = PANELS * VECTORS;
  Lanes sum[ROWS][N];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N; v++) sum[r][v] = first ? load(bias + v * LANES) : load(y + (size_t)r * y_stride + v * LANES);
  for (int k = 0; k < depth; k++) {
    Lanes w[N];
#pragma GCC unroll 16
    for (int v = 0; v < N; v++) w[v] = load(panel + (v / VECTORS) * panel_size + (size_t)k * PANEL + (v % VECTORS) * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      const Lanes value = all(x[(size_t)r * x_stride + k]);
#pragma GCC unroll 16
      for (int v = 0; v < N; v++) sum[r][v] += value * w[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N; v++) store(y + (size_t)r * y_stride + v * LANES, sum[r][v]);
}

#if defined(__AVX512F__)
constexpr int TALL = 12;  // rows of a tile: 24 accumulators of 32 registers
#else
constexpr int TALL = 3;  // 12 of 16
#endif

// y = x W^T + b; or, where it `adds`, y + x W^T.
inline void product_single(const Matrix& m, const float* x, int x_stride, int rows, float* y, int y_stride, bool adds) {
  const int panels = m.panels();
  for (int k = 0; k < m.inputs; k += DEPTH) {
    const int depth = m.inputs - k < DEPTH ? m.inputs - k : DEPTH;
    const size_t size = (size_t)m.inputs * PANEL;
    auto at = [&](int panel) { return m.single.get() + panel * size + (size_t)k * PANEL; };
    auto run = [&](auto rows_of, auto panels_of, int row, int panel) {
      tile<rows_of.value, panels_of.value>(x + (size_t)row * x_stride + k, x_stride, at(panel), size, depth,
                                           y + (size_t)row * y_stride + panel * PANEL, y_stride,
                                           m.bias.get() + panel * PANEL, k == 0 && !adds);
    };
    using std::integral_constant;
    if (rows < 3) {  // a matrix and a vector or two: several panels at once keep the additions from waiting
      int panel = 0;
      for (; panel + 4 <= panels; panel += 4)
        for (int row = 0; row < rows; row++) run(integral_constant<int, 1>(), integral_constant<int, 4>(), row, panel);
      for (; panel < panels; panel++)
        for (int row = 0; row < rows; row++) run(integral_constant<int, 1>(), integral_constant<int, 1>(), row, panel);
      continue;
    }
    for (int panel = 0; panel < panels; panel++) {
      int row = 0;
      for (; row + TALL <= rows; row += TALL) run(integral_constant<int, TALL>(), integral_constant<int, 1>(), row, panel);
      if (TALL > 8)
        for (; row + 8 <= rows; row += 8) run(integral_constant<int, 8>(), integral_constant<int, 1>(), row, panel);
      if (TALL > 4)
        for (; row + 4 <= rows; row += 4) run(integral_constant<int, 4>(), integral_constant<int, 1>(), row, panel);
      for (; row + 2 <= rows; row += 2) run(integral_constant<int, 2>(), integral_constant<int, 1>(), row, panel);
      for (; row < rows; row++) run(integral_constant<int, 1>(), integral_constant<int, 1>(), row, panel);
    }
  }
}

}  // namespace avf
