#include "ski_edge/panels.h"

#include <cstdint>
#include <cstring>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ski_edge {

Floats::Floats(std::size_t count) : size_(count) {
  // Rows of an activation lie kilobytes apart, each on a page of its own: large blocks ask for large pages,
  // or every step of a product would miss the table of pages.
  constexpr std::size_t kLargePage = std::size_t{2} << 20;
  if (count > (std::size_t{1} << 60)) throw std::bad_alloc();  // its bytes would be beyond size_t
  const std::size_t wanted = count * sizeof(float) + 64, step = wanted >= kLargePage / 2 ? kLargePage : 64;
  const std::size_t bytes = (wanted + step - 1) / step * step;
  memory_.reset(static_cast<float*>(std::aligned_alloc(step, bytes)));
  if (!memory_) throw std::bad_alloc();
#if defined(__linux__)
  if (step == kLargePage) madvise(memory_.get(), bytes, MADV_HUGEPAGE);  // a wish; small pages work as well
#endif
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
