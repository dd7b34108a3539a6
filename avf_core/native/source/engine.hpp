// An engine: a plan with its matrices, and the memory of the threads that step its rows.
#pragma once
#include <mutex>
#include <system_error>
#include <thread>

#include "step.hpp"

namespace avf {

constexpr int MOST_ROWS = 64;  // sequences of a chunk

struct Engine {
  Plan plan;
  std::vector<Matrix> matrices;
  std::mutex lock;
  std::vector<std::unique_ptr<Chunk>> idle;

  // A chunk's memory: one that is idle, or a new one.
  std::unique_ptr<Chunk> take(int rows, int most) {
    {
      std::lock_guard<std::mutex> held(lock);
      for (size_t i = 0; i < idle.size(); i++)
        if (idle[i]->capacity >= rows && idle[i]->most >= most) {
          std::unique_ptr<Chunk> found = std::move(idle[i]);
          idle.erase(idle.begin() + i);
          return found;
        }
    }
    return std::make_unique<Chunk>(plan, matrices, rows, most);
  }

  void give(std::unique_ptr<Chunk> chunk) {
    std::lock_guard<std::mutex> held(lock);
    if (idle.size() < 16) idle.push_back(std::move(chunk));
  }
};

// `made(from, rows, chunk)` for all rows, in chunks, by as many threads. Rows do not know their chunk.
template <class Made>
void in_chunks(Engine& engine, int rows, int most, int threads, int largest, Made made) {
  threads = std::max(1, std::min(threads, rows));
  const int share = (rows + threads - 1) / threads;
  auto work = [&](int from) {
    const int end = std::min(rows, from + share), size = std::min(largest, end - from);
    std::unique_ptr<Chunk> chunk = engine.take(size, most);
    for (int at = from; at < end; at += size) made(at, std::min(size, end - at), *chunk);
    engine.give(std::move(chunk));
    let_go();
  };
  std::vector<std::thread> others;
  for (int from = share; from < rows; from += share) {
    try {
      others.emplace_back(work, from);
    } catch (const std::system_error&) {  // no thread is to be had: this one does its share
      work(from);
    }
  }
  work(0);
  for (std::thread& other : others) other.join();
}

}  // namespace avf
