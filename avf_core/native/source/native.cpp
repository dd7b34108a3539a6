// The interface of the executor to Python, in C: an engine is a plan with its matrices; it steps rows.
#include <mutex>
#include <system_error>
#include <thread>

#include "elements_face.hpp"
#include "pictures_face.hpp"
#include "expect.hpp"

using namespace avf;

namespace {

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

}  // namespace

extern "C" {

// Whether the machine lets this library's instructions be used.
int avf_usable() { return tiles_usable(); }

// The size of a structure, by its place in this list: Python's must be the same.
int avf_size(int number) {
  const size_t sizes[] = {sizeof(Operation), sizeof(Program), sizeof(Register), sizeof(Plan), sizeof(Step), sizeof(Advance), sizeof(Expect)};
  return (int)sizes[number];
}

void* avf_new(const Plan* plan) {
  Engine* engine = new Engine;
  engine->plan = *plan;
  return engine;
}

void avf_free(void* engine) { delete static_cast<Engine*>(engine); }

// A matrix of the engine, row after row; its number.
int avf_matrix(void* engine, const float* weight, const float* bias, int outputs, int inputs, int single, int half) {
  std::vector<Matrix>& matrices = static_cast<Engine*>(engine)->matrices;
  matrices.push_back(packed(weight, bias, outputs, inputs, single, half));
  return (int)matrices.size() - 1;
}

// y = x W^T + b by one of the engine's matrices, in bfloat16 where `half`; rows of y are whole panels, 64 bytes aligned.
void avf_product(void* engine, int matrix, const float* x, int rows, float* y, int half) {
  const Engine& of = *static_cast<Engine*>(engine);
  const Matrix& m = of.matrices[matrix];
  const Memory<uint16_t> halves = zeros<uint16_t>(half ? (size_t)rows * rounded_up(m.inputs, 32) : 0);
  Space space;
  space.matrices = &of.matrices, space.halves = halves.get();
  product(space, matrix, x, m.inputs, rows, y, m.panels() * avf::PANEL, half);
}

void avf_step(void* engine, const Step* step) {
  Engine& of = *static_cast<Engine*>(engine);
  std::atomic<int> visited(0);
  // A budget is the step's: its rows go on and end together.
  const int largest = step->budget < 0 ? MOST_ROWS : step->rows;
  in_chunks(of, step->rows, step->most, step->threads, largest, [&](int from, int rows, Chunk& chunk) {
    ChunkStep{of.plan, *step, chunk, from, rows, visited}.make();
  });
  *step->visited = visited;
}

void avf_expect(void* engine, const Expect* asked) {
  Engine& of = *static_cast<Engine*>(engine);
  std::atomic<int> visited(0);
  const Step none = {};
  in_chunks(of, asked->rows, 0, asked->threads, MOST_ROWS, [&](int from, int rows, Chunk& chunk) {
    expect(ChunkStep{of.plan, none, chunk, from, rows, visited}, *asked);
  });
}

void avf_advance(void* engine, const Advance* advance) {
  Engine& of = *static_cast<Engine*>(engine);
  std::atomic<int> visited(0);
  const Step none = {};
  in_chunks(of, advance->rows, 0, advance->threads, MOST_ROWS, [&](int from, int rows, Chunk& chunk) {
    const ChunkStep one = {of.plan, none, chunk, from, rows, visited};
    for (int s = 0; s < of.plan.state_count; s++) one.enter(advance->state[s], of.plan.state[s]);
    one.enter(advance->x, of.plan.x);
    one.enter(advance->z, of.plan.z);
    one.feed_back(true);
    for (int s = 0; s < of.plan.state_count; s++) one.leave(of.plan.following[s], advance->following[s]);
  });
}
}
