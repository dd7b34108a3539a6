// Gradients of an update model's parameters, from the record of its applications: one pass backwards over all of them.
#pragma once
#include <functional>
#include <system_error>
#include <thread>

#include "lesson.hpp"

namespace avf {

constexpr int STRETCH = 240;  // applications that are gone through at a time, where their gradients are summed

// What leads from a record to gradients.
struct Lesson {
  const float* weight;     // of each application
  const Learned* learned;
  int32_t learned_count, applications, threads, mixed;
};

// `made(from, to)` for all of `count`, in as many threads; cuts are multiples of `grain`.
inline void in_shares(int count, int threads, int grain, const std::function<void(int, int)>& made) {
  const int share = rounded_up((count + threads - 1) / threads, grain);
  std::vector<std::thread> others;
  for (int from = share; from < count; from += share) {
    const int to = std::min(count, from + share);
    try {
      others.emplace_back(made, from, to);
    } catch (const std::system_error&) {  // no thread is to be had: this one does its share
      made(from, to);
    }
  }
  made(0, std::min(count, share));
  for (std::thread& other : others) other.join();
}

// A highway layer backwards: from the slope of what it made to those of its gates, and of what it read by the carry.
inline void through_highway(const float* slope, const float* read, const float* gates, bool carries, int width, float* by_gates, float* by_read) {
  for (int i = 0; i < width; i += LANES) {
    const Lanes by = load(slope + i), before = load(gates + i), gate = sigmoid(load(gates + width + i));
    const Lanes carried = carries ? load(gates + 2 * width + i) : load(read + i), bent = elu(before), by_bent = by * gate;
    store(by_gates + i, before > 0.0f ? by_bent : by_bent * (bent + 1.0f));
    store(by_gates + width + i, by * (bent - carried) * gate * (1.0f - gate));
    store((carries ? by_gates + 2 * width : by_read) + i, by - by_bent);
  }
}

// The memory of a pass, for one stretch of applications.
struct Teacher {
  const Plan& plan;
  const std::vector<Matrix>& matrices;
  const Record& record;
  bool half;
  int most;  // applications at a time
  std::vector<Memory<float>> slopes, by_gates;  // of each operation: of what it made, and of its gates
  std::vector<Stretch> stretches;

  Teacher(const Plan& plan, const std::vector<Matrix>& matrices, const Record& record, bool half, int most)
      : plan(plan), matrices(matrices), record(record), half(half), most(most), stretches(plan.infer.count) {
    for (int o = 0; o < plan.infer.count; o++) {
      const Operation& op = plan.infer.operations[o];
      slopes.push_back(zeros<float>((size_t)most * stride(op.out)));
      by_gates.push_back(op.kind == HIGHWAY ? zeros<float>((size_t)most * stride(op.gates)) : Memory<float>());
      stretches[o].lay(most, plan.registers[op.read].size, stride(Record::made_by(op)), half);
    }
  }

  int stride(int r) const { return plan.registers[r].stride; }
  const float* said(int o) const { return plan.infer.operations[o].kind == HIGHWAY ? by_gates[o].get() : slopes[o].get(); }

  // Rows from...to of the stretch that begins at `first`: from the slope of what was said to that of every operation.
  void descend(const Lesson& lesson, int first, int from, int to) {
    Space in;
    int widest = 0;
    for (const Matrix& m : matrices) widest = std::max(widest, rounded_up(m.inputs, 32));
    const Memory<uint16_t> halves = zeros<uint16_t>(half ? (size_t)(to - from) * widest + 64 : 0);
    in.plan = &plan, in.matrices = &matrices, in.halves = halves.get();
    const int last = plan.infer.count - 1, width = stride(plan.said[0]);
    for (int r = from; r < to; r++)
      for (int i = 0; i < width; i += LANES)
        store(slopes[last].get() + (size_t)r * width + i, lesson.weight[first + r] * load(record.slope.get() + (size_t)(first + r) * width + i));
    for (int o = last; o >= 0; o--) {
      const Operation& op = plan.infer.operations[o];
      const int out = stride(op.out), read = stride(op.read), made = stride(Record::made_by(op));
      const bool carried = op.kind == HIGHWAY && !op.offset;
      for (int r = from; r < to; r++) {
        float* slope = slopes[o].get() + (size_t)r * out;
        const float* values = record.made[o].get() + (size_t)(first + r) * made;
        if (op.kind == LINEAR && op.activation != IDENTITY) through(op, values, slope, rounded_up(in.size(op.out), PANEL));
        if (op.kind == HIGHWAY)
          through_highway(slope, record.read[o].get() + (size_t)(first + r) * read, values, op.offset, rounded_up(in.size(op.out), PANEL),
                          by_gates[o].get() + (size_t)r * made, carried && o ? slopes[o - 1].get() + (size_t)r * read : slope);
      }
      if (o) product(in, op.slope, said(o) + (size_t)from * made, made, to - from, slopes[o - 1].get() + (size_t)from * read, read, half, carried);
      stretches[o].enter(said(o), made, record.read[o].get() + (size_t)first * read, read, from, to, half);
    }
    let_go();
  }

  void pass(const Lesson& lesson, int first, int rows) {
    for (Stretch& stretch : stretches) stretch.rows = rows;
    in_shares(rows, lesson.threads, 16, [&](int from, int to) { descend(lesson, first, from, to); });
  }

  // Gradients of all parameters, over all applications.
  void teach(const Lesson& lesson) {
    for (int first = 0; first < lesson.applications; first += most) {
      const int rows = std::min(most, lesson.applications - first);
      pass(lesson, first, rows);
      for (int l = 0; l < lesson.learned_count; l++) {
        const Learned& part = lesson.learned[l];
        const Stretch& stretch = stretches[part.operation];
        gradient_of_bias(part.by_bias, part.rows, said(part.operation) + part.column, stretch.columns, rows, first);
        in_shares(part.rows, lesson.threads, TALL, [&](int from, int to) {
          gradient_rows(part.by_weight + (size_t)from * stretch.inputs, to - from, part.column + from, stretch, half, first);
        });
      }
    }
  }
};

}  // namespace avf
