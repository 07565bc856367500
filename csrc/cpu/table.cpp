#include "cpu/target.h"
#include "cpu/tile.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

extern const Kernels kTable = {kLanes,
                               kRows,
                               kPack,
                               ctr_gc_means,
                               ctr_gc_tangents,
                               ctr_gc_channels,
                               graph_conv_pack,
                               graph_conv,
                               hyperedge_attention,
                               hyperedge_attention_groups,
                               layer_norm,
                               multi_scale_temporal,
                               taps_conv,
                               graph_conv_step,
                               taps_conv_step,
                               normalise,
                               peak,
                               pool_head_means,
                               pool_head_classes};

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
