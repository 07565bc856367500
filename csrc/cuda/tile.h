// The matrix product under every kernel: rows of A times columns of B, 16 x 8 sums per warp and step of 16,
// sums in float32.
//
// The order of k inside a step of 16 is free as long as A and B agree. Lane (g, q) = (lane / 4, lane % 4)
// takes k = 4 q to 4 q + 3: its numbers of a column lie side by side, one load of 8 bytes, and `packed_index`
// stores a matrix so that a lane's eight numbers are one load of 16. No shared memory, no ldmatrix.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/block.h"

namespace ski_edge::cuda {

using Half = __half;
using Bfloat16 = __nv_bfloat16;

SKI_EDGE_HD float to_float(float x) { return x; }
SKI_EDGE_HD float to_float(Half x) { return __half2float(x); }
SKI_EDGE_HD float to_float(Bfloat16 x) { return __bfloat162float(x); }
template <class T>
SKI_EDGE_HD T from_float(float x);
template <>
SKI_EDGE_HD float from_float<float>(float x) {
  return x;
}
template <>
SKI_EDGE_HD Half from_float<Half>(float x) {
  return __float2half_rn(x);
}
template <>
SKI_EDGE_HD Bfloat16 from_float<Bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

// A number that is none stays so: what overflows must reach the logits, where it is refused.
SKI_EDGE_HD float relu(float x) { return x < 0 ? 0.0f : x; }

// Activations lie in blocks of 8 columns by 16 channels, [column / 8][channel / 16][8][16], columns of a body
// filled up to whole blocks: a warp's loads of a step of 8 neighbouring columns are 256 bytes in a row.
constexpr int kBlockNumbers = 128;
SKI_EDGE_HD constexpr long place_of(int column, int channel, int channels) {
  return (static_cast<long>(column / 8) * (channels / 16) + channel / 16) * kBlockNumbers + column % 8 * 16 +
         channel % 16;
}

// Four neighbours along k.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T x[4];
};
using FourFloats = Quad<float>;
// What a lane holds of a column's step, and of 16 x 16 numbers: four of row g, then four of row g + 8. As
// words, or the compiler takes numbers of 16 bits apart and together again.
template <class T>
struct alignas(4 * sizeof(T)) LaneColumn {
  unsigned words[sizeof(T)];
};
template <class T>
struct alignas(16) LaneRows {
  unsigned words[2 * sizeof(T)];
};
template <class Words, class T>
SKI_EDGE_HD Words load_words(const T* from) {
  return *reinterpret_cast<const Words*>(from);
}

// Where element (row, k) of a matrix of `steps` * 16 columns lies when it is packed; tiles of 16 rows by 16
// columns.
constexpr int kTileNumbers = 256;
SKI_EDGE_HD constexpr int packed_index(int row, int k, int steps) {
  return ((row / 16) * steps + k / 16) * kTileNumbers + (row % 8 * 4 + k % 16 / 4) * 8 + row / 8 % 2 * 4 +
         k % 4;
}

// Numbers from one row to the next in shared memory such that a warp's loads meet no bank twice: halves are
// read 8 bytes by 16 lanes at a time, floats 16 bytes by 8.
SKI_EDGE_HD constexpr int pitch(int columns) {
  const int units = ceil_div(columns, 16);  // of 32 bytes of halves, 64 of floats: an odd number of them
  return (units % 2 == 0 ? units + 1 : units) * 16;
}

// A packed matrix, from some tile row on; a tile row is `tile_step` numbers long.
template <class T>
struct Packed {
  const T* tiles;
  long tile_step;

  SKI_EDGE_HD T at(int row, int k) const {
    return tiles[row / 16 * tile_step + packed_index(row % 16, k, 0)];
  }
  template <int MT>
  struct Lanes {
    const T* from[MT];
    SKI_EDGE_HD Lanes(const Packed& a, int lane) {
      SKI_EDGE_UNROLL(MT)
      for (int m = 0; m < MT; ++m) from[m] = a.tiles + m * a.tile_step + lane * 8;
    }
    SKI_EDGE_HD LaneRows<T> rows(int m, int step) const {
      return load_words<LaneRows<T>>(from[m] + step * kTileNumbers);
    }
    SKI_EDGE_HD void advance(int steps) {
      SKI_EDGE_UNROLL(MT)
      for (int m = 0; m < MT; ++m) from[m] += steps * kTileNumbers;
    }
  };
};

// Rows of A as a function that says where each begins.
template <class T, class Row>
struct Loose {
  Row row;

  SKI_EDGE_HD T at(int row_index, int k) const { return row(row_index)[k]; }
  template <int MT>
  struct Lanes {
    const T *low[MT], *high[MT];
    SKI_EDGE_HD Lanes(const Loose& a, int lane) {
      SKI_EDGE_UNROLL(MT)
      for (int m = 0; m < MT; ++m) {
        low[m] = a.row(m * 16 + lane / 4) + lane % 4 * 4;
        high[m] = a.row(m * 16 + lane / 4 + 8) + lane % 4 * 4;
      }
    }
    SKI_EDGE_HD LaneRows<T> rows(int m, int step) const {
      const LaneColumn<T> first = load_words<LaneColumn<T>>(low[m] + step * 16);
      const LaneColumn<T> second = load_words<LaneColumn<T>>(high[m] + step * 16);
      LaneRows<T> both;
      SKI_EDGE_UNROLL(4)
      for (unsigned i = 0; i < sizeof(T); ++i)
        both.words[i] = first.words[i], both.words[sizeof(T) + i] = second.words[i];
      return both;
    }
    SKI_EDGE_HD void advance(int steps) {
      SKI_EDGE_UNROLL(MT)
      for (int m = 0; m < MT; ++m) low[m] += steps * 16, high[m] += steps * 16;
    }
  };
};
template <class T, class Row>
SKI_EDGE_HD Loose<T, Row> loose(const Row& row) {
  return {row};
}

// Steps of a column of an activation.
struct Across {
  SKI_EDGE_HD int operator()(int step) const { return step * kBlockNumbers; }
  SKI_EDGE_HD int ahead(int, int steps) const { return steps * kBlockNumbers; }
};

// Steps of a column follow each other.
struct Along {
  SKI_EDGE_HD int operator()(int step) const { return step * 16; }
  SKI_EDGE_HD int ahead(int, int steps) const { return steps * 16; }
};

struct Zero {
  SKI_EDGE_HD float operator()(int) const { return 0; }
};

#ifdef __CUDACC__
template <class T>
__device__ __forceinline__ float number(const unsigned* words, int i) {
  if constexpr (sizeof(T) == 4) {
    return __uint_as_float(words[i]);
  } else {
    return to_float(reinterpret_cast<const T*>(words)[i]);
  }
}

// c += a b for one step of 16: on tensor cores where the device has them for T.
template <class T>
__device__ __forceinline__ void multiply_lanes(float (&c)[4], const LaneRows<T>& a, const LaneColumn<T>& b) {
#pragma unroll
  for (int q = 0; q < 4; ++q) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int lane = threadIdx.x % 32;
      const float low = __shfl_sync(~0u, number<T>(a.words, e), lane / 4 * 4 + q);
      const float high = __shfl_sync(~0u, number<T>(a.words, 4 + e), lane / 4 * 4 + q);
      const float left = __shfl_sync(~0u, number<T>(b.words, e), lane % 4 * 8 + q);
      const float right = __shfl_sync(~0u, number<T>(b.words, e), lane % 4 * 8 + 4 + q);
      c[0] += low * left, c[1] += low * right, c[2] += high * left, c[3] += high * right;
    }
  }
}
#if __CUDA_ARCH__ >= 750
template <>
__device__ __forceinline__ void multiply_lanes<Half>(float (&c)[4], const LaneRows<Half>& a,
                                                     const LaneColumn<Half>& b) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.words[0]), "r"(a.words[2]), "r"(a.words[1]), "r"(a.words[3]), "r"(b.words[0]), "r"(b.words[1]));
#else
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.words[i]), "r"(a.words[2 + i]), "r"(b.words[i]));
  }
#endif
}
#endif
#if __CUDA_ARCH__ >= 800
template <>
__device__ __forceinline__ void multiply_lanes<Bfloat16>(float (&c)[4], const LaneRows<Bfloat16>& a,
                                                         const LaneColumn<Bfloat16>& b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.words[0]), "r"(a.words[2]), "r"(a.words[1]), "r"(a.words[3]), "r"(b.words[0]), "r"(b.words[1]));
}

// float32 as the sum of three tf32 of 11 bits each: exact.
struct Split {
  unsigned high, middle, low;
};
__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ Split split(unsigned word) {
  Split x;
  x.high = to_tf32(__uint_as_float(word));
  const float rest = __uint_as_float(word) - __uint_as_float(x.high);
  x.middle = to_tf32(rest);
  x.low = to_tf32(rest - __uint_as_float(x.middle));
  return x;
}
__device__ __forceinline__ void multiply_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Of the nine products of parts those six that a float32 product holds; three would leave out 2^-22 of a
// product, four times what float32 rounds. Tensor cores cut off what a sum cannot hold, so small ones come
// first, and sums of 8 are added up by instructions that round.
template <>
__device__ __forceinline__ void multiply_lanes<float>(float (&c)[4], const LaneRows<float>& a,
                                                      const LaneColumn<float>& b) {
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const Split rows[4] = {split(a.words[i]), split(a.words[4 + i]), split(a.words[i + 1]),
                           split(a.words[5 + i])};
    const Split columns[2] = {split(b.words[i]), split(b.words[i + 1])};
    const unsigned high[4] = {rows[0].high, rows[1].high, rows[2].high, rows[3].high};
    const unsigned middle[4] = {rows[0].middle, rows[1].middle, rows[2].middle, rows[3].middle};
    const unsigned low[4] = {rows[0].low, rows[1].low, rows[2].low, rows[3].low};
    const unsigned b_high[2] = {columns[0].high, columns[1].high};
    const unsigned b_middle[2] = {columns[0].middle, columns[1].middle};
    const unsigned b_low[2] = {columns[0].low, columns[1].low};
    float part[4] = {};
    multiply_tf32(part, low, b_high);
    multiply_tf32(part, high, b_low);
    multiply_tf32(part, middle, b_middle);
    multiply_tf32(part, middle, b_high);
    multiply_tf32(part, high, b_middle);
    multiply_tf32(part, high, b_high);
#pragma unroll
    for (int k = 0; k < 4; ++k) c[k] += part[k];
  }
}
#endif
#endif

// Where two columns' sums go, and what is added to them.
struct Place {
  int at;
  float first, second;
  friend SKI_EDGE_HD bool operator<(const Place& place, int n) { return place.at < n; }
};

// Sums of MT x NT tiles. On the host one object holds them all; on the device each lane of a warp holds its
// four of every tile, and all lanes of the warp must call together.
template <class T, int MT, int NT>
class Tile {
 public:
  // Sums begin at start(row).
  template <class Start>
  SKI_EDGE_HD explicit Tile(const Start& start) {
#ifdef __CUDA_ARCH__
#pragma unroll
    for (int m = 0; m < MT; ++m) {
      const int row = m * 16 + threadIdx.x % 32 / 4;
      const float low = start(row), high = start(row + 8);
#pragma unroll
      for (int n = 0; n < NT; ++n) {
        sums_[m][n][0] = sums_[m][n][1] = low;
        sums_[m][n][2] = sums_[m][n][3] = high;
      }
    }
#else
    for (int row = 0; row < MT * 16; ++row)
      for (int n = 0; n < NT * 8; ++n) sums_[row * NT * 8 + n] = start(row);
#endif
  }

  // += A B over `steps` * 16 numbers; column(n) is where B's column n begins, n < 8 NT. Loads of as many
  // steps as the first of Batches that divides `steps` are under way together, or of one.
  template <int... Batches, class A, class Column>
  SKI_EDGE_HD void multiply(const A& a, int steps, const Column& column) {
    multiply_at<Batches...>(a, steps, column, Along());
  }
  // The same where step s of a column lies offset(s) after its beginning.
  template <int... Batches, class A, class Column, class Offset>
  SKI_EDGE_HD void multiply_at(const A& a, int steps, const Column& column, const Offset& offset) {
#ifdef __CUDA_ARCH__
    const int lane = threadIdx.x % 32;
    const T* from[NT];
#pragma unroll
    for (int n = 0; n < NT; ++n) from[n] = column(n * 8 + lane / 4) + lane % 4 * 4;
    typename A::template Lanes<MT> lanes(a, lane);
    bool done = false;
    if constexpr (sizeof(T) == 2) {
      (void)((done = done || in_batches<Batches>(lanes, from, steps, offset)), ...);
    } else {
      done = in_batches<2>(lanes, from, steps, offset);
    }
    if (!done) in_batches<1>(lanes, from, steps, offset);
#else
    for (int row = 0; row < MT * 16; ++row)
      for (int n = 0; n < NT * 8; ++n) {
        const T* const from = column(n);
        float sum = sums_[row * NT * 8 + n];
        for (int k = 0; k < steps * 16; ++k)
          sum += to_float(a.at(row, k)) * to_float(from[offset(k / 16) + k % 16]);
        sums_[row * NT * 8 + n] = sum;
      }
#endif
  }

  // f(row, place(column), sum) for all of them but for columns whose place (an int or a Place) is negative.
  template <class Place, class F>
  SKI_EDGE_HD void each(const Place& place, const F& f) const {
#ifdef __CUDA_ARCH__
    const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < NT; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const auto at = place(n * 8 + 2 * q + i);
        if (at < 0) continue;
#pragma unroll
        for (int m = 0; m < MT; ++m) {
          f(m * 16 + g, at, sums_[m][n][i]);
          f(m * 16 + g + 8, at, sums_[m][n][i + 2]);
        }
      }
#else
    for (int n = 0; n < NT * 8; ++n) {
      const auto at = place(n);
      for (int row = 0; row < MT * 16 && !(at < 0); ++row) f(row, at, sums_[row * NT * 8 + n]);
    }
#endif
  }

  // f(row, place(column), sum, sum of the next column) for even columns.
  template <class Where, class F>
  SKI_EDGE_HD void each_pair(const Where& place, const F& f) const {
#ifdef __CUDA_ARCH__
    const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      const auto at = place(n * 8 + 2 * q);
      if (at < 0) continue;
#pragma unroll
      for (int m = 0; m < MT; ++m) {
        f(m * 16 + g, at, sums_[m][n][0], sums_[m][n][1]);
        f(m * 16 + g + 8, at, sums_[m][n][2], sums_[m][n][3]);
      }
    }
#else
    for (int n = 0; n < NT * 8; n += 2) {
      const auto at = place(n);
      for (int row = 0; row < MT * 16 && !(at < 0); ++row) {
        f(row, at, sums_[row * NT * 8 + n], sums_[row * NT * 8 + n + 1]);
      }
    }
#endif
  }

 private:
#ifdef __CUDA_ARCH__
  template <int Batch, class Lanes, class Offset>
  __device__ __forceinline__ bool in_batches(Lanes lanes, const T* const (&from)[NT], int steps,
                                             const Offset& offset) {
    if (Batch > 1 && steps % Batch != 0) return false;
#pragma unroll 1
    for (int begin = 0; begin < steps; begin += Batch) {
      LaneRows<T> rows[Batch][MT];
      LaneColumn<T> columns[Batch][NT];
#pragma unroll
      for (int i = 0; i < Batch; ++i) {
        const int at = offset(begin) + offset.ahead(begin, i);
#pragma unroll
        for (int m = 0; m < MT; ++m) rows[i][m] = lanes.rows(m, i);
#pragma unroll
        for (int n = 0; n < NT; ++n) columns[i][n] = load_words<LaneColumn<T>>(from[n] + at);
      }
      lanes.advance(Batch);
#pragma unroll
      for (int i = 0; i < Batch; ++i)
#pragma unroll
        for (int m = 0; m < MT; ++m)
#pragma unroll
          for (int n = 0; n < NT; ++n) multiply_lanes<T>(sums_[m][n], rows[i][m], columns[i][n]);
    }
    return true;
  }

  float sums_[MT][NT][4];
#else
  float sums_[MT * 16 * NT * 8];
#endif
};

}  // namespace ski_edge::cuda
