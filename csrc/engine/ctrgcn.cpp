// CTR-GCN (ski_edge/models/ctrgcn.py).
#include "engine/network.h"
#include "ski_edge/check.h"

namespace ski_edge {

namespace {

void read_spatial(const Tensors& spatial, int inputs, int outputs, const NetworkSpec& spec,
                  BlockMaker& make) {
  const int subsets = spatial.axis("adjacency", 0), joints = spec.joints;
  const int relations = spatial.axis("relation.weight", 0) / (2 * subsets);
  const std::vector<float> relation = spatial.get("relation.weight", {2 * subsets * relations, inputs, 1, 1});
  const std::vector<float> relation_bias = spatial.get("relation.bias", {2 * subsets * relations});
  std::vector<float> expand = spatial.get("expand.weight", {subsets * outputs, relations, 1, 1});
  std::vector<float> expand_bias = spatial.get("expand.bias", {subsets * outputs});
  const std::vector<float> adjacency = spatial.get("adjacency", {subsets, joints, joints});
  const float gain = spatial.get("gain", {1})[0];
  for (float& x : expand) x *= gain;
  for (float& x : expand_bias) x *= gain;
  // All subsets of a channel share its norm's scale; the shift must not pass through the graphs.
  const Affine norm = read_norm(spatial.below("norm"), outputs);
  Affine repeated;
  for (int s = 0; s < subsets; ++s) {
    repeated.scale.insert(repeated.scale.end(), norm.scale.begin(), norm.scale.end());
    repeated.shift.insert(repeated.shift.end(), norm.shift.size(), 0.0f);
  }
  const Folded value = fold(spatial.get("value.weight", {subsets * outputs, inputs, 1, 1}),
                            spatial.get("value.bias", {subsets * outputs}), repeated);
  std::vector<float> shift = norm.shift;
  Folded shortcut;
  CtrGcWeights w;
  if (inputs != outputs) {
    shortcut = read_conv_norm(spatial.below("shortcut"), outputs, inputs);
    for (int c = 0; c < outputs; ++c)
      shift[static_cast<std::size_t>(c)] += shortcut.bias[static_cast<std::size_t>(c)];
    w.shortcut = shortcut.weight.data();
  }
  w.inputs = inputs, w.outputs = outputs, w.subsets = subsets, w.relations = relations, w.joints = joints;
  w.relation = relation.data(), w.relation_bias = relation_bias.data();
  w.expand = expand.data(), w.expand_bias = expand_bias.data();
  w.adjacency = adjacency.data(), w.shift = shift.data();
  w.value = value.weight.data(), w.value_bias = value.bias.data();
  make.spatial(w);
}

}  // namespace

int read_ctrgcn(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make) {
  check(spec.variant == "original" || spec.variant == "pyskl",
        "ctrgcn: variant must be original or pyskl, got '", spec.variant, "'");
  int inputs = 3;
  for (int i = 0; i < kBlocks; ++i) {
    const Tensors block = trunk.below(std::to_string(i));
    const int outputs = block.axis("spatial.norm.weight", 0), stride = stride_of(i);
    const bool residual = i > 0;
    read_spatial(block.below("spatial"), inputs, outputs, spec, make);
    read_multi_scale(block, inputs, outputs, stride, residual, spec.variant == "pyskl", make);
    make.block(inputs, outputs, stride, residual);
    inputs = outputs;
  }
  return inputs;
}

}  // namespace ski_edge
