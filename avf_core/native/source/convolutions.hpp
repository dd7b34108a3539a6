// Convolutions as products: each position reads a few runs of adjacent numbers, of pictures whose pixels have their
// channels side by side and, where they are read beyond their edges, a border of zeros.
//
// The law: a position's sums are made in one order, whatever tile it falls into.
#pragma once
#include <vector>

#include "lanes.hpp"

namespace avf::pictures {

constexpr int PANEL = LANES == 16 ? 4 : 2;  // vectors of outputs that a tile makes
constexpr int TALL = LANES == 16 ? 6 : 4;   // positions that a tile of a whole panel makes

inline Lanes load_at(const float* at) { return load_anywhere(at); }
inline void store_at(float* at, Lanes value) { std::memcpy(at, &value, sizeof value); }

// A matrix of runs x length inputs, in panels of vectors of outputs.
struct Taps {
  int runs = 0, length = 0, vectors = 0;
  std::vector<Lanes> weight, bias;

  // `at(run, k, output)` is the matrix.
  template <class At>
  void pack(int runs_, int length_, int outputs, const float* added, At at) {
    runs = runs_, length = length_, vectors = (outputs + LANES - 1) / LANES;
    weight.assign((size_t)runs * length * vectors, Lanes{}), bias.assign(vectors, Lanes{});
    Lanes* into = weight.data();
    for (int panel = 0; panel < vectors; panel += width_at(panel))
      for (int run = 0; run < runs; run++)
        for (int k = 0; k < length; k++)
          for (int v = panel; v < panel + width_at(panel); v++, into++)
            for (int lane = 0; lane < LANES && v * LANES + lane < outputs; lane++)
              (*into)[lane] = at(run, k, v * LANES + lane);
    for (int o = 0; added && o < outputs; o++) bias[o / LANES][o % LANES] = added[o];
  }

  int width_at(int panel) const {
    const int left = vectors - panel;
    return left >= PANEL ? PANEL : left >= 2 ? 2 : 1;
  }
};

// Some positions, `apart` numbers from each other, by some vectors of outputs.
template <int P, int V>
inline void tile(const float* from, int apart, int between, const Taps& taps, const Lanes* weight, const Lanes* bias,
                 float* to, int to_apart) {
  Lanes sums[P][V];
  for (int p = 0; p < P; p++)
    for (int v = 0; v < V; v++) sums[p][v] = bias[v];
  for (int run = 0; run < taps.runs; run++, from += between)
    for (int k = 0; k < taps.length; k++, weight += V)
      for (int p = 0; p < P; p++) {
        const Lanes read = all(from[p * apart + k]);
        for (int v = 0; v < V; v++) sums[p][v] += read * weight[v];
      }
  for (int p = 0; p < P; p++)
    for (int v = 0; v < V; v++) store_at(to + p * to_apart + v * LANES, sums[p][v]);
}

template <int V>
inline void tiles(int count, const float* from, int apart, int between, const Taps& taps, const Lanes* weight,
                  const Lanes* bias, float* to, int to_apart) {
  constexpr int most = V == PANEL ? TALL : 8;
  for (; count >= most; count -= most, from += most * apart, to += most * to_apart)
    tile<most, V>(from, apart, between, taps, weight, bias, to, to_apart);
  for (; count >= 4; count -= 4, from += 4 * apart, to += 4 * to_apart)
    tile<4, V>(from, apart, between, taps, weight, bias, to, to_apart);
  for (; count >= 1; count -= 1, from += apart, to += to_apart)
    tile<1, V>(from, apart, between, taps, weight, bias, to, to_apart);
}

// Lines of positions; `between` are the runs of a position.
inline void convolve(const Taps& taps, int lines, int count, const float* from, int from_line, int apart, int between,
                     float* to, int to_line, int to_apart) {
  const Lanes* weight = taps.weight.data();
  for (int panel = 0; panel < taps.vectors;) {
    const int width = taps.width_at(panel);
    for (int line = 0; line < lines; line++) {
      const float* read = from + (size_t)line * from_line;
      float* into = to + (size_t)line * to_line + panel * LANES;
      const Lanes* bias = taps.bias.data() + panel;
      if (width == PANEL) tiles<PANEL>(count, read, apart, between, taps, weight, bias, into, to_apart);
      else if (width == 2) tiles<2>(count, read, apart, between, taps, weight, bias, into, to_apart);
      else tiles<1>(count, read, apart, between, taps, weight, bias, into, to_apart);
    }
    weight += (size_t)taps.runs * taps.length * width, panel += width;
  }
}

// A 4 x 4 convolution of stride 2, of a picture with a border: 4 runs of 4 pixels a position.
inline void halve(const Taps& taps, int side, int channels, const float* bordered, float* to, int outputs) {
  const int line = (2 * side + 2) * channels;
  convolve(taps, side, side, bordered, 2 * line, 2 * channels, line, to, side * outputs, outputs);
}

}  // namespace avf::pictures
