// How a clip enters a network; the contract is in ski_edge/ops/edges.h.
#include "cpu/simd.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

void normalise(const NormaliseArgs& args, int body) {
  const Activation& y = args.y;
  for (int c = 0; c < y.channels; ++c) {
    for (int v = 0; v < y.joints; ++v) {
      const float scale = args.scale[v * y.channels + c], shift = args.shift[v * y.channels + c];
      const float* from = args.x + c * args.coordinate_step + v * args.joint_step;
      float* to = y.body(body) + static_cast<long>(c) * y.columns() + v * y.joint_step();
      for (int t = 0; t < y.frames; ++t) to[t] = from[t * args.frame_step] * scale + shift;
      for (int t = y.frames; t < y.joint_step(); ++t) to[t] = 0;
    }
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
