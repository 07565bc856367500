// A network as a list of blocks, each ops with folded weights.
#pragma once

#include <variant>
#include <vector>

#include "engine/fold.h"
#include "ski_edge/engine.h"
#include "ski_edge/ops/ctr_gc.h"
#include "ski_edge/ops/graph_conv.h"
#include "ski_edge/ops/hyperedge_attention.h"
#include "ski_edge/ops/multi_scale_temporal.h"
#include "ski_edge/ops/taps_conv.h"

namespace ski_edge {

// relu(temporal(spatial(x)) + skip(x)), [N, C, V, T] -> [N, C', V, T'].
struct Block {
  std::variant<CtrGc, GraphConv, HyperedgeAttention> spatial;
  std::variant<MultiScaleTemporal, TapsConv> temporal;
  int inputs, outputs, stride;
  bool residual;
};

struct Network {
  std::vector<float> scale, shift;  // of the input, [M, V, 3]
  std::vector<Block> blocks;
  std::vector<float> head, head_bias;  // [classes, features], [classes]
  int features = 0;
};

Network read_network(const SafeTensors& file, const NetworkSpec& spec, Isa isa);

// Blocks of each family; `width` is the output of the first block.
std::vector<Block> read_ctrgcn(const Tensors& trunk, const NetworkSpec& spec, Isa isa);
std::vector<Block> read_stgcn(const Tensors& trunk, const NetworkSpec& spec, Isa isa);
std::vector<Block> read_ctrsgcn(const Tensors& trunk, const NetworkSpec& spec, Isa isa);
std::vector<Block> read_hyperformer(const Tensors& trunk, const NetworkSpec& spec, Isa isa);

// The multi-scale temporal convolution of block `block`, with its residual.
MultiScaleTemporal read_multi_scale(const Tensors& block, int inputs, int channels, int stride, bool residual,
                                    bool relu_before, Isa isa);

// The first block's graph convolution reads coordinates: bfloat16 would round them to millimetres, and saves
// nothing on three channels.
inline Isa spatial_isa(int block, Isa isa) { return block == 0 ? float32_isa(isa) : isa; }

constexpr int kBlocks = 10;
inline int stride_of(int block) { return block == 4 || block == 7 ? 2 : 1; }

}  // namespace ski_edge
