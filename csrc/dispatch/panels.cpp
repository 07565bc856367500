#include "ski_edge/panels.h"

#include <cstring>
#include <new>

namespace ski_edge {

Floats::Floats(std::size_t count) : size_(count) {
  const std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64 + 64;
  memory_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
  if (!memory_) throw std::bad_alloc();
  std::memset(memory_.get(), 0, bytes);
}

Floats::Floats(const float* from, std::size_t count) : Floats(count) {
  std::memcpy(data(), from, count * sizeof(float));
}

void Panels::add(const float* matrix, int rows, int depth, int panel_rows) {
  const int count = (rows + panel_rows - 1) / panel_rows;
  memory_.emplace_back(static_cast<std::size_t>(count) * static_cast<std::size_t>(depth * panel_rows));
  float* to = memory_.back().data();
  views_.push_back({to, rows, depth});
  for (int first = 0; first < rows; first += panel_rows) {
    for (int k = 0; k < depth; ++k) {
      for (int i = 0; i < panel_rows; ++i) *to++ = first + i < rows ? matrix[(first + i) * depth + k] : 0.0f;
    }
  }
}

}  // namespace ski_edge
