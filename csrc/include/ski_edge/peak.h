// How fast this CPU can multiply and add at all: what benchmarks compare kernels with.
#pragma once

#include "ski_edge/isa.h"
#include "ski_edge/thread_pool.h"

namespace ski_edge {

// GFLOP/s (two per multiply-add) of products whose operands never leave the registers, on all threads of the
// pool at once; the best of several short runs.
double peak_gflops(Isa isa, ThreadPool& pool);

}  // namespace ski_edge
