// Vectors of float for kernels that are compiled once per instruction set, from one text.
//
// GCC's and Clang's vector extensions: + - * / and comparisons work on all lanes, a * b + c becomes a fused
// multiply-add where the target has one. Files that include this are compiled with the flags of one target
// (SKI_EDGE_TARGET names it and SKI_EDGE_LANES its width), so everything in them lives in that target's
// namespace, and no inline function of the standard library may be used: the linker keeps one copy of those
// for all files, and it could be the one with instructions that this CPU lacks.
#pragma once

#include <cstdint>
#include <cstring>

#define SKI_EDGE_INLINE inline __attribute__((always_inline))

namespace ski_edge::cpu::SKI_EDGE_TARGET {

constexpr int kLanes = SKI_EDGE_LANES;

typedef float Vec __attribute__((vector_size(4 * SKI_EDGE_LANES)));
typedef std::int32_t IntVec __attribute__((vector_size(4 * SKI_EDGE_LANES)));

SKI_EDGE_INLINE Vec load(const float* from) {
  Vec x;
  std::memcpy(&x, from, sizeof x);
  return x;
}
SKI_EDGE_INLINE void store(float* to, Vec x) { std::memcpy(to, &x, sizeof x); }
SKI_EDGE_INLINE Vec splat(float x) { return x - Vec{}; }
SKI_EDGE_INLINE IntVec as_bits(Vec x) { return (IntVec)x; }
SKI_EDGE_INLINE Vec from_bits(IntVec x) { return (Vec)x; }

// mask: comparisons give all ones or all zeros per lane.
SKI_EDGE_INLINE Vec choose(IntVec mask, Vec yes, Vec no) {
  return from_bits((mask & as_bits(yes)) | (~mask & as_bits(no)));
}
SKI_EDGE_INLINE Vec max(Vec a, Vec b) { return choose(a > b, a, b); }
SKI_EDGE_INLINE Vec min(Vec a, Vec b) { return choose(a < b, a, b); }
SKI_EDGE_INLINE Vec relu(Vec x) { return max(x, Vec{}); }

// e^x to 1e-7 relative; x is taken into [-87, 88], where the result is a normal number.
SKI_EDGE_INLINE Vec exp(Vec x) {
  x = min(max(x, splat(-87.0f)), splat(88.0f));
  // x = n ln 2 + r with |r| <= ln 2 / 2. Adding and taking away 1.5 * 2^23 rounds to a whole number.
  const Vec magic = splat(12582912.0f);
  const Vec n = (x * 1.44269504f + magic) - magic;
  const Vec r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  // Taylor's series to r^7: the next term is below 6e-9.
  Vec p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return from_bits(as_bits(p) + (__builtin_convertvector(n, IntVec) << 23));  // times 2^n
}

// tanh x to 1e-7 absolute.
SKI_EDGE_INLINE Vec tanh(Vec x) {
  const Vec e = exp(2.0f * min(max(x, splat(-10.0f)), splat(10.0f)));
  return 1.0f - 2.0f / (e + 1.0f);
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
