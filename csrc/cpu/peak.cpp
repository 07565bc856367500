// Multiply-adds with nothing to load or store; the contract is in ski_edge/peak.h.
#include "cpu/target.h"
#include "cpu/tile.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Returns the floating-point operations it did; `out` keeps the compiler from leaving them away.
double peak(long rounds, float* out) {
  constexpr int kSums = 12;  // enough to hide the latency of a multiply-add on two units
  Vec sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = splat(static_cast<float>(i));
  Vec a = splat(1e-3f), b = splat(0.5f);
  for (long round = 0; round < rounds; ++round) {
    asm volatile("" : "+m"(a), "+m"(b));  // operands may have changed: rounds are no sum to be simplified
    const Vec x = a, y = b;
    for (int repeat = 0; repeat < 32; ++repeat) {
      for (int i = 0; i < kSums; ++i) {
#if defined(SKI_EDGE_BF16)
        sums[i] = add_products(sums[i], x, y);
#else
        sums[i] = sums[i] * x + y;  // no step can be known before the last one is
#endif
      }
    }
  }
  Vec total = Vec{};
  for (int i = 0; i < kSums; ++i) total += sums[i];
  for (int i = 0; i < kLanes; ++i) out[i] = total[i];
  return 2.0 * kPack * kLanes * kSums * 32 * static_cast<double>(rounds);
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
