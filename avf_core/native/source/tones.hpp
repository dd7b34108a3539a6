// A tone that goes on, followed from spectrum to spectrum, in the forms of avf_core/tones.py: eight bins at once, in
// double precision.
#pragma once
#include <algorithm>
#include <vector>

#include "doubles.hpp"

namespace avf {

namespace tone {
constexpr int NEAR = 6, FAR = 28, MOST = 4;
constexpr double RAISED = 0.5, TIGHT = 0.2, LOOSE = 2.5, LEAST = -4.0, MOST_EVIDENCE = 3.0, BIRTH = -6.0, PLAIN = 1.5,
                 HAZARD = 1.2, CAP = 20.0, STEADY = 1.4, NEW = 3.0, SPEED = 0.6, LEVEL = 0.25, JUMP = 1.5, FADED = 2.0;
}  // namespace tone

inline Doubles least(Doubles x, Doubles y) { return x < y ? x : y; }
inline Doubles most(Doubles x, Doubles y) { return x > y ? x : y; }
inline Doubles within(Doubles x, double low, double high) { return least(most(x, Doubles{} + low), Doubles{} + high); }

class Tones {
 public:
  explicit Tones(int cells) : cells(cells), whole((cells + WORDS - 1) / WORDS * WORDS), sound(whole + 2 * tone::FAR) {
    for (std::vector<double>* one : {&odds, &power, &energy, &speed, &known}) one->resize(whole + 2 * tone::MOST);
  }

  // Of one row: what is kept, and the log-odds of a tone.
  double follow(const double* before, const double* spectrum, double* after) {
    using namespace tone;
    enter(before, spectrum);
    double found = BIRTH;
    for (int c = 0; c < cells; c += WORDS) {
      const int some = std::min(WORDS, cells - c);
      const Doubles y = load_doubles(sound.data() + c + tone::FAR), s = beside(c);
      const Doubles es = exponential_of(s), above = y - s;
      const Doubles scaled = above / LOOSE, without = -0.5 * scaled * scaled - logarithm_of(Doubles{} + LOOSE);
      Doubles path = Doubles{} - 1e300, was = {}, own = {}, moving = {}, sure = {}, step = {}, said = {};
      for (int j = 0; j <= 2 * MOST; j++) {
        const double moved = MOST - j;
        const Doubles e = load_doubles(energy.data() + c + j), v = load_doubles(speed.data() + c + j), k = load_doubles(known.data() + c + j);
        const Doubles both = e + es, spread = LOOSE + e / both * (TIGHT - LOOSE);
        const Doubles off = (y - logarithm_of(both)) / spread;
        const Doubles evidence = within(-0.5 * off * off - logarithm_of(spread) - without, LEAST, MOST_EVIDENCE);
        const Doubles bend = moved - v, slack = NEW * (1.0 - k), strain = 0.5 * bend * bend / (STEADY * STEADY + slack * slack);
        const Doubles to = load_doubles(odds.data() + c + j) - HAZARD - strain + evidence;
        const auto better = to > path;
        path = better ? to : path, was = better ? load_doubles(power.data() + c + j) : was, own = better ? e : own;
        moving = better ? v : moving, sure = better ? k : sure, step = better ? Doubles{} + moved : step, said = better ? evidence : said;
      }
      const Doubles unsure = 1.0 - sure, first = BIRTH + within(above - PLAIN, -MOST_EVIDENCE, MOST_EVIDENCE);
      const Doubles level = was + most(Doubles{} + LEVEL, 0.5 * unsure) * (own / (own + es)) * within(y - was, -JUMP, JUMP);
      const Doubles faster = moving + (unsure + sure * SPEED) * (step - moving);
      const auto fresh = first > path;
      const Doubles now = fresh ? first : path, told = fresh ? first : path + FADED * least(said, Doubles{});
      const Doubles kept[] = {now - BIRTH, fresh ? y : level, fresh ? Doubles{} : faster, fresh ? Doubles{} : 1.0 - 0.5 * unsure};
      for (int i = 0; i < some; i++) {
        found = std::max(found, (double)told[i]);
        for (int n = 0; n < 4; n++) after[n * cells + c + i] = (double)(float)kept[n][i];
      }
    }
    return found;
  }

 private:
  const int cells, whole;
  std::vector<double> sound, odds, power, energy, speed, known;  // with MOST more on either side

  void enter(const double* before, const double* spectrum) {
    std::copy_n(spectrum, cells + 2 * tone::FAR, sound.begin());
    std::fill(odds.begin(), odds.end(), -1e300), std::fill(energy.begin(), energy.end(), 1.0);
    for (int c = 0; c < cells; c++) {
      const int to = c + tone::MOST;
      odds[to] = std::min(before[c] + tone::BIRTH, tone::CAP), power[to] = before[cells + c];
      speed[to] = before[2 * cells + c], known[to] = before[3 * cells + c];
    }
    for (size_t c = 0; c < power.size(); c += WORDS) store_doubles(energy.data() + c, exponential_of(load_doubles(power.data() + c)));
  }

  // The largest, over distances, of the smaller of both sides, raised.
  Doubles beside(int c) const {
    const double* middle = sound.data() + c + tone::FAR;
    Doubles found = Doubles{} - 1e300;
    for (int d = tone::NEAR; d <= tone::FAR; d++) found = most(found, least(load_doubles(middle - d), load_doubles(middle + d)));
    return found + tone::RAISED;
  }
};

}  // namespace avf
