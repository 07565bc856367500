// Weights of a matrix product in the order a kernel reads them.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

namespace ski_edge {

// Zeros, at a multiple of 64 bytes.
class Floats {
 public:
  Floats() = default;
  explicit Floats(std::size_t count);
  Floats(const float* from, std::size_t count);
  float* data() const { return memory_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::unique_ptr<float, Free> memory_;
  std::size_t size_ = 0;
};

// How a kernel wants its matrices: rows per panel, and 2 where products take pairs of bfloat16 (then `depth`
// below counts pairs of columns, the last one filled up with zero).
struct PanelFormat {
  int rows = 1, pack = 1;
};

// A matrix [rows, depth] as panels of a few rows: [panel][depth][panel rows], rows that are missing in the
// last one zero.
struct Matrix {
  const float* panels = nullptr;
  int rows = 0, depth = 0;
};

// Packed matrices that an op owns.
class Panels {
 public:
  // matrix: [rows, depth], row-major, copied.
  void add(const float* matrix, int rows, int depth, PanelFormat format);

  const Matrix* views() const { return views_.empty() ? nullptr : views_.data(); }

 private:
  std::vector<Floats> memory_;
  std::vector<Matrix> views_;
};

// Two numbers as bfloat16, rounded to nearest, ties to even, in the lower and the upper half of a float's
// bits.
float bfloat16_pair(float low, float high);

}  // namespace ski_edge
