#include "ski_edge/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "cpu/kernels.h"

namespace ski_edge {

double peak_gflops(Isa isa, ThreadPool& pool) {
  const cpu::Kernels& kernels = cpu::kernels(isa);
  const auto count = static_cast<std::size_t>(pool.threads());
  std::vector<double> operations(count);
  std::vector<float> out(count * 16);
  double best = 0;
  for (int run = 0; run < 20; ++run) {
    const auto start = std::chrono::steady_clock::now();
    // As many tasks as threads, all long enough that each thread takes one.
    pool.run(pool.threads(), [&](int task, int) {
      const auto i = static_cast<std::size_t>(task);
      operations[i] = kernels.peak(20000, out.data() + 16 * i);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    double total = 0;
    for (const double each : operations) total += each;
    best = std::max(best, total / seconds.count() / 1e9);
  }
  return best;
}

}  // namespace ski_edge
