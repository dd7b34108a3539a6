// Gradients of weights: S^T X, of the slopes S of what layers said and of X, what they read; a row an application.
//
// The law: an element is summed over rows from first to last, in one accumulator for each stretch of rows, whatever the
// number of threads. In bfloat16 these are pairs of rows, with sums in float32.
#pragma once
#include "packing.hpp"

namespace avf {

// A part of a layer's parameters: weight and bias, their gradients, and Adam's moments of each; and its place in S.
struct Learned {
  float *weight, *bias, *by_weight, *by_bias;
  float *weight_mean, *weight_square, *bias_mean, *bias_square;
  int32_t rows, operation, column;
};

// S and X of a stretch of rows as the kernel reads them.
struct Stretch {
  int rows = 0, inputs = 0, columns = 0;
  Memory<float> single_slopes, single_reads;  // S row after row; X in panels of columns
  Memory<uint32_t> half_slopes, half_reads;   // the same, of pairs of rows

  int depth(bool half) const { return half ? (rows + 1) / 2 : rows; }

  void lay(int most, int inputs_, int columns_, bool half) {
    inputs = inputs_, columns = columns_;
    const size_t slopes = (size_t)(half ? (most + 1) / 2 : most) * columns + 32, reads = (size_t)(half ? (most + 1) / 2 : most) * rounded_up(inputs, PANEL);
    if (half) half_slopes = zeros<uint32_t>(slopes), half_reads = zeros<uint32_t>(reads);
    else single_slopes = zeros<float>(slopes), single_reads = zeros<float>(reads);
  }

  // Rows from...to of S and X: `from` is even.
  void enter(const float* slopes, int slope_stride, const float* reads, int read_stride, int from, int to, bool half) {
    for (int r = from; r < to; r += 1 + half) {
      const float *s = slopes + (size_t)r * slope_stride, *x = reads + (size_t)r * read_stride;
      const bool second = half && r + 1 < to;
      if (half) paired(s, second ? s + slope_stride : nullptr, columns, half_slopes.get() + (size_t)(r / 2) * columns);
      else std::memcpy(single_slopes.get() + (size_t)r * columns, s, 4 * (size_t)columns);
      for (int k = 0, panel = 0; k < inputs; k += PANEL, panel++) {
        const int width = inputs - k < PANEL ? inputs - k : PANEL;
        const size_t at = (size_t)(panel * depth(half) + (half ? r / 2 : r)) * PANEL;
        if (half) paired(x + k, second ? x + read_stride + k : nullptr, width, half_reads.get() + at);
        else std::memcpy(single_reads.get() + at, x + k, 4 * (size_t)width);
      }
    }
  }
};

// TALL columns of S times a panel of X's.
inline void gradient_tile(const float* slopes, int stride, const float* panel, int depth, Lanes sum[TALL][VECTORS]) {
  Lanes inside[TALL][VECTORS] = {};
  for (int r = 0; r < depth; r++) {
    Lanes x[VECTORS];
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) x[v] = load(panel + (size_t)r * PANEL + v * LANES);
#pragma GCC unroll 16
    for (int n = 0; n < TALL; n++) {
      const Lanes slope = all(slopes[(size_t)r * stride + n]);
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) inside[n][v] += slope * x[v];
    }
  }
  for (int n = 0; n < TALL; n++)
    for (int v = 0; v < VECTORS; v++) sum[n][v] = inside[n][v];
}

inline void gradient_tile(const uint32_t* slopes, int stride, const uint32_t* panel, int depth, Lanes sum[TALL][VECTORS]) {
#if defined(AVF_HALF)
  __m512 inside[TALL][VECTORS];
#pragma GCC unroll 16
  for (int n = 0; n < TALL; n++)
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) inside[n][v] = _mm512_setzero_ps();
  for (int r = 0; r < depth; r++) {
    __m512bh x[VECTORS];
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) x[v] = (__m512bh)_mm512_load_si512(panel + (size_t)r * PANEL + v * 16);
#pragma GCC unroll 16
    for (int n = 0; n < TALL; n++) {
      const __m512bh slope = (__m512bh)_mm512_set1_epi32((int)slopes[(size_t)r * stride + n]);
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) inside[n][v] = _mm512_dpbf16_ps(inside[n][v], slope, x[v]);
    }
  }
  for (int n = 0; n < TALL; n++)
    for (int v = 0; v < VECTORS; v++) sum[n][v] = (Lanes)inside[n][v];
#endif
}

// `rows` rows of a gradient, up to TALL, of the outputs from column `column` on; added to what is there where it `adds`.
template <class Number>
inline void gradient_strip(float* gradient, int rows, int column, const Stretch& stretch, const Number* slopes,
                           const Number* reads, int depth, bool adds) {
  const int inputs = stretch.inputs;
  for (int k = 0, panel = 0; k < inputs; k += PANEL, panel++) {
    Lanes sum[TALL][VECTORS];
    gradient_tile(slopes + column, stretch.columns, reads + (size_t)panel * depth * PANEL, depth, sum);
    const int width = inputs - k < PANEL ? inputs - k : PANEL;
    for (int n = 0; n < rows; n++) {
      float* out = gradient + (size_t)n * inputs + k;
      const float* values = reinterpret_cast<const float*>(sum[n]);
      if (adds)
        for (int i = 0; i < width; i++) out[i] += values[i];
      else std::memcpy(out, values, 4 * (size_t)width);
    }
  }
}

// Any number of rows.
inline void gradient_rows(float* gradient, int rows, int column, const Stretch& stretch, bool half, bool adds) {
  const int depth = stretch.depth(half);
  for (int n = 0; n < rows; n += TALL) {
    float* out = gradient + (size_t)n * stretch.inputs;
    const int some = rows - n < TALL ? rows - n : TALL;
    if (half) gradient_strip(out, some, column + n, stretch, stretch.half_slopes.get(), stretch.half_reads.get(), depth, adds);
    else gradient_strip(out, some, column + n, stretch, stretch.single_slopes.get(), stretch.single_reads.get(), depth, adds);
  }
}

// The bias's: S, from its column on, summed over applications as it was before rounding.
inline void gradient_of_bias(float* gradient, int rows, const float* slopes, int stride, int applications, bool adds) {
  if (!adds) std::memset(gradient, 0, 4 * (size_t)rows);
  for (int r = 0; r < applications; r++)
    for (int n = 0; n < rows; n++) gradient[n] += slopes[(size_t)r * stride + n];
}

}  // namespace avf
