// Frames whose samples are predicted from those before them: -log p in nats, its slope, and what is expected.
//
// The forms are those of avf_core/emissions/linear_prediction.py. All is in standardised units; a row's history is that
// of its sequence.
#pragma once
#include "filters.hpp"
#include "noises.hpp"
#include "plan.hpp"
#include "product.hpp"

namespace avf {

constexpr float LEAST_SCALE = 0.1f, MOST_SCALE = 20.0f;

// The likelihood of frames, and room for one of them.
class Frames {
 public:
  Frames(const Framing& framing, int frame, const float* center, const float* scale)
      : of(framing), frame(frame), center(center), scale(scale), history(framing.order + framing.reactive) {
    filter.numbers = of.filtering, filter.order = of.order, filter.spectral = of.spectral;
    const size_t length = rounded_up(history + of.reactive + frame, LANES) + 2 * LANES;
    for (Memory<float>* one : {&signal, &errors, &sizes, &followed, &log_scale, &by_errors, &by_recent, &by_scale}) *one = zeros<float>(length);
  }

  // -log p of a frame, and the slopes of the decoder's numbers where they are asked for.
  float energy(const float* numbers, const float* before, const float* x, const float* weight, float* slopes) {
    filter.make(numbers);
    enter(before, x);
    predict_all();
    follow(numbers);
    Lanes sum = {};
    for (int t = 0; t < frame; t += LANES) {
      const Level found = level_of(of.noise, load_anywhere(errors.get() + of.reactive + t), load(followed.get() + t), of.level);
      const Lanes counts = load(weight + t);
      sum += counts > 0.0f ? -found.value : Lanes{};
      if (!slopes) continue;
      store_anywhere(by_errors.get() + of.reactive + t, counts > 0.0f ? -found.by_error : Lanes{});
      store(by_scale.get() + t, counts > 0.0f ? -found.by_scale : Lanes{});
    }
    if (slopes) back(numbers, slopes);
    return total(sum);
  }

  // x with what is not observed at its expectation, given the samples before it.
  void fill(const float* numbers, const float* before, const uint8_t* observed, float* x) {
    filter.make(numbers);
    enter(before, x);
    for (int t = 0; t < frame; t++) {
      if (observed[t]) continue;
      float* here = signal.get() + history + t;
      float predicted = 0.0f;
      for (int k = of.order; k > 0; k--) predicted += here[-k] * (float)filter.coefficients[k - 1];
      *here = predicted, x[t] = center[t] + scale[t] * predicted;
    }
  }

 private:
  const Framing of;
  const int frame;
  const float *center, *scale;
  const int history;
  Filter filter;
  Memory<float> signal, errors, sizes, followed, log_scale, by_errors, by_recent, by_scale;
  float following = 0.0f;

  static void store_anywhere(float* at, Lanes value) { std::memcpy(at, &value, sizeof value); }
  int part(int t) const { return std::min(t / (frame / of.gains), of.gains - 1); }
  float lowest() const { return std::log(LEAST_SCALE * of.level); }

  void enter(const float* before, const float* x) {
    std::memcpy(signal.get(), before, 4 * (size_t)history);
    for (int t = 0; t < frame; t++) signal[history + t] = (x[t] - center[t]) / scale[t];
  }

  // The errors of all samples from the one of index `order` of the signal on.
  void predict_all() {
    for (int i = 0; i < of.reactive + frame; i += LANES) {
      const float* here = signal.get() + of.order + i;
      Lanes predicted = {};
      for (int k = of.order; k > 0; k--) predicted += load_anywhere(here - k) * (float)filter.coefficients[k - 1];
      store(errors.get() + i, load_anywhere(here) - predicted);
    }
  }

  // Log-scales, as they follow the errors before each sample.
  void follow(const float* numbers) {
    const float *gains = numbers + of.filtering, least = lowest();
    for (int t = 0; t < frame; t++) log_scale[t] = std::min(std::max(gains[part(t)], least), MOST_SCALE);
    if (!of.reactive) return (void)std::memcpy(followed.get(), log_scale.get(), 4 * (size_t)frame);
    following = sigmoid(all(gains[of.gains]))[0];
    for (int i = 0; i < of.reactive + frame; i += LANES) store(sizes.get() + i, magnitude(load(errors.get() + i)));
    for (int t = 0; t < frame; t += LANES) {
      const Lanes said = load(log_scale.get() + t);
      store(followed.get() + t, said + following * (logarithm(recent(t)) - said));
    }
  }

  // The scale of which the errors before these samples are expected.
  Lanes recent(int t) const {
    Lanes sum = {};
    for (int i = 0; i < of.reactive; i++) sum += load_anywhere(sizes.get() + t + i);
    return sum / (float)of.reactive / of.absolute + LEAST_SCALE * of.level;
  }

  // From the slopes of errors and log-scales to those of the numbers.
  void back(const float* numbers, float* slopes) {
    const float *gains = numbers + of.filtering, least = lowest(), kept = of.reactive ? 1.0f - following : 1.0f;
    float* by_gains = slopes + of.filtering;
    if (of.reactive) by_gains[of.gains] = back_to_errors();
    std::fill_n(by_gains, of.gains, 0.0f);
    for (int t = 0; t < frame; t++) by_gains[part(t)] += kept * by_scale[t];
    for (int g = 0; g < of.gains; g++)
      if (!(gains[g] >= least && gains[g] <= MOST_SCALE)) by_gains[g] = 0.0f;
    alignas(64) double by_coefficients[LAGS] = {};
    for (int k = 1; k <= of.order; k++) {
      Lanes sum = {};
      for (int i = 0; i < of.reactive + frame; i += LANES) sum += load(by_errors.get() + i) * load_anywhere(signal.get() + of.order + i - k);
      by_coefficients[k - 1] = -total(sum);
    }
    filter.back(by_coefficients, slopes);
  }

  // What log-scales that follow add to the slopes of the errors before; the slope of how far they follow.
  float back_to_errors() {
    const int window = of.reactive;
    Lanes by_following = {};
    std::fill_n(by_errors.get(), window, 0.0f);
    for (int t = 0; t < frame; t += LANES) {
      const Lanes found = recent(t), slope = load(by_scale.get() + t);
      by_following += slope * (logarithm(found) - load(log_scale.get() + t));
      store_anywhere(by_recent.get() + window + t, following * slope / (found * of.absolute * (float)window));
    }
    for (int i = 0; i < window + frame; i += LANES) {
      Lanes sum = {};  // of the samples i + 1 - window ... i, before which this error stands
      for (int t = 1; t <= window; t++) sum += load_anywhere(by_recent.get() + i + t);
      const Lanes error = load(errors.get() + i), signed_sum = with_sign(sum, error) * (sum < 0.0f ? all(-1.0f) : all(1.0f));
      store(by_errors.get() + i, load(by_errors.get() + i) + (error == 0.0f ? Lanes{} : signed_sum));
    }
    return following * (1.0f - following) * total(by_following);
  }
};

// Sixteen, or eight, frames at once, one a lane: what is expected given what was before, and how far samples lie from it,
// the noise of all samples up to each behind the filter.
class Unrolled {
 public:
  Unrolled(int order, int frame, int parts, float center, float scale, float deviation)
      : order(order), frame(frame), parts(parts), center(center), unit(scale), noise(deviation) {
    filter = zeros<Lanes>(order + 3), past = zeros<Lanes>(order + frame), squares = zeros<Lanes>(parts);
    impulse = zeros<Lanes>(order + frame), response = zeros<Lanes>(frame + 2 * SOME), spread = zeros<Lanes>(frame + SOME);
  }

  // `rows` of coefficients, history and log-scales of a frame's parts, to means and deviations in the observation's units.
  void make(const float* coefficients, const float* before, const float* gains, int rows, float* mean, float* deviation) {
    for (int lane = 0; lane < rows; lane++) {
      for (int k = 0; k < order; k++) filter[k][lane] = coefficients[lane * order + k], past[k][lane] = before[lane * order + k];
    }
    for (int part = 0; part < parts; part++) {
      Lanes gain = {};
      for (int lane = 0; lane < rows; lane++) gain[lane] = gains[lane * parts + part];
      const Lanes scale = noise * exponential(gain);
      squares[part] = scale * scale;
    }
    for (int t = 0; t < frame; t++) {
      past[order + t] = following(past.get() + order + t);
      impulse[order + t] = t ? following(impulse.get() + order + t) : all(1.0f);
    }
    for (int t = 0; t < frame; t++) response[SOME + t] = of_part(impulse.get() + order, t);
    for (int t = 0; t < frame; t += SOME) convolve(t);
    for (int t = 0; t < frame; t++) past[order + t] = center + unit * past[order + t], spread[t] = unit * root(spread[t]);
    for (int lane = 0; lane < rows; lane++)
      for (int t = 0; t < frame; t++) mean[lane * frame + t] = past[order + t][lane], deviation[lane * frame + t] = spread[t][lane];
  }

 private:
  static constexpr int SOME = 4;  // sums at once
  const int order, frame, parts;
  const float center, unit, noise;
  Memory<Lanes> filter, past, squares, impulse, response, spread;  // the response to a part begins at SOME, after zeros

  Lanes following(const Lanes* here) const {
    Lanes sum[SOME] = {};
    int k = 1;
    for (; k + SOME <= order + 1; k += SOME)
      for (int i = 0; i < SOME; i++) sum[i] += filter[k + i - 1] * here[-k - i];
    for (; k <= order; k++) sum[0] += filter[k - 1] * here[-k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }

  // What noise of one in all samples of a part adds to the variance of the sample that is `t` after the part's first.
  Lanes of_part(const Lanes* response, int t) const {
    Lanes sum = {};
    for (int s = std::max(0, t + 1 - frame / parts); s <= t; s++) sum += response[s] * response[s];
    return sum;
  }

  // The variances of samples t ... t + SOME: noise is the same in all samples of a part.
  void convolve(int t) {
    Lanes sum[SOME] = {};
    for (int part = 0, start = 0; start < std::min(t + SOME, frame); part++, start += frame / parts)
      for (int i = 0; i < SOME; i++) sum[i] += squares[part] * response[SOME + t + i - start];
    for (int i = 0; i < SOME; i++) spread[t + i] = sum[i];
  }
};

}  // namespace avf
