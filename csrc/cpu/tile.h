// The product that everything is made of: a few rows of weights times a few vectors of columns, sums in
// registers.
#pragma once

#include "cpu/simd.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Rows of a packed panel and vectors of columns per tile: kRows * kVectors sums, kVectors loaded columns and
// one weight fit the registers (32 of AVX-512 and NEON, 16 of AVX2 and SSE2), and hide the latency of
// multiply-adds.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 8, kVectors = 2;
#else
constexpr int kRows = 6, kVectors = 2;
#endif

template <int Rows, int Vectors>
using Sums = Vec[Rows][Vectors];

template <int Rows, int Vectors>
SKI_EDGE_INLINE void clear(Sums<Rows, Vectors>& sums) {
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) sums[i][j] = Vec{};
  }
}

// Rows of a tile begin with their bias. bias may be read beyond the last row of a matrix: what ops own has
// room there.
template <int Rows, int Vectors>
SKI_EDGE_INLINE void begin(Sums<Rows, Vectors>& sums, const float* bias) {
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) sums[i][j] = splat(bias[i]);
  }
}

// sums[i][j] += sum over k < depth of a[k * a_step + i] * the vector at b[k * b_step + j * gap]
//
// Pack 2: both hold pairs of bfloat16, so that each k stands for two rows of the matrices.
template <int Rows, int Vectors, int Pack = kPack>
SKI_EDGE_INLINE void multiply(Sums<Rows, Vectors>& sums, const float* a, long a_step, const float* b,
                              long b_step, int depth, long gap = kLanes) {
  for (int k = 0; k < depth; ++k) {
    Vec column[Vectors];
    for (int j = 0; j < Vectors; ++j) column[j] = load(b + j * gap);
    for (int i = 0; i < Rows; ++i) {
      const Vec weight = splat_bits(a[i]);
      for (int j = 0; j < Vectors; ++j) {
#if defined(SKI_EDGE_BF16)
        if constexpr (Pack == 2) {
          sums[i][j] = add_products(sums[i][j], weight, column[j]);
          continue;
        }
#endif
        sums[i][j] += weight * column[j];
      }
    }
    a += a_step;
    b += b_step;
  }
}

// sums[i][j] += sum over k < depth of a[i * a_row + k] * the vector at b[k * b_step + j * kLanes]: rows of a
// lie apart.
template <int Rows, int Vectors>
SKI_EDGE_INLINE void multiply_rows(Sums<Rows, Vectors>& sums, const float* a, long a_row, const float* b,
                                   long b_step, int depth) {
  for (int k = 0; k < depth; ++k) {
    for (int i = 0; i < Rows; ++i) {
      const Vec weight = splat(a[i * a_row + k]);
      for (int j = 0; j < Vectors; ++j) sums[i][j] += weight * load(b + k * b_step + j * kLanes);
    }
  }
}

// Steps along a product's depth for so many rows.
constexpr int packed(int rows) { return (rows + kPack - 1) / kPack; }

template <int Value>
struct Constant {
  static constexpr int value = Value;
};

// Calls body(Constant<count>{}) for a count known only at run time, 1..Most.
template <int Most, class Body>
SKI_EDGE_INLINE void with_constant(int count, const Body& body) {
  if constexpr (Most > 1) {
    if (count < Most) return with_constant<Most - 1>(count, body);
  }
  body(Constant<Most>{});
}

// Calls body(Constant<i>{}) for rows i < count of a tile of Most rows. Sums are registers only while every
// index into them is known to the compiler: a plain loop to `count` would send all of them through memory.
template <int Most, int First = 0, class Body>
SKI_EDGE_INLINE void each_row(int count, const Body& body) {
  if constexpr (First < Most) {
    if (First < count) {
      body(Constant<First>{});
      each_row<Most, First + 1>(count, body);
    }
  }
}

// Calls body(first, Constant<Vectors>{}) for columns first, first + Vectors * kLanes, ... of `columns` (a
// multiple of kLanes).
template <class Body>
SKI_EDGE_INLINE void over_columns(int columns, const Body& body) {
  int first = 0;
  for (; first + kVectors * kLanes <= columns; first += kVectors * kLanes) body(first, Constant<kVectors>{});
  for (; first < columns; first += kLanes) body(first, Constant<1>{});
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
