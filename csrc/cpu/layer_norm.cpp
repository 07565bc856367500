// LayerNorm over channels; the contract is in ski_edge/ops/layer_norm.h.
#include "cpu/simd.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

namespace {

constexpr float kEpsilon = 1e-5f;
constexpr int kChunk =
    32;  // joints whose sums are kept at a time: rows are read along the joints, as they lie

}  // namespace

// Task (body, vector of frames).
void layer_norm(const LayerNormArgs& args, int task) {
  const Activation &x = args.x, &y = args.y;
  const int vectors = x.joint_step() / kLanes;
  const int body = task / vectors, column = task % vectors * kLanes;
  const long row = x.columns();
  const float share = 1.0f / static_cast<float>(x.channels);
  for (int first = 0; first < x.joints; first += kChunk) {
    const int count = x.joints - first < kChunk ? x.joints - first : kChunk;
    const float* from = x.body(body) + first * x.joint_step() + column;
    float* to = y.body(body) + first * x.joint_step() + column;
    Vec mean[kChunk], scale[kChunk];
    for (int v = 0; v < count; ++v) mean[v] = scale[v] = Vec{};
    for (int c = 0; c < x.channels; ++c) {
      for (int v = 0; v < count; ++v) mean[v] += load(from + c * row + v * x.joint_step());
    }
    for (int v = 0; v < count; ++v) mean[v] *= share;
    for (int c = 0; c < x.channels; ++c) {
      for (int v = 0; v < count; ++v) {
        const Vec d = load(from + c * row + v * x.joint_step()) - mean[v];
        scale[v] += d * d;
      }
    }
    for (int v = 0; v < count; ++v) {
      scale[v] = scale[v] * share + kEpsilon;
      for (int i = 0; i < kLanes; ++i) scale[v][i] = 1.0f / __builtin_sqrtf(scale[v][i]);
    }
    const auto normed = [&](int c, int v) {
      return (load(from + c * row + v * x.joint_step()) - mean[v]) * scale[v];
    };
    if (args.packed) {
      for (int c = 0; c < x.channels; c += kPack) {
        for (int v = 0; v < count; ++v) {
          const auto of_channel = [&](int channel) { return normed(channel, v); };
          store(to + c / kPack * row + v * x.joint_step(), pack_rows(of_channel, c, x.channels));
        }
      }
      continue;
    }
    for (int c = 0; c < x.channels; ++c) {
      const float weight = args.weight[c], bias = args.bias[c];
      for (int v = 0; v < count; ++v) store(to + c * row + v * x.joint_step(), normed(c, v) * weight + bias);
    }
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
