// Weights as products read them. In training they are packed anew after every step of their optimiser.
//
// A matrix may be of several parts, one below the other, each padded to whole panels: those of layers that read the
// same, or of heads that say several things. Its transpose leads back from slopes of outputs to those of inputs.
#pragma once
#include "half.hpp"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace avf {

// Successive outputs of a matrix: the rows of a layer, or some of them; no bias where that is null.
struct Part {
  const float *weight, *bias;
  int32_t rows;
};

#if defined(__AVX512F__)
inline __mmask16 first_of(int count) { return (__mmask16)(count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1); }

// 16 vectors of 16 numbers of 32 bits: rows become columns.
inline void turn(__m512i v[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int c = 0; c < 4; c++)
    for (int g = 0; g < 16; g += 8) {
      t[g + c] = _mm512_shuffle_i32x4(v[g + c], v[g + 4 + c], 0x88);
      t[g + 4 + c] = _mm512_shuffle_i32x4(v[g + c], v[g + 4 + c], 0xdd);
    }
  for (int c = 0; c < 8; c++) {
    v[c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0x88);
    v[8 + c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0xdd);
  }
}
#endif

// Up to 16 rows of `inputs` numbers, null for rows of zeros, as half the columns of a panel.
inline void pack_columns(const float* const rows[16], int inputs, float* panel) {
#if defined(__AVX512F__)
  for (int k = 0; k < inputs; k += 16) {
    const int depth = inputs - k < 16 ? inputs - k : 16;
    __m512i v[16];
    for (int r = 0; r < 16; r++) v[r] = rows[r] ? _mm512_maskz_loadu_epi32(first_of(depth), rows[r] + k) : _mm512_setzero_si512();
    turn(v);
    for (int j = 0; j < depth; j++) _mm512_store_si512(panel + (size_t)(k + j) * PANEL, v[j]);
  }
#else
  for (int r = 0; r < 16; r++)
    for (int k = 0; k < inputs; k++) panel[(size_t)k * PANEL + r] = rows[r] ? rows[r][k] : 0.0f;
#endif
}

// The same in bfloat16: pairs of successive k.
inline void pack_columns(const float* const rows[16], int inputs, uint16_t* panel) {
#if defined(AVF_HALF)
  for (int k = 0; k < inputs; k += 32) {
    const __mmask16 low = first_of(inputs - k), high = first_of(inputs - k - 16);
    __m512i v[16];
    for (int r = 0; r < 16; r++)
      v[r] = rows[r] ? (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, rows[r] + k + 16), _mm512_maskz_loadu_ps(low, rows[r] + k))
                     : _mm512_setzero_si512();
    turn(v);
    for (int j = 0; j < 16; j++) _mm512_store_si512(panel + (size_t)(k / 2 + j) * 2 * PANEL, v[j]);
  }
#else
  for (int r = 0; r < 16; r++)
    for (int k = 0; k < inputs; k++) panel[((size_t)(k / 2) * PANEL + r) * 2 + k % 2] = rows[r] ? rounded_to_bfloat16(rows[r][k]) : 0;
#endif
}

// Two rows side by side in bfloat16, as 32 bits a column: of the first the lower half, of the second, if any, the upper.
inline void paired(const float* first, const float* second, int columns, uint32_t* out) {
#if defined(AVF_HALF)
  for (int i = 0; i < columns; i += 16) {
    const __mmask16 some = first_of(columns - i);
    auto half = [&](const float* row) {
      return row ? _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, row + i))) : _mm512_setzero_si512();
    };
    _mm512_mask_storeu_epi32(out + i, some, _mm512_or_si512(half(first), _mm512_slli_epi32(half(second), 16)));
  }
#else
  for (int i = 0; i < columns; i++)
    out[i] = (first ? rounded_to_bfloat16(first[i]) : 0) | (uint32_t)(second ? rounded_to_bfloat16(second[i]) : 0) << 16;
#endif
}

// Up to a panel of a part's rows, from `from` on, into a matrix where the part begins at output `column`.
inline void pack_panel(Matrix& m, const Part& part, int from, int column) {
  const size_t panel = (column + from) / PANEL;
  for (int i = 0; i < PANEL; i++) m.bias[panel * PANEL + i] = part.bias && from + i < part.rows ? part.bias[from + i] : 0.0f;
  for (int side = 0; side < PANEL; side += 16) {
    const float* rows[16];
    for (int r = 0; r < 16; r++) rows[r] = from + side + r < part.rows ? part.weight + (size_t)(from + side + r) * m.inputs : nullptr;
    if (m.single) pack_columns(rows, m.inputs, m.single.get() + panel * m.inputs * PANEL + side);
    if (m.half) pack_columns(rows, m.inputs, m.half.get() + panel * m.panel_size() + 2 * side);
  }
}

// The same into the transpose, which has no bias: rows of `m.outputs` numbers each.
inline void pack_panel_turned(Matrix& m, const Part& part, int from, int column) {
  const int rows = part.rows - from < PANEL ? part.rows - from : PANEL;
  for (int panel = 0; panel < m.panels(); panel++) {
    const int k = panel * PANEL, columns = m.outputs - k < PANEL ? m.outputs - k : PANEL;
    for (int n = 0; n < rows; n += 2) {
      const float* first = part.weight + (size_t)(from + n) * m.outputs + k;
      const float* second = n + 1 < rows ? first + m.outputs : nullptr;
      if (m.half) paired(first, second, columns, (uint32_t*)(m.half.get() + panel * m.panel_size()) + (size_t)(column + from + n) / 2 * PANEL);
      if (!m.single) continue;
      float* to = m.single.get() + ((size_t)panel * m.inputs + column + from + n) * PANEL;
      std::memcpy(to, first, 4 * (size_t)columns);
      if (second) std::memcpy(to + PANEL, second, 4 * (size_t)columns);
    }
  }
}

// The parts into a matrix that was laid out for them, or for their transpose.
inline void pack(Matrix& m, const Part* parts, int count, bool turned) {
  for (int p = 0, column = 0; p < count; column += rounded_up(parts[p].rows, PANEL), p++)
    for (int from = 0; from < parts[p].rows; from += PANEL)
      (turned ? pack_panel_turned : pack_panel)(m, parts[p], from, column);
}

// A matrix of zeros, for float32, for bfloat16, or for both.
inline Matrix laid_out(int outputs, int inputs, bool single, bool half) {
  Matrix m;
  m.outputs = outputs, m.inputs = inputs;
  m.bias = zeros<float>(m.panels() * PANEL);
  if (single) m.single = zeros<float>((size_t)m.panels() * PANEL * inputs);
  if (half) m.half = zeros<uint16_t>(m.panels() * m.panel_size());
  return m;
}

inline Matrix packed(const float* weight, const float* bias, int outputs, int inputs, bool single, bool half) {
  Matrix m = laid_out(outputs, inputs, single, half);
  const Part part = {weight, bias, outputs};
  pack(m, &part, 1, false);
  return m;
}

}  // namespace avf
