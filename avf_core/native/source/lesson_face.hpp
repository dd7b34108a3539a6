// The interface of lessons to Python, in C: a clip is inferred step by step, and what was noted gives gradients.
#pragma once
#include <memory>

#include "engine.hpp"
#include "stepping.hpp"

namespace avf {

// What an engine has of a clip in training.
struct Training {
  Engine& engine;
  Record record;
  std::unique_ptr<Teacher> teacher;

  // With memory for so many applications at a time.
  Teacher& taught_by(const Lesson& lesson, int most) {
    if (!teacher || teacher->most < most) teacher = std::make_unique<Teacher>(engine.plan, engine.matrices, record, lesson.mixed, most);
    return *teacher;
  }
};

}  // namespace avf

extern "C" {

void* avf_training_new(void* engine) { return new avf::Training{*static_cast<avf::Engine*>(engine), {}, nullptr}; }

void avf_training_free(void* training) { delete static_cast<avf::Training*>(training); }

// Room for the record of so many applications; what was noted is lost where there was less.
void avf_training_hold(void* training, int applications) {
  avf::Training& of = *static_cast<avf::Training*>(training);
  avf::Space in;
  in.plan = &of.engine.plan;
  of.record.hold(of.engine.plan, in, applications);
}

void avf_study(void* training, const avf::Study* study) {
  avf::Training& of = *static_cast<avf::Training*>(training);
  std::atomic<int> visited(0);
  const avf::Step& step = study->step;
  avf::in_chunks(of.engine, step.rows, step.most, step.threads, avf::MOST_ROWS, [&](int from, int rows, avf::Chunk& chunk) {
    const avf::ChunkStep one = {of.engine.plan, step, chunk, from, rows, visited};
    avf::ChunkStudy{*study, one, of.record}.make();
  });
}

// Gradients over all applications.
void avf_learn(void* training, const avf::Lesson* lesson) {
  static_cast<avf::Training*>(training)->taught_by(*lesson, avf::STRETCH).teach(*lesson);
}

// A step of Adam by that gradient, where it is finite; its norm.
double avf_move(void* training, const avf::Lesson* lesson, const avf::Adam* adam) {
  avf::Training& of = *static_cast<avf::Training*>(training);
  return avf::Stepper{of.taught_by(*lesson, lesson->applications), of.engine.matrices, *lesson, *adam}.step();
}
}
