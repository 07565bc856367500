// What a kernel's text runs on.
//
// Kernels are written once, as functions of a Block: on the device one thread of a thread block calls them,
// on the host one call stands for the whole block (thread 0 of 1). Every index a kernel computes is so
// computed, and tested, on a machine without a GPU; what only a GPU can show is the order of its threads.
#pragma once

#include <cstddef>

#define SKI_EDGE_HD __host__ __device__ __forceinline__

namespace ski_edge::cuda {

SKI_EDGE_HD constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
SKI_EDGE_HD constexpr int round_up(int a, int b) { return ceil_div(a, b) * b; }
SKI_EDGE_HD constexpr int least(int a, int b) { return a < b ? a : b; }
SKI_EDGE_HD constexpr int most(int a, int b) { return a > b ? a : b; }

struct Block {
  int thread = 0;
  int x = 0, y = 0, z = 0;  // place in the grid

  SKI_EDGE_HD static int threads() {
#ifdef __CUDA_ARCH__
    return static_cast<int>(blockDim.x);
#else
    return 1;
#endif
  }
  SKI_EDGE_HD int warp() const { return thread / 32; }
  SKI_EDGE_HD static int warps() { return ceil_div(threads(), 32); }
  SKI_EDGE_HD void sync() const {
#ifdef __CUDA_ARCH__
    __syncthreads();
#endif
  }
};

// Loops whose loads should be under way together.
#ifdef __CUDA_ARCH__
#define SKI_EDGE_PRAGMA(text) _Pragma(#text)
#define SKI_EDGE_UNROLL(times) SKI_EDGE_PRAGMA(unroll times)
#else
#define SKI_EDGE_UNROLL(times)
#endif

// Division by a number known to the host: one multiplication. For 0 <= n < 2^32 / divisor.
class Divisor {
 public:
  Divisor() = default;
  SKI_EDGE_HD Divisor(int by)
      : by_(by), inverse_(by > 1 ? static_cast<unsigned>((1ull << 32) / by + 1) : 0) {}
  SKI_EDGE_HD int by() const { return by_; }
  friend SKI_EDGE_HD int operator/(int n, const Divisor& d) {
    if (d.by_ == 1) return n;
#ifdef __CUDA_ARCH__
    return static_cast<int>(__umulhi(static_cast<unsigned>(n), d.inverse_));
#else
    return static_cast<int>(static_cast<unsigned long long>(n) * d.inverse_ >> 32);
#endif
  }
  friend SKI_EDGE_HD int operator%(int n, const Divisor& d) { return n - n / d * d.by_; }

 private:
  int by_ = 1;
  unsigned inverse_ = 0;
};

// What a kernel that was started early (Machine::launch) must do before it reads what the kernel before it
// writes, and what that one does first so that the next can start.
SKI_EDGE_HD void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
SKI_EDGE_HD void let_next_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

struct Grid {
  int x = 1, y = 1, z = 1;
};

// Hands out a block's shared memory; with no memory it only counts.
class Shared {
 public:
  SKI_EDGE_HD explicit Shared(char* memory) : memory_(memory) {}
  template <class T>
  SKI_EDGE_HD T* take(int count) {
    T* const piece = reinterpret_cast<T*>(memory_ + taken_);
    taken_ += (static_cast<std::size_t>(count) * sizeof(T) + 15) / 16 * 16;
    return piece;
  }
  SKI_EDGE_HD std::size_t taken() const { return taken_; }

 private:
  char* memory_;
  std::size_t taken_ = 0;
};

// Threads that share a row: Lanes neighbours on the device, one on the host. All lanes of a warp reduce
// together.
template <int Lanes>
struct Team {
#ifdef __CUDA_ARCH__
  static constexpr int members = Lanes;
#else
  static constexpr int members = 1;
#endif
  int index, member, count;

  SKI_EDGE_HD explicit Team(const Block& block)
      : index(block.thread / members), member(block.thread % members), count(Block::threads() / members) {}
  template <class F>
  SKI_EDGE_HD float reduce(float x, [[maybe_unused]] const F& f) const {
#ifdef __CUDA_ARCH__
    for (int step = members / 2; step > 0; step /= 2) x = f(x, __shfl_xor_sync(~0u, x, step));
#endif
    return x;
  }
};
struct Add {
  SKI_EDGE_HD float operator()(float a, float b) const { return a + b; }
};
struct Largest {
  SKI_EDGE_HD float operator()(float a, float b) const { return a > b ? a : b; }
};

}  // namespace ski_edge::cuda
