// The mean over joints and frames, and the layer after it; the contract is in ski_edge/ops/pool_head.h.
#include "cpu/simd.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (body): the mean of each channel.
void pool_head_means(const Activation& x, int body, float* features) {
  const float share = 1.0f / (static_cast<float>(x.frames) * static_cast<float>(x.joints));
  for (int c = 0; c < x.channels; ++c) {
    const float* row = x.body(body) + static_cast<long>(c) * x.columns();
    Vec lanes = Vec{};
    float sum = 0;
    for (int v = 0; v < x.joints; ++v) {
      for (int part = 0; part < x.parts(); ++part) {
        const float* at = row + v * x.joint_step() + part * x.part_step();
        int t = 0;
        for (; t + kLanes <= x.part_frames(part); t += kLanes) lanes += load(at + t);
        for (; t < x.part_frames(part); ++t) sum += at[t];
      }
    }
    sum += total(lanes);
    features[c] = sum * share;
  }
}

// Task (clip): the mean over its bodies, into the first one's row, and the scores.
void pool_head_classes(const PoolHeadArgs& args, int clip) {
  float* mean = args.pooled + static_cast<long>(clip) * args.persons * args.row;
  float* features = args.features + static_cast<long>(clip) * args.channels;
  float* logits = args.logits + static_cast<long>(clip) * args.classes;
  for (int c = 0; c < args.channels; ++c) {
    for (int m = 1; m < args.persons; ++m) mean[c] += mean[m * args.row + c];
    mean[c] /= static_cast<float>(args.persons);
    features[c] = mean[c];
  }
  for (int c = args.channels; c < args.row; ++c) mean[c] = 0;
  for (int k = 0; k < args.classes; ++k) {
    const float* weight = args.weight + static_cast<long>(k) * args.row;
    Vec lanes = Vec{};
    for (int c = 0; c < args.row; c += kLanes) lanes += load(weight + c) * load(mean + c);
    logits[k] = total(lanes) + args.bias[k];
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
