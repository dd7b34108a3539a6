// Products in bfloat16 with sums in float32, by AVX-512's pairs; those by AMX are in tiles.hpp.
//
// The law is that of products in float32: pairs of k are added one after another, in one accumulator, whatever the
// number of rows. Rows are rounded to the nearest bfloat16 first.
#pragma once
#include "product.hpp"

#if defined(__AVX512BF16__)
#define AVF_HALF
#include <immintrin.h>

namespace avf {

constexpr int HALF_ROWS = 512;  // rows that are rounded at a time

// Rows in bfloat16, padded with a zero to whole pairs.
inline void rounded_rows(const float* x, int x_stride, int rows, int inputs, uint16_t* out, int stride) {
  for (int r = 0; r < rows; r++) {
    const float* from = x + (size_t)r * x_stride;
    uint16_t* to = out + (size_t)r * stride;
    int k = 0;
    for (; k + 16 <= inputs; k += 16)
      _mm256_storeu_si256((__m256i*)(to + k), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + k)));
    const __mmask16 rest = (__mmask16)((1u << (inputs - k)) - 1);
    if (k < stride) _mm256_storeu_si256((__m256i*)(to + k), (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, from + k)));
    for (k += 16; k < stride; k += 16) _mm256_storeu_si256((__m256i*)(to + k), _mm256_setzero_si256());
  }
}

template <int ROWS, int PANELS>
inline void tile_half(const uint16_t* x, int x_stride, const uint16_t* panel, size_t panel_size, int pairs, float* y,
                      int y_stride, const float* bias, bool first) {
  constexpr int N = PANELS * 2;
  __m512 sum[ROWS][N];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N; v++) sum[r][v] = _mm512_load_ps(first ? bias + v * 16 : y + (size_t)r * y_stride + v * 16);
  for (int k = 0; k < pairs; k++) {
    __m512bh w[N];
#pragma GCC unroll 16
    for (int v = 0; v < N; v++)
      w[v] = (__m512bh)_mm512_load_si512(panel + (v / 2) * panel_size + ((size_t)k * PANEL + (v % 2) * 16) * 2);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      int32_t pair;
      std::memcpy(&pair, x + (size_t)r * x_stride + 2 * k, 4);
      const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 16
      for (int v = 0; v < N; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], both, w[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N; v++) _mm512_store_ps(y + (size_t)r * y_stride + v * 16, sum[r][v]);
}

inline void product_half(const Matrix& m, const float* x, int x_stride, int rows, float* y, int y_stride, bool adds,
                         uint16_t* halves) {
  const int stride = rounded_up(m.inputs, 32), panels = m.panels();
  const size_t size = m.panel_size();
  rounded_rows(x, x_stride, rows, m.inputs, halves, stride);
  auto run = [&](auto rows_of, auto panels_of, int row, int panel) {
    tile_half<rows_of.value, panels_of.value>(halves + (size_t)row * stride, stride, m.half.get() + panel * size, size,
                                              m.pairs(), y + (size_t)row * y_stride + panel * PANEL, y_stride,
                                              m.bias.get() + panel * PANEL, !adds);
  };
  using std::integral_constant;
  if (rows < 3) {
    int panel = 0;
    for (; panel + 4 <= panels; panel += 4)
      for (int row = 0; row < rows; row++) run(integral_constant<int, 1>(), integral_constant<int, 4>(), row, panel);
    for (; panel < panels; panel++)
      for (int row = 0; row < rows; row++) run(integral_constant<int, 1>(), integral_constant<int, 1>(), row, panel);
    return;
  }
  for (int panel = 0; panel < panels; panel++) {
    int row = 0;
    for (; row + 12 <= rows; row += 12) run(integral_constant<int, 12>(), integral_constant<int, 1>(), row, panel);
    for (; row + 8 <= rows; row += 8) run(integral_constant<int, 8>(), integral_constant<int, 1>(), row, panel);
    for (; row + 4 <= rows; row += 4) run(integral_constant<int, 4>(), integral_constant<int, 1>(), row, panel);
    for (; row < rows; row++) run(integral_constant<int, 1>(), integral_constant<int, 1>(), row, panel);
  }
}

}  // namespace avf
#endif
