// What dispatch/ knows of cpu/: for every instruction set one table of kernels.
//
// A kernel does one task of an op; tasks are independent, so any thread may take any of them. Arguments were
// checked by the op; sizes are in floats. Plain structs and pointers only, see cpu/simd.h for why.
#pragma once

#include "ski_edge/activation.h"
#include "ski_edge/isa.h"
#include "ski_edge/panels.h"

namespace ski_edge::cpu {

struct CtrGcArgs {
  Activation x, y;
  int subsets, relations;
  const Matrix* relation;  // [subsets], and so on
  const Matrix* expand;
  const Matrix* value;
  const Matrix* shortcut;  // null: x itself
  const float *relation_bias, *expand_bias, *adjacency, *value_bias, *shift;
  float* means;     // [N][C][joint_row]: x averaged over time
  float* packed;    // [N][pairs of C][columns]: x as products take it, where those take pairs
  float* tangents;  // [N][S][R, packed][pair_row]: tanh(q_u - k_v), v before u
  int joint_row;    // V, padded
  int pair_row;     // V * V, padded, and one vector more for loads and stores that reach over the end
  long graph_step;  // floats of one refined graph
};

constexpr int kCtrGcMeanRows = 16;  // channels averaged per task

struct MultiScaleTemporalArgs {
  Activation x;         // what is convolved
  Activation residual;  // what is added, of y's frames where it is split; no data: nothing
  Activation y;
  int stride;            // 1, or 2: x is split
  bool relu_before;      // a ReLU before the residual is added
  int width;             // channels per branch
  int taps_count;        // frames of a convolution
  const Matrix* reduce;  // three of [width, C]
  const Matrix* taps;    // two of [width, taps * width], depth ordered (tap, channel)
  const Matrix* point;   // [width, C]
  const Matrix* skip;    // four of [width, residual channels]; null: the residual is added as it is
  const float *reduce_bias, *bias, *pool_scale, *skip_bias;  // bias: [4 width]
  int joints_per_task;
};

struct TapsConvArgs {
  Activation x, residual, y;
  int stride;
  int taps_count;
  const Matrix* taps;  // [C', taps * C]
  const Matrix* skip;  // [C', residual channels]; null: the residual is added as it is
  const float* bias;   // [C'], the skip's included
  int joints_per_task;
};

struct GraphConvArgs {
  Activation x, y;
  int subsets;
  const Matrix* value;     // [subsets]
  const Matrix* shortcut;  // null: none, or x itself where `identity`
  bool identity;
  const float* graph;  // [S][V, packed][V]: source, destination
  const float *value_bias, *shift;
  float least;    // of y: 0 for a ReLU
  float* packed;  // as CtrGcArgs'
};

struct HyperedgeAttentionArgs {
  Activation x, normed, groups, y;  // groups: x averaged over the joints of each group, "joints" are groups
  int heads_per_task, heads, hops;
  const Matrix* qkv;             // [heads] of [3 c, C]: queries, keys, values of a head
  const Matrix* group_features;  // [heads] of [c, C]
  const Matrix* hop_features;    // [heads] of [hops, c]
  const Matrix* project;         // groups of channels, each [width, width]
  int project_width;
  const Matrix* shortcut;        // one per group of `project`, [width, C]; null: x itself
  const float* qkv_bias;         // [heads][3 c]
  const float* group_weight;     // [heads][c]
  const float* attention_bias;   // [heads][V][V]
  const float* project_bias;     // [C']
  const int *group_of, *hop_of;  // [V], [V][V]
  float gain;
};

struct LayerNormArgs {
  Activation x, y;
  const float *weight, *bias;  // [C]; not read where `packed`
  bool packed;                 // y as products take it, without weight and bias
};

struct PoolHeadArgs {
  int persons, channels, classes, row;  // row: C, padded
  float* pooled;                        // [N][M][row]: means of bodies
  const float *weight, *bias;           // [K][row], [K]
  float *logits, *features;             // [N][K], [N][C]
};

struct NormaliseArgs {
  const float* x;
  long coordinate_step, frame_step, joint_step;
  const float *scale, *shift;  // [joint][coordinate]
  Activation y;
};

// One frame, all bodies: [N][C][row], joints side by side.
struct GraphConvStepArgs {
  const float* x;
  float* y;
  int bodies, inputs, outputs, joints, row, subsets;
  const Matrix* value;
  const Matrix* shortcut;
  bool identity;
  const float *graph, *value_bias, *shift;  // graph: [S][V][V], readable beyond its end by one vector
  float least;                              // as GraphConvArgs'
};

struct TapsConvStepArgs {
  const float* const* frames;  // [taps_count]: from the oldest to the newest, each [N][C][row]
  const float* residual;       // [N][channels of the residual][row], or null
  float* y;
  int bodies, inputs, outputs, residual_channels, row, taps_count;
  const Matrix* taps;
  const Matrix* skip;
  const float* bias;
};

// pack: how many rows of a matrix one step of a product takes. With 2, weights and columns are bfloat16.
struct Kernels {
  int lanes, panel_rows, pack;
  void (*ctr_gc_means)(const CtrGcArgs&, int task);
  void (*ctr_gc_tangents)(const CtrGcArgs&, int task, float* scratch);
  void (*ctr_gc_channels)(const CtrGcArgs&, int task, float* scratch);
  void (*graph_conv_pack)(const GraphConvArgs&, int task);
  void (*graph_conv)(const GraphConvArgs&, int task, float* scratch);
  void (*hyperedge_attention)(const HyperedgeAttentionArgs&, int task, float* scratch);
  void (*hyperedge_attention_groups)(const HyperedgeAttentionArgs&, int task);
  void (*layer_norm)(const LayerNormArgs&, int task);
  void (*multi_scale_temporal)(const MultiScaleTemporalArgs&, int task, float* scratch);
  void (*taps_conv)(const TapsConvArgs&, int task, float* scratch);
  void (*graph_conv_step)(const GraphConvStepArgs&, int task, float* scratch);
  void (*taps_conv_step)(const TapsConvStepArgs&, int task);
  void (*normalise)(const NormaliseArgs&, int body);
  double (*peak)(long rounds, float* out);
  void (*pool_head_means)(const Activation& x, int body, float* means);
  void (*pool_head_classes)(const PoolHeadArgs&, int clip);
};

const Kernels& kernels(Isa isa);

// Declared for all, defined for those in this build.
namespace scalar {
extern const Kernels kTable;
}
namespace baseline {
extern const Kernels kTable;
}
namespace avx2 {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
namespace avx512_bf16 {
extern const Kernels kTable;
}
namespace neon_bf16 {
extern const Kernels kTable;
}

}  // namespace ski_edge::cpu
