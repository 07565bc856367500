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
                               attention,
                               layer_norm,
                               temporal,
                               taps,
                               graph_step,
                               taps_step,
                               normalise,
                               peak,
                               pool};

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
