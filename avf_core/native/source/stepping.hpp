// Online learning: a step of Adam on an update model as soon as its gradient is known, in one pass through memory.
//
// The gradient of a few rows of a weight is made, moves them, and they are packed for the next products, while all of
// that is in the cache. So the norm of the whole is needed before: |S^T X|^2 is the sum of (S S^T)(X X^T) over pairs of
// applications, of which there are few.
#pragma once
#include "studying.hpp"

namespace avf {

// AdamW (Loshchilov & Hutter 2019) as torch has it; the corrections are those of its count of steps.
struct Adam {
  float first_decay, second_decay, epsilon, rate, weight_decay, step_size, root_of_correction, clip_norm;  // no clipping where that is 0
};

inline void moved(const Adam& adam, float scale, size_t count, const float* gradient, float* parameter, float* mean, float* square) {
  size_t i = 0;
  auto move = [&](auto g, auto p, auto m, auto v, auto root, auto keep) {
    g = g * scale;
    m = m + (1.0f - adam.first_decay) * (g - m);
    v = adam.second_decay * v + (1.0f - adam.second_decay) * (g * g);
    keep(p * (1.0f - adam.rate * adam.weight_decay) - adam.step_size * (m / (root(v) / adam.root_of_correction + adam.epsilon)), m, v);
  };
  for (; i + LANES <= count; i += LANES)
    move(load_anywhere(gradient + i), load_anywhere(parameter + i), load_anywhere(mean + i), load_anywhere(square + i), root,
         [&](Lanes p, Lanes m, Lanes v) {
           std::memcpy(parameter + i, &p, sizeof p), std::memcpy(mean + i, &m, sizeof m), std::memcpy(square + i, &v, sizeof v);
         });
  for (; i < count; i++)
    move(gradient[i], parameter[i], mean[i], square[i], [](float v) { return std::sqrt(v); },
         [&](float p, float m, float v) { parameter[i] = p, mean[i] = m, square[i] = v; });
}

constexpr int SIDE = 4;  // of a tile of products of rows with rows

// The products of rows from `a` on with rows from `b` on, as many as there are of each.
inline void products_of_rows(const float* a, int rows, const float* b, int others, int stride, float out[SIDE][SIDE]) {
  Lanes sum[SIDE][SIDE] = {};
  const float *of[SIDE], *with[SIDE];
  for (int r = 0; r < SIDE; r++) of[r] = a + (size_t)std::min(r, rows - 1) * stride, with[r] = b + (size_t)std::min(r, others - 1) * stride;
  for (int i = 0; i < stride; i += LANES)
#pragma GCC unroll 4
    for (int r = 0; r < SIDE; r++)
#pragma GCC unroll 4
      for (int q = 0; q < SIDE; q++) sum[r][q] += load(of[r] + i) * load(with[q] + i);
  for (int r = 0; r < SIDE; r++)
    for (int q = 0; q < SIDE; q++) out[r][q] = total(sum[r][q]);
}

struct Stepper {
  Teacher& teacher;
  std::vector<Matrix>& matrices;
  const Lesson& lesson;
  const Adam& adam;

  const Operation& operation(int o) const { return teacher.plan.infer.operations[o]; }

  // What applications from `first` on, with those before and with each other, add to the squared norm of an operation's
  // gradients, those of biases included.
  double squared(int o, int first) const {
    const int reads = teacher.stride(operation(o).read), says = teacher.stretches[o].columns;
    const float *x = teacher.record.read[o].get(), *s = teacher.said(o);
    const int rows = std::min(SIDE, lesson.applications - first);
    double sum = 0;
    for (int other = 0; other <= first; other += SIDE) {
      float read[SIDE][SIDE], said[SIDE][SIDE];
      products_of_rows(x + (size_t)first * reads, rows, x + (size_t)other * reads, std::min(SIDE, lesson.applications - other), reads, read);
      products_of_rows(s + (size_t)first * says, rows, s + (size_t)other * says, std::min(SIDE, lesson.applications - other), says, said);
      for (int r = 0; r < rows; r++)
        for (int q = 0; q < SIDE && other + q <= first + r; q++)
          sum += (other + q < first + r ? 2.0 : 1.0) * said[r][q] * (1.0 + read[r][q]);
    }
    return sum;
  }

  double norm() const {
    std::vector<double> sums((lesson.applications + SIDE - 1) / SIDE);
    in_shares((int)sums.size(), lesson.threads, 1, [&](int from, int to) {
      for (int i = from; i < to; i++)
        for (int o = 0; o < teacher.plan.infer.count; o++) sums[i] += squared(o, i * SIDE);
    });
    double sum = 0;
    for (double one : sums) sum += one;
    return std::sqrt(std::max(sum, 0.0) + (sum - sum));
  }

  // A panel of a part's rows from `from` on.
  void step(const Learned& part, int from, float scale, float* gradient) const {
    const Stretch& stretch = teacher.stretches[part.operation];
    const Operation& op = operation(part.operation);
    const int rows = std::min(PANEL, part.rows - from), column = part.column + from, inputs = stretch.inputs;
    const size_t at = (size_t)from * inputs;
    gradient_rows(gradient, rows, column, stretch, teacher.half, false);
    moved(adam, scale, (size_t)rows * inputs, gradient, part.weight + at, part.weight_mean + at, part.weight_square + at);
    gradient_of_bias(gradient, rows, teacher.said(part.operation) + column, stretch.columns, lesson.applications, false);
    moved(adam, scale, rows, gradient, part.bias + from, part.bias_mean + from, part.bias_square + from);
    const Part packed = {part.weight, part.bias, part.rows};
    pack_panel(matrices[op.matrix], packed, from, part.column);
    if (op.slope >= 0) pack_panel_turned(matrices[op.slope], packed, from, part.column);
  }

  // The norm of the gradient; where that is no number, nothing has moved.
  double step() {
    teacher.pass(lesson, 0, lesson.applications);
    const double found = norm();
    if (!std::isfinite((float)found)) return found;
    const float scale = adam.clip_norm > 0 && found > adam.clip_norm ? (float)(adam.clip_norm / found) : 1.0f;
    std::vector<std::pair<int, int>> panels;
    for (int l = 0; l < lesson.learned_count; l++)
      for (int from = 0; from < lesson.learned[l].rows; from += PANEL) panels.push_back({l, from});
    in_shares((int)panels.size(), lesson.threads, 1, [&](int from, int to) {
      int widest = PANEL;
      for (const Stretch& stretch : teacher.stretches) widest = std::max(widest, stretch.inputs);
      const Memory<float> gradient = zeros<float>((size_t)PANEL * widest);
      for (int p = from; p < to; p++) step(lesson.learned[panels[p].first], panels[p].second, scale, gradient.get());
    });
    return found;
  }
};

}  // namespace avf
