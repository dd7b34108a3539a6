// The interface of functions of elements by themselves to Python, in C: for what torch computes but for them.
#pragma once
#include <algorithm>
#include <memory>

#include "frames.hpp"
#include "intervals.hpp"
#include "noise.hpp"
#include "signs.hpp"
#include "tones.hpp"

using namespace avf;

extern "C" {

// log P of the interval of this width around each x, and where they are asked for its slopes by mean and log-variance.
void avf_log_probability(const float* x, const float* mean, const float* log_variance, int64_t count, float width,
                         float* value, float* by_mean, float* by_log_variance) {
  for (int64_t i = 0; i < count; i += LANES) {
    const size_t bytes = sizeof(float) * (size_t)std::min<int64_t>(LANES, count - i);
    Lanes seen = {}, middle = {}, logarithm = {};
    std::memcpy(&seen, x + i, bytes), std::memcpy(&middle, mean + i, bytes);
    std::memcpy(&logarithm, log_variance + i, bytes);
    const Lanes precision = exponential(-0.5f * logarithm), u = (seen - middle) * precision;
    const Interval found = interval(magnitude(u), 0.5f * width * precision);
    std::memcpy(value + i, &found.value, bytes);
    if (!by_mean) continue;
    const Lanes first = with_sign(found.outward, u) * precision;
    const Lanes second = 0.5f * (magnitude(u) * found.outward - found.by_width);
    std::memcpy(by_mean + i, &first, bytes), std::memcpy(by_log_variance + i, &second, bytes);
  }
}

// Standard normal numbers of some streams of each row, (streams, rows, size).
void avf_standard_normal(const int64_t* seed, const int64_t* step, const int64_t* streams, int count, int rows, int size,
                         float* out) {
  for (int stream = 0; stream < count; stream++)
    for (int row = 0; row < rows; row++, out += size) standard_normal(seed[row], step[row], streams[stream], size, out);
}

// Coefficients of linear prediction of rows of numbers: by a spectrum, or by reflections.
void avf_filters(const float* numbers, int rows, int count, int order, int spectral, float* coefficients) {
  if (spectral) {
    for (int row = 0; row < rows; row += WORDS)
      filters_of_spectra(table_of<Circle>(count), numbers + (size_t)row * count, std::min(WORDS, rows - row), order, coefficients + (size_t)row * order);
    return;
  }
  const std::unique_ptr<Filter> filter = std::make_unique<Filter>();
  filter->numbers = count, filter->order = order, filter->spectral = false;
  for (int row = 0; row < rows; row++, numbers += count) {
    filter->make(numbers);
    for (int k = 0; k < order; k++) *coefficients++ = (float)filter->coefficients[k];
  }
}

// Weighted means of rows of some components, and where variances are given, those of the mixtures.
void avf_mixed(const float* means, const float* variances, const double* weights, int rows, int components, int size,
               float* mean, float* variance) {
  std::vector<double> middle(size), spread(size);
  for (int row = 0; row < rows; row++, weights += components, means += (size_t)components * size) {
    std::fill(middle.begin(), middle.end(), 0.0), std::fill(spread.begin(), spread.end(), 0.0);
    for (int k = 0; k < components; k++)
      for (int i = 0; i < size; i++) middle[i] += weights[k] * means[(size_t)k * size + i];
    for (int i = 0; i < size; i++) *mean++ = (float)middle[i];
    if (!variances) continue;
    for (int k = 0; k < components; k++)
      for (int i = 0; i < size; i++) {
        const double apart = means[(size_t)k * size + i] - middle[i];
        spread[i] += weights[k] * (variances[(size_t)k * size + i] + apart * apart);
      }
    for (int i = 0; i < size; i++) *variance++ = (float)spread[i];
    variances += (size_t)components * size;
  }
}

// Means and deviations of frames, given what was observed before them and the log-scales of their parts.
void avf_unrolled(const float* coefficients, const float* before, const float* gains, int rows, int order, int frame,
                  int parts, float center, float scale, float noise, float* mean, float* deviation) {
  Unrolled unrolled(order, frame, parts, center, scale, noise);
  for (int from = 0; from < rows; from += LANES) {
    const size_t filters = (size_t)from * order, samples = (size_t)from * frame;
    unrolled.make(coefficients + filters, before + filters, gains + (size_t)from * parts, std::min(LANES, rows - from), mean + samples, deviation + samples);
  }
}

// Rows of what is kept of a tone, after spectra of so many bins that have enough beside them, and its log-odds.
void avf_tones(const double* kept, const double* spectra, int rows, int cells, double* after, double* odds) {
  Tones tones(cells);
  for (int row = 0; row < rows; row++, kept += 4 * cells, after += 4 * cells, spectra += cells + 2 * tone::FAR)
    odds[row] = tones.follow(kept, spectra, after);
}

// What tells strange frames from usual ones, rows of lags, two more numbers, and the bins of a spectrum.
void avf_signs(const Listening* of, const Sounds* sounds, int rows, float* out) {
  static thread_local std::unique_ptr<Signs> signs;  // its room is more than a single row's work
  if (!signs || !signs->are(*of)) signs = std::make_unique<Signs>(*of);
  for (int from = 0; from < rows; from += WORDS) signs->make(*sounds, from, std::min(WORDS, rows - from), out);
}
}
