// The interface of the executor to Python, in C: an engine is a plan with its matrices; it steps rows.
#include "elements_face.hpp"
#include "pictures_face.hpp"
#include "expect.hpp"
#include "lesson_face.hpp"
#include "recurrence_face.hpp"

using namespace avf;

extern "C" {

// Whether the machine lets this library's instructions be used.
int avf_usable() { return tiles_usable(); }

// The size of a structure, by its place in this list: Python's must be the same.
int avf_size(int number) {
  const size_t sizes[] = {sizeof(Operation), sizeof(Program), sizeof(Register), sizeof(Plan), sizeof(Step), sizeof(Advance), sizeof(Expect), sizeof(Part), sizeof(Learned), sizeof(Study), sizeof(Lesson), sizeof(Adam), sizeof(Recurrence), sizeof(Listening), sizeof(Sounds)};
  return (int)sizes[number];
}

void* avf_new(const Plan* plan) {
  Engine* engine = new Engine;
  engine->plan = *plan;
  return engine;
}

void avf_free(void* engine) { delete static_cast<Engine*>(engine); }

// A matrix of the engine, of zeros; its number.
int avf_matrix(void* engine, int outputs, int inputs, int single, int half) {
  std::vector<Matrix>& matrices = static_cast<Engine*>(engine)->matrices;
  matrices.push_back(laid_out(outputs, inputs, single, half));
  return (int)matrices.size() - 1;
}

// The values of its parts into a matrix; where it is `turned`, into that which is the transpose.
void avf_pack(void* engine, int matrix, const Part* parts, int count, int turned) {
  pack(static_cast<Engine*>(engine)->matrices[matrix], parts, count, turned);
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
