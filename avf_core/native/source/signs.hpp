// What tells a strange frame of sound from a usual one, in the forms of avf_core/models/_codec_signs.py: eight rows at
// once, one a lane, in double precision.
#pragma once
#include <algorithm>
#include <vector>

#include "spectrum.hpp"

namespace avf {

namespace strange {
constexpr int BESIDE = 2;
constexpr double LEAST = 1e-3, FLOOR = 1e-8, QUIET = 4e-5;
}  // namespace strange

// The arc tangent by a rational function (Cephes), of what is left of three ranges.
inline Doubles arc_tangent(Doubles x) {
  const Doubles size = x < 0.0 ? -x : x;
  const auto steep = size > 2.41421356237309504880, middle = size > 0.66;
  const Doubles above = steep ? -1.0 / size : (size - 1.0) / (size + 1.0);
  const Doubles r = middle ? above : size, z = r * r;
  const Doubles base = steep ? Doubles{} + 1.57079632679489661923 : middle ? Doubles{} + 0.78539816339744830962 : Doubles{};
  Doubles p = Doubles{} - 8.750608600031904122785e-1, q = z + 2.485846490142306297962e1;
  for (double next : {-1.615753718733365076637e1, -7.500855792314704667340e1, -1.228866684490136173410e2, -6.485021904942025371773e1}) p = p * z + next;
  for (double next : {1.650270098316988542046e2, 4.328810604912902668951e2, 4.853903996359136964868e2, 1.945506571482613964425e2}) q = q * z + next;
  const Doubles found = base + (r + r * z * p / q);
  return x < 0.0 ? -found : found;
}

// Sizes and units of what is listened to.
struct Listening {
  int order, history, frame, parts, window, lags, bins;
  double center, scale;
};

// Rows as they come, each in one piece.
struct Sounds {
  const float *window, *x, *coefficients, *gains, *history;
};

class Signs {
 public:
  explicit Signs(const Listening& of)
      : of(of), sound(std::min(of.window, 2 * of.frame + 1) - 1), spectrum(sound), signal(of.order + of.frame),
        whole(of.order + 1), roots(of.order + 1), innovations(of.frame), soft(of.frame), heard(sound), powers(sound / 2 + 1),
        cosine(table_of<Turn>(sound + 1).cosine), wide(2 * of.window), whole_window(2 * of.window), wide_powers(of.window + 1),
        wide_cosine(table_of<Turn>(of.window + 1).cosine) {}

  bool are(const Listening& other) const {
    return of.order == other.order && of.history == other.history && of.frame == other.frame && of.parts == other.parts &&
           of.window == other.window && of.lags == other.lags && of.bins == other.bins && of.center == other.center &&
           of.scale == other.scale;
  }

  // Of up to eight rows from `from` on: autocorrelations of innovations, the largest click, the strongest line, and the
  // lower bins of the window's spectrum.
  void make(const Sounds& sounds, size_t from, int rows, float* out) {
    enter(sounds, from, rows);
    const int width = of.lags + 2 + of.bins;
    out += from * width;
    whiteness(rows, out, width);
    const Doubles click = outlier(), tone = line();
    for (int lane = 0; lane < rows; lane++)
      out[lane * width + of.lags] = (float)click[lane], out[lane * width + of.lags + 1] = (float)tone[lane];
    wide.powers(whole_window.data(), wide_powers.data());
    for (int k = 0; k < of.bins; k++) {
      const Doubles power = logarithm_of(wide_powers[k] + strange::QUIET);
      for (int lane = 0; lane < rows; lane++) out[lane * width + of.lags + 2 + k] = (float)power[lane];
    }
  }

 private:
  static constexpr int AT_ONCE = 8;  // sums
  const Listening of;
  const int sound;
  Spectrum spectrum;
  std::vector<Doubles> signal, whole, roots, innovations, soft, heard, powers;
  const std::vector<double>& cosine;
  Spectrum wide;  // of the window, and as much silence after it
  std::vector<Doubles> whole_window, wide_powers;
  const std::vector<double>& wide_cosine;

  // Lanes beyond `rows` repeat the last of them.
  void enter(const Sounds& sounds, size_t from, int rows) {
    for (int lane = 0; lane < WORDS; lane++) {
      const size_t row = from + std::min(lane, rows - 1);
      const float* before = sounds.history + row * of.history + of.history - of.order;
      for (int i = 0; i < of.order; i++) {
        signal[i][lane] = before[i];
        whole[i + 1][lane] = -(double)sounds.coefficients[row * of.order + i];
      }
      for (int t = 0; t < of.frame; t++) signal[of.order + t][lane] = ((double)sounds.x[row * of.frame + t] - of.center) / of.scale;
      for (int g = 0; g < of.parts; g++) soft[g][lane] = -(double)sounds.gains[row * of.parts + g];
      const float* here = sounds.window + (row + 1) * of.window - sound - 1;
      const float* all = sounds.window + row * of.window;
      for (int n = 0; n < of.window; n++) whole_window[n][lane] = (double)all[n] * (0.5 - 0.5 * wide_cosine[n + 1]);
      for (int n = 0; n < sound; n++) heard[n][lane] = ((double)here[n + 1] - (double)here[n]) * (0.5 - 0.5 * cosine[n + 1]);
    }
    whole[0] = Doubles{} + 1.0;
    whiten();
  }

  // Innovations in scales as they were said, and their arc tangents.
  void whiten() {
    const int each = of.frame / of.parts;
    for (int from = 0; from < of.frame; from += AT_ONCE) {
      Doubles sum[AT_ONCE] = {};
      const int some = std::min(AT_ONCE, of.frame - from);
      for (int k = 0; k <= of.order; k++)
        for (int i = 0; i < some; i++) sum[i] += whole[k] * signal[of.order + from + i - k];
      std::copy_n(sum, some, innovations.data() + from);
    }
    for (int g = of.parts - 1; g >= 0; g--) {
      const Doubles gain = exponential_of(soft[g]);
      for (int t = g * each; t < (g + 1) * each; t++) innovations[t] *= gain;
    }
    for (int t = 0; t < of.frame; t++) soft[t] = arc_tangent(innovations[t]);
  }

  // The sum of x_t y_{t + lag} over the first `count` of x, for some lags from `first` on.
  static void correlations(const Doubles* x, int count, const Doubles* y, int length, int first, int some, Doubles* sum) {
    std::fill_n(sum, AT_ONCE, Doubles{});
    const int whole = std::max(0, std::min(count, length - first - some + 1));
    if (some == AT_ONCE)
      for (int t = 0; t < whole; t++)
        for (int i = 0; i < AT_ONCE; i++) sum[i] += x[t] * y[t + first + i];
    for (int t = some == AT_ONCE ? whole : 0; t < count; t++)
      for (int i = 0; i < some && t + first + i < length; i++) sum[i] += x[t] * y[t + first + i];
  }

  void whiteness(int rows, float* out, int width) {
    Doubles sum[AT_ONCE], power = {};
    for (int first = 0; first <= of.lags; first += AT_ONCE) {
      const int some = std::min(AT_ONCE, of.lags + 1 - first);
      correlations(soft.data(), of.frame, soft.data(), of.frame, first, some, sum);
      if (first == 0) power = sum[0] + strange::LEAST * strange::LEAST;
      for (int i = first == 0; i < some; i++)
        for (int lane = 0; lane < rows; lane++) out[lane * width + first + i - 1] = (float)(sum[i][lane] / power[lane]);
    }
  }

  // The logarithm of the largest click in its deviations, over the innovations' own.
  Doubles outlier() {
    Doubles square = {}, largest = {}, own = {}, sum[AT_ONCE];
    for (int k = 0; k <= of.order; k++) square += whole[k] * whole[k], roots[k] = root_of(square);
    for (int first = 0; first < of.frame; first += AT_ONCE) {
      const int some = std::min(AT_ONCE, of.frame - first);
      correlations(whole.data(), of.order + 1, innovations.data(), of.frame, first, some, sum);
      for (int i = 0; i < some; i++) {
        const Doubles size = sum[i] / roots[std::min(of.order, of.frame - 1 - first - i)], click = size < 0.0 ? -size : size;
        largest = click > largest ? click : largest;
      }
    }
    for (int t = 0; t < of.frame; t++) own += innovations[t] * innovations[t];
    return logarithm_of(largest + strange::LEAST) - logarithm_of(root_of(own / (double)of.frame) + strange::LEAST);
  }

  // Log-odds of the bins around the strongest.
  Doubles line() {
    const int bins = sound / 2 + 1;
    spectrum.powers(heard.data(), powers.data());
    Doubles most = {}, total = {}, strongest = {};
    Words place = {};
    for (int k = 0; k < bins; k++) {
      const Doubles power = powers[k] += strange::FLOOR;
      total += power;
      const auto more = power > most;
      most = more ? power : most, place = more ? Words{} + (uint64_t)k : place;
    }
    for (int lane = 0; lane < WORDS; lane++) {
      const int middle = (int)place[lane], last = std::min(middle + strange::BESIDE, bins - 1);
      for (int k = std::max(middle - strange::BESIDE, 0); k <= last; k++) strongest[lane] += powers[k][lane];
    }
    const Doubles rest = total - strongest;
    return logarithm_of(strongest) - logarithm_of(rest < strange::FLOOR ? Doubles{} + strange::FLOOR : rest);
  }

  static Doubles root_of(Doubles x) {
    for (int i = 0; i < WORDS; i++) x[i] = __builtin_sqrt(x[i]);
    return x;
  }
};

}  // namespace avf
