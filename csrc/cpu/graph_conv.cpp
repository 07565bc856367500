// Graph convolution with one graph for all channels; the contract is in ski_edge/ops/graph_conv.h.
#include "cpu/contract.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (body): channels as products take them; only where those are pairs.
void graph_conv_pack(const GraphConvArgs& args, int task) {
  const Activation& x = args.x;
  pack_channels(x.body(task), x.channels, x.columns(),
                args.packed + static_cast<long>(task) * packed(x.channels) * x.columns());
}

// Task (body, panel of channels). scratch: values and, with a shortcut convolution, its output.
void graph_conv(const GraphConvArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y;
  const int columns = x.columns(), step = x.joint_step();
  const Panel panel = panel_of(task, y.channels);
  const long value_step = static_cast<long>(args.subsets) * packed(x.joints) * step;
  float* own = scratch + kRows * value_step;
  const float* from = kPack == 2 ? args.packed + static_cast<long>(panel.body) * packed(x.channels) * columns
                                 : x.body(panel.body);
  panel_values({args.value, args.shortcut, args.value_bias, args.subsets, y.channels}, from, x, panel,
               scratch, own);
  const Graphs graphs = {args.graph, static_cast<long>(packed(x.joints)) * x.joints, x.joints, args.subsets};
  for (int i = 0; i < panel.rows; ++i) {
    const int c = panel.first + i;
    const float* add = args.shortcut != nullptr ? own + static_cast<long>(i) * columns
                       : args.identity          ? x.body(panel.body) + static_cast<long>(c) * columns
                                                : nullptr;
    contract(graphs, scratch + i * value_step, x.joints, step, args.shift[c], add,
             y.body(panel.body) + static_cast<long>(c) * columns);
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
