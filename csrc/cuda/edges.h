// How clips enter a network on CUDA, and how logits leave it (ops/edges.h).
#pragma once

#include "cuda/tile.h"

namespace ski_edge::cuda {

// Coordinates in 16 channels: as they round [0, 3), what was lost [3, 6), as they round once more [6, 9);
// zeros. Weights stand beside them as [high, high, low]: a first block as exact as in float32, for one
// product of 16.
constexpr int kInputChannels = 16;

// Steps of a clip as in ClipView, in floats.
template <class T>
struct NormaliseArgs {
  const float* x = nullptr;
  long clip_step = 0, coordinate_step = 0, frame_step = 0, joint_step = 0, person_step = 0;
  const int* bodies = nullptr;                     // [body][2]: clip, slot
  const float *scale = nullptr, *shift = nullptr;  // [slot][joint][3]
  int body_count = 0, frames = 0, joints = 0;
  T* y = nullptr;         // columns (frame, joint), 16 channels
  float* sums = nullptr;  // [body][joint][16]
};

template <class T>
SKI_EDGE_HD void normalise(const Block& block, const NormaliseArgs<T>& args, char* memory) {
  float* const parts = reinterpret_cast<float*>(memory);  // [warps][6]
  const int body = block.z, joint = block.x, slot = args.bodies[2 * body + 1];
  const float* const x =
      args.x + args.bodies[2 * body] * args.clip_step + slot * args.person_step + joint * args.joint_step;
  T* const y = args.y + static_cast<long>(body) * round_up(args.frames * args.joints, 8) * kInputChannels;
  float scale[3], shift[3], sums[6] = {};
  for (int c = 0; c < 3; ++c) {
    scale[c] = args.scale[(slot * args.joints + joint) * 3 + c];
    shift[c] = args.shift[(slot * args.joints + joint) * 3 + c];
  }
  SKI_EDGE_UNROLL(1)
  for (int t = block.thread; t < args.frames; t += block.threads()) {
    struct alignas(16) Channels {
      T c[kInputChannels];
    } out;
    SKI_EDGE_UNROLL(16)
    for (int c = 9; c < kInputChannels; ++c) out.c[c] = from_float<T>(0.0f);
    SKI_EDGE_UNROLL(3)
    for (int c = 0; c < 3; ++c) {
      const float value = x[t * args.frame_step + c * args.coordinate_step] * scale[c] + shift[c];
      const T high = from_float<T>(value), low = from_float<T>(value - to_float(high));
      out.c[c] = high, out.c[c + 3] = low, out.c[c + 6] = high;
      sums[c] += to_float(high), sums[c + 3] += to_float(low);
    }
    *reinterpret_cast<Channels*>(y + place_of(t * args.joints + joint, 0, kInputChannels)) = out;
  }
  const Team<32> warp(block);
  SKI_EDGE_UNROLL(6)
  for (int c = 0; c < 6; ++c) {
    const float sum = warp.reduce(sums[c], Add());
    if (warp.member == 0) parts[warp.index * 6 + c] = sum;
  }
  block.sync();
  for (int c = block.thread; c < kInputChannels; c += block.threads()) {
    float total = 0;
    for (int i = 0; i < warp.count && c < 9; ++i) total += parts[i * 6 + c % 6];
    args.sums[(static_cast<long>(body) * args.joints + joint) * kInputChannels + c] = total;
  }
}

// block.x: joint; block.z: body.
template <class T>
struct NormaliseKernel {
  using Args = NormaliseArgs<T>;
  static constexpr int kThreads = 128;
  static constexpr int kBlocks = 1;
  static Grid grid(const Args& args) { return {args.joints, 1, args.body_count}; }
  static std::size_t shared_bytes(const Args&) { return kThreads / 32 * 6 * sizeof(float); }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    normalise(block, args, memory);
  }
};

struct HeadArgs {
  const float* sums = nullptr;                          // [body][chunk][joint][C], of the last block
  int chunks = 1, joints = 0, channels = 0, width = 0;  // padded, and not
  float scale = 1;                                      // 1 / (frames * joints * persons)
  const int* body_of = nullptr;  // [clip][person]: body, or -1 for a slot that is empty
  const float* empty = nullptr;  // [person][D]: features of empty slots
  float person_scale = 1;        // 1 / persons
  int clips = 0, persons = 0, classes = 0;
  const float *weight = nullptr, *bias = nullptr;
  float* logits = nullptr;    // [clip][K]
  float* features = nullptr;  // [clip][D]
};

constexpr int kHeadClasses = 8;  // of a block

SKI_EDGE_HD void head(const Block& block, const HeadArgs& args, char* memory) {
  float* const features = reinterpret_cast<float*>(memory);  // [D]
  const int clip = block.z;
  SKI_EDGE_UNROLL(1)
  for (int c = block.thread; c < args.width; c += block.threads()) {
    float total = 0;
    SKI_EDGE_UNROLL(1)
    for (int person = 0; person < args.persons; ++person) {
      const int body = args.body_of[clip * args.persons + person];
      if (body < 0) {
        total += args.empty[person * args.width + c] * args.person_scale;
        continue;
      }
      const float* const sums =
          args.sums + static_cast<long>(body) * args.chunks * args.joints * args.channels + c;
      float sum = 0;
      SKI_EDGE_UNROLL(25)
      for (int i = 0; i < args.chunks * args.joints; ++i) sum += sums[i * args.channels];
      total += sum * args.scale;
    }
    features[c] = total;
    if (block.x == 0) args.features[static_cast<long>(clip) * args.width + c] = total;
  }
  block.sync();
  SKI_EDGE_UNROLL(1)
  for (int i = block.warp(); i < kHeadClasses; i += block.warps()) {
    const int k = block.x * kHeadClasses + i;
    if (k >= args.classes) continue;
    float sum = 0;
#ifdef __CUDA_ARCH__
    SKI_EDGE_UNROLL(1)
    for (int c = block.thread % 32; c < args.width; c += 32)
      sum += args.weight[k * args.width + c] * features[c];
    SKI_EDGE_UNROLL(1)
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
#else
    SKI_EDGE_UNROLL(1)
    for (int c = 0; c < args.width; ++c) sum += args.weight[k * args.width + c] * features[c];
#endif
    if (block.thread % 32 == 0) args.logits[static_cast<long>(clip) * args.classes + k] = sum + args.bias[k];
  }
}

// block.x: classes; block.z: clip.
struct HeadKernel {
  using Args = HeadArgs;
  static constexpr int kThreads = 256;
  static constexpr int kBlocks = 1;
  static Grid grid(const Args& args) { return {ceil_div(args.classes, kHeadClasses), 1, args.clips}; }
  static std::size_t shared_bytes(const Args& args) {
    return static_cast<std::size_t>(args.width) * sizeof(float);
  }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    head(block, args, memory);
  }
};

}  // namespace ski_edge::cuda
