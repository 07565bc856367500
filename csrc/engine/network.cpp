#include "engine/network.h"

#include <optional>

#include "ski_edge/check.h"

namespace ski_edge {

std::string why_not_engine(const std::string& model) {
  if (model == "ctrgcn" || model == "ctrsgcn" || model == "stgcn" || model == "hyperformer") return "";
  if (model == "hdgcn") {
    return "hdgcn picks each joint's nearest neighbours while it runs: two almost equal distances choose "
           "differently "
           "in every implementation, so parity cannot be promised; use the onnxruntime backend";
  }
  return "the native engine has no network called " + model;
}

void read_multi_scale(const Tensors& block, int inputs, int channels, int stride, bool residual,
                      bool relu_before, BlockMaker& make) {
  const Tensors temporal = block.below("temporal");
  const int width = channels / 4;
  const Folded reduce =
      fold(temporal.get("reduce.weight", {3 * width, channels, 1, 1}),
           temporal.get("reduce.bias", {3 * width}), read_norm(temporal.below("reduce_norm"), 3 * width));
  const Affine norm = read_norm(temporal.below("norm"), channels);
  const auto part = [&](int branch) {
    const auto cut = [&](const std::vector<float>& all) {
      return std::vector<float>(all.begin() + branch * width, all.begin() + (branch + 1) * width);
    };
    return Affine{cut(norm.scale), cut(norm.shift)};
  };
  Folded dilated[2];
  for (int i = 0; i < 2; ++i) {
    const Tensors conv = temporal.below("dilated." + std::to_string(i));
    dilated[i] = fold(conv.get("weight", {width, width, 5, 1}), conv.get("bias", {width}), part(i));
  }
  const Affine pool = part(2);
  const Folded point = fold(temporal.get("point.weight", {width, channels, 1, 1}),
                            temporal.get("point.bias", {width}), part(3));
  std::vector<float> bias;
  for (const std::vector<float>& each : {dilated[0].bias, dilated[1].bias, pool.shift, point.bias}) {
    bias.insert(bias.end(), each.begin(), each.end());
  }
  MultiScaleTemporalWeights w;
  w.channels = channels, w.residual_channels = inputs, w.stride = stride;
  w.reduce = reduce.weight.data(), w.reduce_bias = reduce.bias.data();
  w.dilated[0] = dilated[0].weight.data(), w.dilated[1] = dilated[1].weight.data();
  w.point = point.weight.data(), w.pool_scale = pool.scale.data(), w.bias = bias.data();
  w.relu_before = relu_before;
  Folded skip;
  if (residual && (inputs != channels || stride != 1)) {
    skip = read_conv_norm(block.below("skip"), channels, inputs);
    w.skip = skip.weight.data(), w.skip_bias = skip.bias.data();
  }
  make.temporal(w);
}

namespace {

class CpuBlocks final : public BlockMaker {
 public:
  explicit CpuBlocks(Isa isa) : isa_(isa) {}
  void spatial(const CtrGcWeights& weights) override { spatial_ = CtrGc(weights, spatial_isa()); }
  void spatial(const GraphConvWeights& weights) override { spatial_ = GraphConv(weights, spatial_isa()); }
  void spatial(const HyperedgeAttentionWeights& weights) override {
    spatial_ = HyperedgeAttention(weights, spatial_isa());
  }
  void temporal(const MultiScaleTemporalWeights& weights) override {
    temporal_ = MultiScaleTemporal(weights, isa_);
  }
  void temporal(const TapsConvWeights& weights) override { temporal_ = TapsConv(weights, isa_); }
  void block(int inputs, int outputs, int stride, bool residual) override {
    made.push_back({std::move(*spatial_), std::move(*temporal_), inputs, outputs, stride, residual});
  }

  std::vector<Block> made;

 private:
  // The first block's graph convolution reads coordinates: bfloat16 would round them to millimetres, and
  // saves nothing on three channels.
  Isa spatial_isa() const { return made.empty() ? float32_isa(isa_) : isa_; }

  Isa isa_;
  std::optional<std::variant<CtrGc, GraphConv, HyperedgeAttention>> spatial_;
  std::optional<std::variant<MultiScaleTemporal, TapsConv>> temporal_;
};

}  // namespace

Network read_network(const SafeTensors& file, const NetworkSpec& spec, Isa isa) {
  CpuBlocks blocks(isa);
  Network network;
  static_cast<Ends&>(network) = read_network(file, spec, blocks);
  network.blocks = std::move(blocks.made);
  return network;
}

Ends read_network(const SafeTensors& file, const NetworkSpec& spec, BlockMaker& make) {
  const std::string reason = why_not_engine(spec.model);
  check(reason.empty(), reason);
  check(spec.joints >= 1 && spec.joints <= 256, "joints must be 1 to 256, got ", spec.joints);
  check(spec.persons >= 1 && spec.persons <= 16, "persons must be 1 to 16, got ", spec.persons);
  check(spec.classes >= 1 && spec.classes <= 100000, "classes must be 1 to 100000, got ", spec.classes);
  const Tensors all(file, "");
  const Tensors trunk = all.below("trunk");
  Ends network;
  network.features = spec.model == "ctrgcn"    ? read_ctrgcn(trunk, spec, make)
                     : spec.model == "stgcn"   ? read_stgcn(trunk, spec, make)
                     : spec.model == "ctrsgcn" ? read_ctrsgcn(trunk, spec, make)
                                               : read_hyperformer(trunk, spec, make);
  // ST-GCN's original form has one set of input statistics for all slots.
  const int shared = spec.joints * 3, slots = all.axis("input_norm.weight", 0) == shared ? 1 : spec.persons;
  const Affine norm = read_norm(all.below("input_norm"), slots * shared);
  for (int slot = 0; slot < spec.persons; ++slot) {
    const int first = slots == 1 ? 0 : slot * shared;
    network.scale.insert(network.scale.end(), norm.scale.begin() + first,
                         norm.scale.begin() + first + shared);
    network.shift.insert(network.shift.end(), norm.shift.begin() + first,
                         norm.shift.begin() + first + shared);
  }
  network.head = all.get("head.weight", {spec.classes, network.features});
  network.head_bias = all.get("head.bias", {spec.classes});
  return network;
}

}  // namespace ski_edge
