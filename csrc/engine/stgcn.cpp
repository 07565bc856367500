// ST-GCN in both forms (ski_edge/models/stgcn.py) and CTRS-GCN (ski_edge/models/ctrsgcn.py).
#include <cmath>

#include "engine/network.h"
#include "ski_edge/check.h"

namespace ski_edge {

namespace {

std::size_t at(long i) { return static_cast<std::size_t>(i); }

// relu(norm(sum over subsets of value_k(x) @ A_k)).
void read_partition(const Tensors& spatial, int inputs, int outputs, const std::vector<float>& graph,
                    int subsets, int joints, BlockMaker& make) {
  const Affine norm = read_norm(spatial.below("norm"), outputs);
  Affine repeated;
  for (int s = 0; s < subsets; ++s) {
    repeated.scale.insert(repeated.scale.end(), norm.scale.begin(), norm.scale.end());
    repeated.shift.insert(repeated.shift.end(), norm.shift.size(), 0.0f);
  }
  const Folded value = fold(spatial.get("value.weight", {subsets * outputs, inputs, 1, 1}),
                            spatial.get("value.bias", {subsets * outputs}), repeated);
  GraphConvWeights w;
  w.inputs = inputs, w.outputs = outputs, w.subsets = subsets, w.joints = joints;
  w.graph = graph.data(), w.value = value.weight.data(), w.value_bias = value.bias.data(),
  w.shift = norm.shift.data();
  make.spatial(w);
}

// relu(norm(sum over subsets of conv_k(x @ A_k) + bias) + shortcut): the subsets' convolutions lie side by
// side.
void read_mixed(const Tensors& spatial, int inputs, int outputs, const std::vector<float>& graph, int subsets,
                int joints, BlockMaker& make) {
  const std::vector<float> conv = spatial.get("conv.weight", {outputs, subsets * inputs, 1, 1});
  const std::vector<float> bias = spatial.get("bias", {subsets, outputs});
  const Affine norm = read_norm(spatial.below("norm"), outputs);
  std::vector<float> value(conv.size()), shift = norm.shift, none(at(subsets * outputs), 0.0f);
  for (int c = 0; c < outputs; ++c) {
    for (int s = 0; s < subsets; ++s) {
      shift[at(c)] += bias[at(s * outputs + c)] * norm.scale[at(c)];
      for (int k = 0; k < inputs; ++k) {
        value[at((s * outputs + c) * inputs + k)] =
            conv[at((c * subsets + s) * inputs + k)] * norm.scale[at(c)];
      }
    }
  }
  GraphConvWeights w;
  Folded shortcut;
  w.shortcut = Shortcut::identity;
  if (inputs != outputs) {
    shortcut = read_conv_norm(spatial.below("shortcut"), outputs, inputs);
    for (int c = 0; c < outputs; ++c) shift[at(c)] += shortcut.bias[at(c)];
    w.shortcut = Shortcut::convolution, w.shortcut_weight = shortcut.weight.data();
  }
  w.inputs = inputs, w.outputs = outputs, w.subsets = subsets, w.joints = joints;
  w.graph = graph.data(), w.value = value.data(), w.value_bias = none.data(), w.shift = shift.data();
  make.spatial(w);
}

void read_taps(const Tensors& block, int inputs, int outputs, int stride, bool residual, BlockMaker& make) {
  const Tensors conv = block.below("temporal.conv");
  const int taps = conv.axis("weight", 2);
  Folded folded = fold(conv.get("weight", {outputs, outputs, taps, 1}), conv.get("bias", {outputs}),
                       read_norm(block.below("temporal.norm"), outputs));
  TapsConvWeights w;
  w.inputs = w.outputs = outputs, w.residual_channels = inputs, w.stride = stride, w.taps = taps;
  Folded skip;
  if (residual && (inputs != outputs || stride != 1)) {
    skip = read_conv_norm(block.below("skip"), outputs, inputs);
    for (int c = 0; c < outputs; ++c) folded.bias[at(c)] += skip.bias[at(c)];
    w.skip = skip.weight.data();
  }
  w.weight = folded.weight.data(), w.bias = folded.bias.data();
  make.temporal(w);
}

}  // namespace

int read_stgcn(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make) {
  const bool original = spec.variant == "original";
  check(original || spec.variant == "continual", "stgcn: variant must be original or continual, got '",
        spec.variant, "'");
  const int joints = spec.joints, subsets = trunk.axis("adjacency", 0);
  const std::vector<float> adjacency = trunk.get("adjacency", {subsets, joints, joints});
  int inputs = 3;
  for (int i = 0; i < kBlocks; ++i) {
    const Tensors block = trunk.below("blocks." + std::to_string(i));
    const Tensors spatial = block.below("spatial");
    const int outputs = block.axis("spatial.norm.weight", 0), stride = stride_of(i);
    std::vector<float> graph = spatial.get("importance", {subsets, joints, joints});
    for (std::size_t k = 0; k < graph.size(); ++k) graph[k] *= adjacency[k];
    const auto read_spatial = original ? read_partition : read_mixed;
    read_spatial(spatial, inputs, outputs, graph, subsets, joints, make);
    read_taps(block, inputs, outputs, stride, i > 0, make);
    make.block(inputs, outputs, stride, i > 0);
    inputs = outputs;
  }
  return inputs;
}

int read_ctrsgcn(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make) {
  int inputs = 3;
  for (int i = 0; i < kBlocks; ++i) {
    const Tensors block = trunk.below(std::to_string(i));
    const Tensors spatial = block.below("spatial");
    const int outputs = block.axis("spatial.norm.weight", 0), stride = stride_of(i), joints = spec.joints;
    const int subsets = spatial.axis("adjacency", 0);
    std::vector<float> graph = spatial.get("adjacency", {subsets, joints, joints});
    for (int s = 0; s < subsets; ++s) {
      for (int w = 0; w < joints; ++w) {  // columns are scaled to length one
        double square = 0;
        for (int v = 0; v < joints; ++v) square += std::pow(graph[at((s * joints + v) * joints + w)], 2);
        const auto scale = static_cast<float>(1 / (std::sqrt(square) + 1e-4));
        for (int v = 0; v < joints; ++v) graph[at((s * joints + v) * joints + w)] *= scale;
      }
    }
    read_mixed(spatial, inputs, outputs, graph, subsets, joints, make);
    read_taps(block, inputs, outputs, stride, i > 0, make);
    make.block(inputs, outputs, stride, i > 0);
    inputs = outputs;
  }
  return inputs;
}

}  // namespace ski_edge
