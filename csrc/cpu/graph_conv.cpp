// Graph convolution with one graph for all channels; the contract is in ski_edge/ops/graph_conv.h.
#include "cpu/contract.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (body, panel of channels). scratch: values and, with a shortcut convolution, its output.
void graph_conv(const GraphConvArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y;
  const int columns = x.columns(), joints = x.joints;
  const int panels = (y.channels + kRows - 1) / kRows;
  const int body = task / panels, panel = task % panels;
  const int rows = y.channels - panel * kRows < kRows ? y.channels - panel * kRows : kRows;
  float* own = scratch + static_cast<long>(kRows) * args.subsets * columns;
  panel_values(x, body, panel, rows, y.channels, args.subsets, args.value, args.value_bias, args.shortcut,
               scratch, own);
  for (int i = 0; i < rows; ++i) {
    const int c = panel * kRows + i;
    const float* add = args.shortcut != nullptr ? own + static_cast<long>(i) * columns
                       : args.identity          ? x.body(body) + static_cast<long>(c) * columns
                                                : nullptr;
    contract(args.graph, joints * joints, scratch + static_cast<long>(i) * args.subsets * columns, columns,
             args.subsets, joints, x.joint_step(), args.shift[c], add,
             y.body(body) + static_cast<long>(c) * columns);
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
