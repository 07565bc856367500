// The kernels of the instruction set that this file is compiled for.
#pragma once

#include "cpu/kernels.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

void ctr_gc_means(const CtrGcArgs& args, int task);
void ctr_gc_tangents(const CtrGcArgs& args, int task, float* scratch);
void ctr_gc_channels(const CtrGcArgs& args, int task, float* scratch);
void graph_conv_pack(const GraphConvArgs& args, int task);
void graph_conv(const GraphConvArgs& args, int task, float* scratch);
void attention(const AttentionArgs& args, int task, float* scratch);
void layer_norm(const AttentionArgs& args, int task);
void temporal(const TemporalArgs& args, int task, float* scratch);
void taps(const TapsArgs& args, int task, float* scratch);
void graph_step(const GraphStepArgs& args, int task, float* scratch);
void taps_step(const TapsStepArgs& args, int task);
void normalise(const NormaliseArgs& args, int body);
double peak(long rounds, float* out);
void pool(const Activation& x, int body, float* features);

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
