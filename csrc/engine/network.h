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

// Takes a network apart block by block: a device makes its ops of what it is given. Tensors of the weights
// live until the call returns. Per block: one spatial op, one temporal op, `block`.
class BlockMaker {
 public:
  virtual ~BlockMaker() = default;
  virtual void spatial(const CtrGcWeights& weights) = 0;
  virtual void spatial(const GraphConvWeights& weights) = 0;
  virtual void spatial(const HyperedgeAttentionWeights& weights) = 0;
  virtual void temporal(const MultiScaleTemporalWeights& weights) = 0;
  virtual void temporal(const TapsConvWeights& weights) = 0;
  // relu(temporal(spatial(x)) + skip(x)), [N, inputs, V, T] -> [N, outputs, V, T / stride].
  virtual void block(int inputs, int outputs, int stride, bool residual) = 0;
};

// What a network is besides its blocks.
struct Ends {
  std::vector<float> scale, shift;     // of the input, [M, V, 3]
  std::vector<float> head, head_bias;  // [classes, features], [classes]
  int features = 0;
};

// Hands all blocks to `make`, in order.
Ends read_network(const SafeTensors& file, const NetworkSpec& spec, BlockMaker& make);

// Blocks of each family; give the width of the last.
int read_ctrgcn(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make);
int read_stgcn(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make);
int read_ctrsgcn(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make);
int read_hyperformer(const Tensors& trunk, const NetworkSpec& spec, BlockMaker& make);

// The multi-scale temporal convolution of block `block`, with its residual.
void read_multi_scale(const Tensors& block, int inputs, int channels, int stride, bool residual,
                      bool relu_before, BlockMaker& make);

// Ops of the CPU.
struct Block {
  std::variant<CtrGc, GraphConv, HyperedgeAttention> spatial;
  std::variant<MultiScaleTemporal, TapsConv> temporal;
  int inputs, outputs, stride;
  bool residual;
};
struct Network : Ends {
  std::vector<Block> blocks;
};
Network read_network(const SafeTensors& file, const NetworkSpec& spec, Isa isa);

constexpr int kBlocks = 10;
inline int stride_of(int block) { return block == 4 || block == 7 ? 2 : 1; }

}  // namespace ski_edge
