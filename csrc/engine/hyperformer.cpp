// Hyperformer (ski_edge/models/hyperformer.py).
#include <algorithm>

#include "engine/network.h"
#include "ski_edge/check.h"

namespace ski_edge {

namespace {

void read_attention(const Tensors& spatial, int inputs, int width, const NetworkSpec& spec,
                    BlockMaker& make) {
  const int joints = spec.joints, heads = spatial.axis("group_weight", 0);
  const int hops = spatial.axis("hop_features", 0);
  std::vector<float> qkv = spatial.get("qkv.weight", {3 * width, inputs, 1, 1});
  std::vector<float> qkv_bias(static_cast<std::size_t>(3 * width));
  // qkv(n * weight + bias) = (qkv * weight) n + qkv bias.
  const std::vector<float> weight = spatial.get("norm.weight", {inputs}),
                           bias = spatial.get("norm.bias", {inputs});
  for (std::size_t row = 0; row < qkv_bias.size(); ++row) {
    double sum = 0;
    for (std::size_t k = 0; k < weight.size(); ++k) {
      float& x = qkv[row * weight.size() + k];
      sum += static_cast<double>(x) * bias[k];
      x *= weight[k];
    }
    qkv_bias[row] = static_cast<float>(sum);
  }
  const std::vector<float> group_features = spatial.get("group_features.weight", {width, inputs, 1, 1});
  const std::vector<float> hop_features = spatial.get("hop_features", {hops, width});
  const std::vector<float> group_weight = spatial.get("group_weight", {heads, width / heads});
  const std::vector<float> attention_bias = spatial.get("bias", {heads, joints, joints});
  const int project_width = spatial.axis("project.weight", 1);
  check(project_width >= 1 && width % project_width == 0, "hyperformer: groups of ", project_width,
        " do not fill ", width);
  const std::vector<float> project = spatial.get("project.weight", {width, project_width, 1, 1});
  const std::vector<float> project_bias = spatial.get("project.bias", {width});
  HyperedgeAttentionWeights w;
  std::vector<float> shortcut;
  if (inputs != width) {
    shortcut = spatial.get("shortcut.weight", {width, inputs, 1, 1});
    w.shortcut = shortcut.data();
  }
  w.inputs = inputs, w.outputs = width, w.joints = joints, w.heads = heads, w.hops = hops;
  w.groups = *std::max_element(spec.group_of.begin(), spec.group_of.end()) + 1;
  w.project_groups = width / project_width;
  w.qkv = qkv.data(), w.qkv_bias = qkv_bias.data();
  w.group_features = group_features.data(), w.hop_features = hop_features.data();
  w.group_weight = group_weight.data(), w.attention_bias = attention_bias.data();
  w.project = project.data(), w.project_bias = project_bias.data();
  w.group_of = spec.group_of.data(), w.hop_of = spec.hop_of.data();
  w.gain = spatial.get("gain", {1})[0];
  make.spatial(w);
}

}  // namespace

int read_hyperformer(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make) {
  const auto joints = static_cast<std::size_t>(spec.joints);
  check(spec.group_of.size() == joints, "hyperformer: group_of must name a group for each of ", joints,
        " joints, got ", spec.group_of.size());
  check(spec.hop_of.size() == joints * joints, "hyperformer: hop_of must be ", joints, " x ", joints,
        ", got ", spec.hop_of.size(), " numbers");
  int inputs = 3;
  for (int i = 0; i < kBlocks; ++i) {
    const Tensors block = trunk.below(std::to_string(i));
    const int width = block.axis("spatial.project.weight", 0), stride = stride_of(i);
    read_attention(block.below("spatial"), inputs, width, spec, make);
    read_multi_scale(block, inputs, width, stride, true, false, make);
    make.block(inputs, width, stride, true);
    inputs = width;
  }
  return inputs;
}

}  // namespace ski_edge
