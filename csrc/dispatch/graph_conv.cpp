#include "ski_edge/ops/graph_conv.h"

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

namespace {
constexpr const char* kOp = "graph_conv";
}

GraphConv::GraphConv(const GraphConvWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)),
      inputs_(w.inputs),
      outputs_(w.outputs),
      subsets_(w.subsets),
      joints_(w.joints),
      shortcut_kind_(w.shortcut) {
  check_size(kOp, "inputs", w.inputs, kMostChannels);
  check_size(kOp, "outputs", w.outputs, kMostChannels);
  check_size(kOp, "subsets", w.subsets, 16);
  check_size(kOp, "joints", w.joints, kMostJoints);
  check(w.shortcut != Shortcut::identity || w.inputs == w.outputs, kOp, ": a shortcut from ", w.inputs,
        " to ", w.outputs, " channels needs a convolution");
  for (int s = 0; s < subsets_; ++s) {
    value_.add(w.value + s * outputs_ * inputs_, outputs_, inputs_, kernels_->panel_rows);
  }
  if (w.shortcut == Shortcut::convolution)
    shortcut_.add(w.shortcut_weight, outputs_, inputs_, kernels_->panel_rows);
  graph_ = Floats(w.graph, product(subsets_, joints_ * joints_));
  value_bias_ = Floats(w.value_bias, product(subsets_, outputs_));
  shift_ = Floats(w.shift, product(1, outputs_));
}

std::size_t GraphConv::workspace(const Activation& x, int threads) const {
  Pieces pieces(nullptr);
  pieces.take_per_thread(product(kernels_->panel_rows * (subsets_ + 1), x.columns()), threads);
  return pieces.taken();
}

void GraphConv::run(const Activation& x, const Activation& y, float* workspace, ThreadPool& pool) const {
  check_activation(kOp, "x", x, inputs_, joints_);
  check_activation(kOp, "y", y, outputs_, joints_);
  check(x.bodies == y.bodies && x.frames == y.frames && x.split == y.split, kOp,
        ": y must have the bodies and frames of x ", shape(x), ", got ", shape(y));
  Pieces pieces(workspace);
  const auto scratch =
      pieces.take_per_thread(product(kernels_->panel_rows * (subsets_ + 1), x.columns()), pool.threads());
  cpu::GraphConvArgs args{};
  args.x = x, args.y = y;
  args.subsets = subsets_;
  args.value = value_.views(), args.shortcut = shortcut_.views();
  args.identity = shortcut_kind_ == Shortcut::identity;
  args.graph = graph_.data(), args.value_bias = value_bias_.data(), args.shift = shift_.data();
  const int panels = (outputs_ + kernels_->panel_rows - 1) / kernels_->panel_rows;
  pool.run(x.bodies * panels,
           [&](int task, int thread) { kernels_->graph_conv(args, task, scratch[thread]); });
}

}  // namespace ski_edge
