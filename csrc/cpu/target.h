// The kernels of the instruction set that this file is compiled for.
#pragma once

#include "cpu/kernels.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

void ctr_gc_means(const CtrGcArgs& args, int task);
void ctr_gc_tangents(const CtrGcArgs& args, int task, float* scratch);
void ctr_gc_channels(const CtrGcArgs& args, int task, float* scratch);
void graph_conv_pack(const GraphConvArgs& args, int task);
void graph_conv(const GraphConvArgs& args, int task, float* scratch);
void hyperedge_attention(const HyperedgeAttentionArgs& args, int task, float* scratch);
void hyperedge_attention_groups(const HyperedgeAttentionArgs& args, int task);
void layer_norm(const LayerNormArgs& args, int task);
void multi_scale_temporal(const MultiScaleTemporalArgs& args, int task, float* scratch);
void taps_conv(const TapsConvArgs& args, int task, float* scratch);
void graph_conv_step(const GraphConvStepArgs& args, int task, float* scratch);
void taps_conv_step(const TapsConvStepArgs& args, int task);
void normalise(const NormaliseArgs& args, int body);
double peak(long rounds, float* out);
void pool_head_means(const Activation& x, int body, float* means);
void pool_head_classes(const PoolHeadArgs& args, int clip);

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
