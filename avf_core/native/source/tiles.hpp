// Products in bfloat16 by AMX: tiles of 16 rows, 16 columns and 32 k.
//
// The law is that of half.hpp: pairs of k one after another in one accumulator, whatever the number of rows; what a
// tile holds beside a row does not touch it. Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 weights; where there is one
// tile of rows only, 4 is the rows and 5 to 7 are weights.
#pragma once
#include "packing.hpp"

#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>

namespace avf {

struct alignas(64) Shapes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Every tile 64 bytes wide and 16 rows high, but for those of rows: `first` high, and `second`.
inline void shape(int first, int second) {
  Shapes shapes;
  for (int tile = 0; tile < 8; tile++) shapes.bytes[tile] = 64, shapes.rows[tile] = 16;
  shapes.rows[0] = shapes.rows[1] = shapes.rows[4] = first;
  shapes.rows[2] = shapes.rows[3] = shapes.rows[5] = second;
  _tile_loadconfig(&shapes);
}

// For one tile of rows: four sums of two panels.
inline void shape_low(int rows) {
  Shapes shapes;
  for (int tile = 0; tile < 8; tile++) shapes.bytes[tile] = 64, shapes.rows[tile] = tile < 5 ? rows : 16;
  _tile_loadconfig(&shapes);
}

struct Tiled {
  const Matrix& m;
  const uint16_t* x;
  int x_stride;
  float* y;
  int y_stride;
  bool adds;

  int depth() const { return rounded_up(m.inputs, 32); }
  const uint16_t* weights(int panel, int half) const { return m.half.get() + (size_t)panel * m.panel_size() + half * 32; }
  const float* start(int row, int panel, int half) const {
    return adds ? sum(row, panel, half) : m.bias.get() + panel * PANEL + half * 16;
  }
  size_t start_stride() const { return adds ? 4 * (size_t)y_stride : 0; }  // the bias is the same for all rows
  float* sum(int row, int panel, int half) const { return y + (size_t)row * y_stride + panel * PANEL + half * 16; }
  const uint16_t* rows(int row, int k) const { return x + (size_t)row * x_stride + k; }

  // 17 to 32 rows times a panel.
  void high(int row, int panel) const {
    const size_t step = 2 * (size_t)x_stride, out = 4 * (size_t)y_stride, from = start_stride();
    _tile_loadd(0, start(row, panel, 0), from);
    _tile_loadd(1, start(row, panel, 1), from);
    _tile_loadd(2, start(row + 16, panel, 0), from);
    _tile_loadd(3, start(row + 16, panel, 1), from);
    for (int k = 0; k < depth(); k += 32) {
      _tile_loadd(4, rows(row, k), step);
      _tile_loadd(5, rows(row + 16, k), step);
      _tile_loadd(6, weights(panel, 0) + (size_t)k * PANEL, 4 * PANEL);
      _tile_loadd(7, weights(panel, 1) + (size_t)k * PANEL, 4 * PANEL);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sum(row, panel, 0), out);
    _tile_stored(1, sum(row, panel, 1), out);
    _tile_stored(2, sum(row + 16, panel, 0), out);
    _tile_stored(3, sum(row + 16, panel, 1), out);
  }

  // Up to 16 rows times two panels, of which the second may be the first again.
  void low(int row, int panel, int other) const {
    const size_t step = 2 * (size_t)x_stride, out = 4 * (size_t)y_stride, from = start_stride();
    _tile_loadd(0, start(row, panel, 0), from);
    _tile_loadd(1, start(row, panel, 1), from);
    _tile_loadd(2, start(row, other, 0), from);
    _tile_loadd(3, start(row, other, 1), from);
    for (int k = 0; k < depth(); k += 32) {
      _tile_loadd(4, rows(row, k), step);
      _tile_loadd(5, weights(panel, 0) + (size_t)k * PANEL, 4 * PANEL);
      _tile_dpbf16ps(0, 4, 5);
      _tile_loadd(6, weights(panel, 1) + (size_t)k * PANEL, 4 * PANEL);
      _tile_dpbf16ps(1, 4, 6);
      _tile_loadd(7, weights(other, 0) + (size_t)k * PANEL, 4 * PANEL);
      _tile_dpbf16ps(2, 4, 7);
      _tile_loadd(5, weights(other, 1) + (size_t)k * PANEL, 4 * PANEL);
      _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, sum(row, panel, 0), out);
    _tile_stored(1, sum(row, panel, 1), out);
    _tile_stored(2, sum(row, other, 0), out);
    _tile_stored(3, sum(row, other, 1), out);
  }
};

inline void product_tiled(const Matrix& m, const float* x, int x_stride, int rows, float* y, int y_stride, bool adds,
                          uint16_t* halves) {
  const int stride = rounded_up(m.inputs, 32), panels = m.panels();
  rounded_rows(x, x_stride, rows, m.inputs, halves, stride);
  const Tiled tiled = {m, halves, stride, y, y_stride, adds};
  int row = 0;
  if (rows >= 32) {
    shape(16, 16);
    for (int panel = 0; panel < panels; panel++)
      for (row = 0; row + 32 <= rows; row += 32) tiled.high(row, panel);
  }
  const int rest = rows - row;
  if (rest > 16) {
    shape(16, rest - 16);
    for (int panel = 0; panel < panels; panel++) tiled.high(row, panel);
  } else if (rest > 0) {
    shape_low(rest);
    for (int panel = 0; panel + 2 <= panels; panel += 2) tiled.low(row, panel, panel + 1);
    if (panels % 2) tiled.low(row, panels - 1, panels - 1);
  }
}

// Tiles are let go of, so that a thread's state is no larger than it was.
inline void let_go() { _tile_release(); }

// Whether the kernel lets this process use tiles, and products by them are those of pairs.
inline bool tiles_usable() {
  constexpr int REQUEST = 0x1023, TILE_DATA = 18;
  if (syscall(SYS_arch_prctl, REQUEST, TILE_DATA) != 0) return false;
  constexpr int OUTPUTS = 90, INPUTS = 70, ROWS = 60, WIDTH = 96;
  std::vector<float> weight(OUTPUTS * INPUTS), x(ROWS * INPUTS);
  for (size_t i = 0; i < weight.size(); i++) weight[i] = (float)((i * 37) % 101) / 101.0f - 0.5f;
  for (size_t i = 0; i < x.size(); i++) x[i] = (float)((i * 53) % 97) / 97.0f - 0.5f;
  const Matrix m = packed(weight.data(), weight.data(), OUTPUTS, INPUTS, false, true);
  const Memory<float> tiled = zeros<float>(ROWS * WIDTH), paired = zeros<float>(ROWS * WIDTH);
  const Memory<uint16_t> halves = zeros<uint16_t>(ROWS * WIDTH);
  for (int rows : {1, 16, 20, 32, 45, 60})
    for (bool adds : {false, true}) {
      product_tiled(m, x.data(), INPUTS, rows, tiled.get(), WIDTH, adds, halves.get());
      product_half(m, x.data(), INPUTS, rows, paired.get(), WIDTH, adds, halves.get());
      for (int i = 0; i < rows * WIDTH; i++)
        if (!(std::fabs(tiled[i] - paired[i]) < 1e-3f)) return let_go(), false;
      std::memcpy(paired.get(), tiled.get(), sizeof(float) * ROWS * WIDTH);
    }
  let_go();
  return true;
}

}  // namespace avf
#else
namespace avf {

inline void let_go() {}
inline bool tiles_usable() { return true; }

}  // namespace avf
#endif
