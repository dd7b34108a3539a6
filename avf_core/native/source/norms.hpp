// Group norm and leaky ReLU of one row's pictures, and their slope.
#pragma once
#include <vector>

#include "convolutions.hpp"

namespace avf::pictures {

constexpr float BEND = 0.2f;  // of leaky ReLU below zero

// By groups of channels, over the pixels of a row.
struct Norm {
  int channels = 0, groups = 1;
  float epsilon = 1e-5f;
  std::vector<float> weight, bias;
};

// What a norm did: y = x * scale + shift, by channels, and 1 / deviation and mean.
struct Normed {
  std::vector<float> scale, shift, mean, inverse;
};

inline void measure(const Norm& norm, const float* x, int pixels, Normed& out) {
  const int channels = norm.channels, each = channels / norm.groups;
  std::vector<float>&scale = out.scale, &shift = out.shift, &mean = out.mean, &inverse = out.inverse;
  for (std::vector<float>* of : {&scale, &shift, &mean, &inverse}) of->assign(channels, 0.0f);
  const auto by_group = [&](std::vector<float>& sums) {
    for (int group = 0; group < norm.groups; group++) {
      float sum = 0.0f;
      for (int c = group * each; c < (group + 1) * each; c++) sum += sums[c];
      for (int c = group * each; c < (group + 1) * each; c++) sums[c] = sum / (float)(each * pixels);
    }
  };
  for (int c = 0; c < channels; c += LANES) {
    Lanes sum = {};
    for (int p = 0; p < pixels; p++) sum += load_at(x + p * channels + c);
    store_at(mean.data() + c, sum);
  }
  by_group(mean);
  for (int c = 0; c < channels; c += LANES) {
    Lanes sum = {}, middle = load_at(mean.data() + c);
    for (int p = 0; p < pixels; p++) {
      const Lanes apart = load_at(x + p * channels + c) - middle;
      sum += apart * apart;
    }
    store_at(inverse.data() + c, sum);
  }
  by_group(inverse);
  for (int c = 0; c < channels; c++) {
    inverse[c] = 1.0f / std::sqrt(inverse[c] + norm.epsilon);
    scale[c] = norm.weight[c] * inverse[c], shift[c] = norm.bias[c] - mean[c] * scale[c];
  }
}

// From lines of pixels to lines that begin `line` numbers after each other.
inline void apply(const Normed& by, const float* x, int side, int channels, float* to, int line) {
  for (int c = 0; c < channels; c += LANES) {
    const Lanes scale = load_at(by.scale.data() + c), shift = load_at(by.shift.data() + c);
    for (int row = 0; row < side; row++)
      for (int column = 0; column < side; column++) {
        const Lanes y = load_at(x + (row * side + column) * channels + c) * scale + shift;
        store_at(to + row * line + column * channels + c, y > 0.0f ? y : y * BEND);
      }
  }
}

// The slope by x, from that by what `apply` made (which is overwritten), into lines as above.
inline void unapply(const Norm& norm, const Normed& by, const float* x, int side, float* slope, float* to, int line) {
  const int channels = norm.channels, each = channels / norm.groups, pixels = side * side;
  std::vector<float> sums(channels), products(channels), first(channels), second(channels), third(channels);
  for (int c = 0; c < channels; c += LANES) {
    const Lanes scale = load_at(by.scale.data() + c), shift = load_at(by.shift.data() + c);
    Lanes sum = {}, product = {};
    for (int p = 0; p < pixels; p++) {
      const Lanes read = load_at(x + p * channels + c), incoming = load_at(slope + p * channels + c);
      const Lanes passed = read * scale + shift > 0.0f ? incoming : incoming * BEND;
      store_at(slope + p * channels + c, passed);
      sum += passed, product += passed * read;
    }
    store_at(sums.data() + c, sum), store_at(products.data() + c, product);
  }
  for (int group = 0; group < norm.groups; group++) {
    float along = 0.0f, across = 0.0f;
    for (int c = group * each; c < (group + 1) * each; c++) {
      along += norm.weight[c] * sums[c];
      across += norm.weight[c] * by.inverse[c] * (products[c] - by.mean[c] * sums[c]);
    }
    const float share = 1.0f / (float)(each * pixels);
    for (int c = group * each; c < (group + 1) * each; c++) {
      const float inverse = by.inverse[c];
      first[c] = norm.weight[c] * inverse, second[c] = -inverse * inverse * across * share;
      third[c] = -inverse * along * share - by.mean[c] * second[c];
    }
  }
  for (int c = 0; c < channels; c += LANES) {
    const Lanes a = load_at(first.data() + c), b = load_at(second.data() + c), d = load_at(third.data() + c);
    for (int row = 0; row < side; row++)
      for (int column = 0; column < side; column++) {
        const int at = (row * side + column) * channels + c;
        store_at(to + row * line + column * channels + c, load_at(slope + at) * a + load_at(x + at) * b + d);
      }
  }
}

}  // namespace avf::pictures
