#include "ski_edge/panels.h"

#include <cstdint>
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

float bfloat16_pair(float low, float high) {
  const auto half = [](float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  };
  const std::uint32_t both = half(low) | half(high) << 16;
  float pair;
  std::memcpy(&pair, &both, sizeof pair);
  return pair;
}

void Panels::add(const float* matrix, int rows, int depth, PanelFormat format) {
  const int count = (rows + format.rows - 1) / format.rows, steps = (depth + format.pack - 1) / format.pack;
  memory_.emplace_back(static_cast<std::size_t>(count) * static_cast<std::size_t>(steps * format.rows));
  float* to = memory_.back().data();
  views_.push_back({to, rows, steps});
  const auto at = [&](int row, int k) { return row < rows && k < depth ? matrix[row * depth + k] : 0.0f; };
  for (int first = 0; first < rows; first += format.rows) {
    for (int k = 0; k < depth; k += format.pack) {
      for (int row = first; row < first + format.rows; ++row) {
        *to++ = format.pack == 2 ? bfloat16_pair(at(row, k), at(row, k + 1)) : at(row, k);
      }
    }
  }
}

}  // namespace ski_edge
