// The interface of lessons to Python, in C: a clip is inferred step by step, and what was noted gives gradients.
#pragma once
#include <memory>

#include "engine.hpp"
#include "studying.hpp"

namespace avf {

// What an engine has of a clip in training.
struct Training {
  Engine& engine;
  Record record;
  std::unique_ptr<Teacher> teacher;
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

void avf_learn(void* training, const avf::Lesson* lesson) {
  avf::Training& of = *static_cast<avf::Training*>(training);
  if (!of.teacher) of.teacher = std::make_unique<avf::Teacher>(of.engine.plan, of.engine.matrices, of.record, lesson->mixed);
  of.teacher->teach(*lesson);
}
}
