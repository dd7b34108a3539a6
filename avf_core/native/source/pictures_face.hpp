// The interface of pictures to Python, in C.
#pragma once
#include <memory>
#include <mutex>
#include <thread>

#include "pictures.hpp"

using namespace avf;
using namespace avf::pictures;

namespace {

// `work(from, to)` for all rows, by as many threads.
template <class Work>
void shared_out(int rows, int threads, Work work) {
  threads = std::max(1, std::min(threads, rows));
  const int share = (rows + threads - 1) / threads;
  std::vector<std::thread> others;
  for (int from = share; from < rows; from += share) others.emplace_back(work, from, std::min(rows, from + share));
  work(0, std::min(rows, share));
  for (std::thread& other : others) other.join();
}

struct Decoder {
  Pictures of;
  std::mutex lock;
  std::vector<std::unique_ptr<Sketch>> idle;

  std::unique_ptr<Sketch> take() {
    std::lock_guard<std::mutex> held(lock);
    if (idle.empty()) return std::make_unique<Sketch>(of);
    std::unique_ptr<Sketch> found = std::move(idle.back());
    idle.pop_back();
    return found;
  }

  void give(std::unique_ptr<Sketch> sketch) {
    std::lock_guard<std::mutex> held(lock);
    idle.push_back(std::move(sketch));
  }
};

Norm normed(int channels, int groups, float epsilon, const float* weight, const float* bias) {
  return {channels, groups, epsilon, {weight, weight + channels}, {bias, bias + channels}};
}

}  // namespace

extern "C" {

// `widths` are the channels of the pictures from the coarsest on, the maps last; `weights` those of each layer in turn:
// weight, bias, and the norm's two, which the last has not. `groups` are those of the norms.
void* avf_decoder_new(int vector, int stages, const int* widths, const int* groups, float epsilon,
                      const float* const* weights) {
  Decoder* made = new Decoder;
  Pictures& of = made->of;
  of.vector = vector, of.maps = widths[stages];
  const int first = widths[0];
  const float *weight = weights[0], *bias = weights[1];
  std::vector<float> everywhere((size_t)SMALLEST * SMALLEST * first);
  for (size_t i = 0; i < everywhere.size(); i++) everywhere[i] = bias[i % first];
  const auto tap = [=](int place, int input) {
    return weight[(input * first + place % first) * SMALLEST * SMALLEST + place / first];
  };
  of.dense.pack(1, vector, (int)everywhere.size(), everywhere.data(), [=](int, int k, int o) { return tap(o, k); });
  of.dense_slope.pack(1, (int)everywhere.size(), vector, nullptr, [=](int, int k, int o) { return tap(k, o); });
  of.dense_norm = normed(first, groups[0], epsilon, weights[2], weights[3]);
  weights += 4;
  of.stages.resize(stages);
  for (int i = 0; i < stages; i++, weights += 4) {
    Stage& stage = of.stages[i];
    stage.inputs = widths[i], stage.outputs = widths[i + 1], stage.side = SMALLEST << i;
    pack_doubling(stage, weights[0], weights[1], i + 1 == stages);
    if (i + 1 < stages) stage.norm = normed(stage.outputs, groups[i + 1], epsilon, weights[2], weights[3]);
  }
  return made;
}

void avf_decoder_free(void* decoder) { delete static_cast<Decoder*>(decoder); }

void avf_decoder_decode(void* decoder, const float* vectors, int rows, float* maps, int threads) {
  Decoder& of = *static_cast<Decoder*>(decoder);
  const int size = of.of.finest() * of.of.finest() * of.of.maps;
  shared_out(rows, threads, [&](int from, int to) {
    std::unique_ptr<Sketch> sketch = of.take();
    for (int row = from; row < to; row++) decode(of.of, vectors + row * of.of.vector, *sketch, maps + (size_t)row * size);
    of.give(std::move(sketch));
  });
}

// Row i is of the observation i modulo `batch`.
void avf_decoder_slope(void* decoder, const Pixels* pixels, const float* vectors, const float* x,
                       const unsigned char* observed, int rows, int batch, float* energy, float* by_vectors,
                       int threads) {
  Decoder& of = *static_cast<Decoder*>(decoder);
  const int side = of.of.finest(), plane = side * side;
  shared_out(rows, threads, [&](int from, int to) {
    std::unique_ptr<Sketch> sketch = of.take();
    for (int row = from; row < to; row++) {
      const size_t at = (size_t)(row % batch) * plane;
      decode(of.of, vectors + row * of.of.vector, *sketch, sketch->maps.data());
      energy[row] = pixels_energy(*pixels, sketch->maps.data(), x + at, observed ? observed + at : nullptr, side,
                                  sketch->slopes.back().data());
      undecode(of.of, *sketch, by_vectors + row * of.of.vector);
    }
    of.give(std::move(sketch));
  });
}

// `widths` are the channels of the pictures from the finest on, of which the frame has one.
void* avf_encoder_new(int vector, int stages, const int* widths, const int* groups, float epsilon,
                      const float* const* weights) {
  Pictures* made = new Pictures;
  made->vector = vector;
  made->stages.resize(stages);
  for (int i = 0; i < stages; i++, weights += 4) {
    Stage& stage = made->stages[i];
    const int inputs = i ? widths[i - 1] : 1, outputs = widths[i];
    const float* weight = weights[0];
    stage.inputs = inputs, stage.outputs = outputs, stage.side = SMALLEST << (stages - 1 - i);
    stage.taps[0].pack(4, 4 * inputs, outputs, weights[1], [=](int row, int k, int o) {
      return weight[((o * inputs + k % inputs) * 4 + row) * 4 + k / inputs];
    });
    stage.norm = normed(outputs, groups[i], epsilon, weights[2], weights[3]);
  }
  const int channels = widths[stages - 1];
  const float* weight = weights[0];
  made->dense.pack(SMALLEST, SMALLEST * channels, vector, weights[1], [=](int row, int k, int o) {
    return weight[((o * channels + k % channels) * SMALLEST + row) * SMALLEST + k / channels];
  });
  return made;
}

void avf_encoder_free(void* encoder) { delete static_cast<Pictures*>(encoder); }

void avf_encoder_encode(void* encoder, const float* frames, int rows, float* vectors, int threads) {
  const Pictures& of = *static_cast<Pictures*>(encoder);
  const int side = of.finest();
  shared_out(rows, threads, [&](int from, int to) {
    std::vector<std::vector<float>> bordered;
    size_t largest = 0;
    for (size_t i = 0; i <= of.stages.size(); i++) {
      const size_t line = (side >> i) + 2, channels = i ? of.stages[i - 1].outputs : 1;
      bordered.emplace_back(line * line * channels + LANES, 0.0f);
      largest = std::max(largest, line * line * channels);
    }
    std::vector<float> made(largest + LANES);
    Normed norm;
    for (int row = from; row < to; row++)
      encode(of, frames + (size_t)row * side * side, bordered, made.data(), norm, vectors + row * of.vector);
  });
}
}
