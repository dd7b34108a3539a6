// Pictures: encoders and decoders of 4 x 4 convolutions of stride 2 with group norm and leaky ReLU, a row at a time.
//
// What a row needs on the way stays in the core's own cache, and a row does not know its batch. A transposed convolution
// is four convolutions of 2 x 2, one for each place of a pixel among the four that a pixel becomes; of the last one,
// which makes few maps, the four are one, and each corner between pixels becomes four pixels.
#pragma once
#include <algorithm>
#include <vector>

#include "intervals.hpp"
#include "norms.hpp"

namespace avf::pictures {

constexpr int SMALLEST = 4;  // pixels a side of the coarsest picture

// A stage, from a side of pixels to another: of a decoder to the double, of an encoder to the half.
struct Stage {
  int inputs = 0, outputs = 0, side = 0;  // the side of the smaller picture
  Taps taps[4], slope;                    // of a decoder by odd and even lines and columns; [0] of an encoder
  Norm norm;
};

struct Pictures {
  int vector = 0, maps = 0;
  std::vector<Stage> stages;  // of a decoder from the coarsest on, of an encoder from the finest
  Taps dense, dense_slope;    // between the vector and the coarsest picture
  Norm dense_norm;

  int finest() const { return SMALLEST << stages.size(); }
};

// A transposed convolution's weight [inputs][outputs][4][4].
inline void pack_doubling(Stage& stage, const float* weight, const float* bias, bool last) {
  const int inputs = stage.inputs, outputs = stage.outputs;
  const auto tap = [=](int c, int o, int row, int column) { return weight[((c * outputs + o) * 4 + row) * 4 + column]; };
  if (last) {
    std::vector<float> four(4 * outputs);
    for (int i = 0; i < 4 * outputs; i++) four[i] = bias[i % outputs];
    stage.taps[0].pack(2, 2 * inputs, 4 * outputs, four.data(), [=](int u, int k, int output) {
      const int a = output / outputs / 2, b = output / outputs % 2, v = k / inputs;
      return tap(k % inputs, output % outputs, 2 + a - 2 * u, 2 + b - 2 * v);
    });
  } else {
    for (int phase = 0; phase < 4; phase++)
      stage.taps[phase].pack(2, 2 * inputs, outputs, bias, [=](int u, int k, int output) {
        return tap(k % inputs, output, 2 + phase / 2 - 2 * u, 2 + phase % 2 - 2 * (k / inputs));
      });
  }
  stage.slope.pack(4, 4 * outputs, inputs, nullptr,
                   [=](int row, int k, int c) { return tap(c, k % outputs, row, k / outputs); });
}

// What a row needs on the way.
struct Sketch {
  std::vector<std::vector<float>> made, bordered, slopes;  // by stages, the coarsest picture first
  std::vector<Normed> normed;
  std::vector<float> corners, maps, incoming;

  explicit Sketch(const Pictures& of) {
    const size_t count = of.stages.size();
    made.resize(count + 1), bordered.resize(count + 1), slopes.resize(count + 1), normed.resize(count + 1);
    size_t largest = 0;
    for (size_t i = 0; i <= count; i++) {
      const int side = SMALLEST << i, channels = i ? of.stages[i - 1].outputs : of.stages[0].inputs;
      const size_t pixels = (size_t)side * side, around = (size_t)(side + 2) * (side + 2);
      made[i].assign(pixels * channels + LANES, 0.0f), bordered[i].assign(around * channels + LANES, 0.0f);
      slopes[i].assign(around * channels + LANES, 0.0f), largest = std::max(largest, pixels * channels);
    }
    const int side = of.finest() / 2 + 1;
    corners.resize((size_t)side * side * LANES), maps.resize((size_t)of.finest() * of.finest() * of.maps + LANES);
    incoming.resize(largest + LANES);
  }
};

inline float* inside(std::vector<float>& bordered, int side, int channels) {
  return bordered.data() + (side + 2 + 1) * channels;
}

// The maps of a vector, each by itself.
inline void decode(const Pictures& of, const float* vector, Sketch& sketch, float* maps) {
  const int first = of.stages[0].inputs;
  convolve(of.dense, 1, 1, vector, 0, 0, 0, sketch.made[0].data(), 0, 0);
  measure(of.dense_norm, sketch.made[0].data(), SMALLEST * SMALLEST, sketch.normed[0]);
  apply(sketch.normed[0], sketch.made[0].data(), SMALLEST, first, inside(sketch.bordered[0], SMALLEST, first),
        (SMALLEST + 2) * first);
  for (size_t i = 0; i + 1 < of.stages.size(); i++) {
    const Stage& stage = of.stages[i];
    const int side = stage.side, line = (side + 2) * stage.inputs, wide = 2 * side, outputs = stage.outputs;
    float* made = sketch.made[i + 1].data();
    for (int phase = 0; phase < 4; phase++) {
      const int a = phase / 2, b = phase % 2;  // 0 for odd lines and columns, 1 for even ones
      const float* from = sketch.bordered[i].data() + (1 - a) * line + (1 - b) * stage.inputs;
      convolve(stage.taps[phase], side, side, from, line, stage.inputs, line,
               made + ((1 - a) * wide + (1 - b)) * outputs, 2 * wide * outputs, 2 * outputs);
    }
    measure(stage.norm, made, wide * wide, sketch.normed[i + 1]);
    apply(sketch.normed[i + 1], made, wide, outputs, inside(sketch.bordered[i + 1], wide, outputs), (wide + 2) * outputs);
  }
  const Stage& stage = of.stages.back();
  const int side = stage.side, line = (side + 2) * stage.inputs, wide = 2 * side, plane = wide * wide;
  convolve(stage.taps[0], side + 1, side + 1, sketch.bordered[of.stages.size() - 1].data(), line, stage.inputs, line,
           sketch.corners.data(), (side + 1) * LANES, LANES);
  for (int p = 0; p <= side; p++)
    for (int q = 0; q <= side; q++)
      for (int four = 0; four < 4; four++) {
        const int row = 2 * p - 1 + four / 2, column = 2 * q - 1 + four % 2;
        if (row < 0 || column < 0 || row >= wide || column >= wide) continue;
        for (int o = 0; o < of.maps; o++)
          maps[o * plane + row * wide + column] = sketch.corners[(p * (side + 1) + q) * LANES + four * of.maps + o];
      }
}

// From the slope by the maps, in `sketch.slopes`' last with a border, to that by the vector.
inline void undecode(const Pictures& of, Sketch& sketch, float* by_vector) {
  for (size_t i = of.stages.size(); i-- > 0;) {
    const Stage& stage = of.stages[i];
    halve(stage.slope, stage.side, stage.outputs, sketch.slopes[i + 1].data(), sketch.incoming.data(), stage.inputs);
    const Norm& norm = i ? of.stages[i - 1].norm : of.dense_norm;
    const int line = (stage.side + (i ? 2 : 0)) * stage.inputs;
    float* to = i ? inside(sketch.slopes[i], stage.side, stage.inputs) : sketch.slopes[0].data();
    unapply(norm, sketch.normed[i], sketch.made[i].data(), stage.side, sketch.incoming.data(), to, line);
  }
  std::vector<float> out(of.dense_slope.vectors * LANES);
  convolve(of.dense_slope, 1, 1, sketch.slopes[0].data(), 0, 0, 0, out.data(), 0, 0);
  std::copy_n(out.data(), of.vector, by_vector);
}

// The likelihood of a picture's pixels; `observed` is null where all are.
struct Pixels {
  float bin, center, scale, low, high;  // no bin where it is a density; what log-variances are clamped to
};

// -log p(x) of a row, and the slope by its two maps, side by side with a border.
inline float pixels_energy(const Pixels& by, const float* maps, const float* x, const unsigned char* observed, int side,
                           float* slope) {
  const int plane = side * side;
  const float shift = 2.0f * std::log(by.scale);
  Lanes energy = {};
  float by_mean[LANES], by_log_variance[LANES];
  for (int i = 0; i < plane; i += LANES) {
    const Lanes mean = sigmoid(load_at(maps + i)), free = load_at(maps + plane + i);
    const Lanes logarithm = clamped(free, by.low, by.high) + shift, precision = exponential(-0.5f * logarithm);
    const Lanes u = (load_at(x + i) - (mean * by.scale + by.center)) * precision;
    Lanes value, outward, by_width;
    if (by.bin > 0.0f) {
      const Interval found = interval(magnitude(u), 0.5f * by.bin * precision);
      value = found.value, outward = with_sign(found.outward, u), by_width = found.by_width;
    } else {
      value = -0.5f * (u * u + logarithm) - (float)HALF_LOG_2PI, outward = u, by_width = all(1.0f);
    }
    Lanes first = outward * precision * (-by.scale) * mean * (1.0f - mean);
    Lanes second = 0.5f * (by_width - u * outward);
    second = free > by.low ? (free < by.high ? second : Lanes{}) : Lanes{};
    if (observed)
      for (int lane = 0; lane < LANES; lane++)
        if (!observed[i + lane]) value[lane] = first[lane] = second[lane] = 0.0f;
    energy += value;
    store_at(by_mean, first), store_at(by_log_variance, second);
    for (int lane = 0; lane < LANES; lane++) {
      const int row = (i + lane) / side, column = (i + lane) % side;
      float* at = slope + ((row + 1) * (side + 2) + column + 1) * 2;
      at[0] = by_mean[lane], at[1] = by_log_variance[lane];
    }
  }
  return -total(energy);
}

// The vector of a picture of one channel.
inline void encode(const Pictures& of, const float* frame, std::vector<std::vector<float>>& bordered, float* made,
                   Normed& normed, float* vector) {
  int side = of.finest(), channels = 1;
  float* into = inside(bordered[0], side, 1);
  for (int row = 0; row < side; row++) std::copy_n(frame + row * side, side, into + row * (side + 2));
  for (size_t i = 0; i < of.stages.size(); i++) {
    const Stage& stage = of.stages[i];
    halve(stage.taps[0], stage.side, channels, bordered[i].data(), made, stage.outputs);
    side = stage.side, channels = stage.outputs;
    measure(stage.norm, made, side * side, normed);
    apply(normed, made, side, channels, inside(bordered[i + 1], side, channels), (side + 2) * channels);
  }
  std::vector<float> out(of.dense.vectors * LANES);
  convolve(of.dense, 1, 1, inside(bordered[of.stages.size()], side, channels), 0, 0, (side + 2) * channels, out.data(), 0, 0);
  for (int i = 0; i < of.vector; i += LANES) store_at(out.data() + i, hyperbolic_tangent(load_at(out.data() + i)));
  std::copy_n(out.data(), of.vector, vector);
}

}  // namespace avf::pictures
