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

// The products of bfloat16 pairs are the one thing that vector extensions cannot say.
#if defined(SKI_EDGE_BF16) && defined(__AVX512BF16__)
#include <immintrin.h>
#elif defined(SKI_EDGE_BF16)
#include <arm_neon.h>
#endif

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
// The same, of four bytes that may be no number.
SKI_EDGE_INLINE Vec splat_bits(const float& x) {
  std::int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (Vec)(bits - IntVec{});
}
// The sum of all lanes, halves added to halves.
SKI_EDGE_INLINE float total(Vec x) {
  float lanes[kLanes];
  std::memcpy(lanes, &x, sizeof x);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}
SKI_EDGE_INLINE IntVec as_bits(Vec x) { return (IntVec)x; }
SKI_EDGE_INLINE Vec from_bits(IntVec x) { return (Vec)x; }

SKI_EDGE_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
SKI_EDGE_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
SKI_EDGE_INLINE Vec relu(Vec x) { return max(x, Vec{}); }

#if defined(SKI_EDGE_BF16)
// Two bfloat16 numbers per lane: what a product takes on targets that multiply them in pairs and add in
// float.
constexpr int kPack = 2;
SKI_EDGE_INLINE IntVec
rounded(Vec x) {  // to the nearest bfloat16, ties to even, in the upper half of each lane
  const IntVec bits = as_bits(x);
  return bits + 0x7fff + ((bits >> 16) & 1);
}
SKI_EDGE_INLINE Vec pack(Vec low, Vec high) {
  return from_bits(((rounded(low) >> 16) & 0xffff) | (rounded(high) & ~0xffff));
}
SKI_EDGE_INLINE Vec low_half(Vec pair) { return from_bits(as_bits(pair) << 16); }
SKI_EDGE_INLINE Vec high_half(Vec pair) { return from_bits(as_bits(pair) & ~0xffff); }
#if defined(__AVX512BF16__)
SKI_EDGE_INLINE Vec add_products(Vec sum, Vec a, Vec b) {
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
SKI_EDGE_INLINE Vec add_products(Vec sum, Vec a, Vec b) {
  return (Vec)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b);
}
#endif
#else
constexpr int kPack = 1;
#endif

// Rows c to c + kPack - 1 of `rows` in one vector, as products take them; get(c) gives one.
template <class Get>
SKI_EDGE_INLINE Vec pack_rows(const Get& get, int c, int rows) {
#if defined(SKI_EDGE_BF16)
  return pack(get(c), c + 1 < rows ? get(c + 1) : Vec{});
#else
  (void)rows;
  return get(c);
#endif
}

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
