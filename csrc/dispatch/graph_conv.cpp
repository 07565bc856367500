#include "ski_edge/ops/graph_conv.h"

#include <limits>

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
      shortcut_kind_(w.shortcut),
      least_(w.relu ? 0 : std::numeric_limits<float>::lowest()) {
  check_size(kOp, "inputs", w.inputs, kMostChannels);
  check_size(kOp, "outputs", w.outputs, kMostChannels);
  check_size(kOp, "subsets", w.subsets, kMostSubsets);
  check_size(kOp, "joints", w.joints, kMostJoints);
  check(w.shortcut != Shortcut::identity || w.inputs == w.outputs, kOp, ": a shortcut from ", w.inputs,
        " to ", w.outputs, " channels needs a convolution");
  check_given(kOp, "graph", w.graph), check_given(kOp, "shift", w.shift);
  check_given(kOp, "value", w.value), check_given(kOp, "value_bias", w.value_bias);
  if (w.shortcut == Shortcut::convolution) check_given(kOp, "shortcut_weight", w.shortcut_weight);
  const PanelFormat format = {kernels_->panel_rows, kernels_->pack};
  for (int s = 0; s < subsets_; ++s) {
    value_.add(w.value + s * outputs_ * inputs_, outputs_, inputs_, format);
  }
  if (w.shortcut == Shortcut::convolution) shortcut_.add(w.shortcut_weight, outputs_, inputs_, format);
  const int pack = kernels_->pack, rows = steps(joints_, pack);
  graph_ =
      Floats(product(subsets_ * rows, joints_) + kFrameAlignment);  // `step` reads a vector beyond the end
  for (int s = 0; s < subsets_; ++s) {
    for (int row = 0; row < rows; ++row) {
      for (int u = 0; u < joints_; ++u) {
        const auto link = [&](int v) {
          return v < joints_ ? w.graph[(s * joints_ + v) * joints_ + u] : 0.0f;
        };
        graph_.data()[(s * rows + row) * joints_ + u] =
            pack == 2 ? bfloat16_pair(link(2 * row), link(2 * row + 1)) : link(row);
      }
    }
  }
  value_bias_ = Floats(w.value_bias, product(subsets_, outputs_));
  shift_ = Floats(w.shift, product(1, outputs_));
}

struct GraphConv::Layout {
  float* packed;
  Pieces::PerThread scratch;
  std::size_t taken;

  static Layout of(const GraphConv& op, const Activation& x, float* workspace, int threads) {
    const int rows = op.kernels_->panel_rows, pack = op.kernels_->pack;
    Pieces pieces(workspace);
    float* packed = pieces.take(pack == 2 ? product(x.bodies, steps(op.inputs_, 2), x.columns()) : 0);
    const std::size_t values = product(rows * op.subsets_ * steps(op.joints_, pack), x.joint_step());
    const Pieces::PerThread scratch = pieces.take_per_thread(values + product(rows, x.columns()), threads);
    return {packed, scratch, pieces.taken()};
  }
};

std::size_t GraphConv::workspace(const Activation& x, int threads) const {
  check_sizes(kOp, "x", x, inputs_, joints_);
  return Layout::of(*this, x, nullptr, threads).taken;
}

void GraphConv::run(const Activation& x, const Activation& y, float* workspace, ThreadPool& pool) const {
  check_activation(kOp, "x", x, inputs_, joints_);
  check_activation(kOp, "y", y, outputs_, joints_);
  check(x.bodies == y.bodies && x.frames == y.frames && x.split == y.split, kOp,
        ": y must have the bodies and frames of x ", shape(x), ", got ", shape(y));
  const Layout layout = Layout::of(*this, x, workspace, pool.threads());
  cpu::GraphConvArgs args{};
  args.x = x, args.y = y;
  args.subsets = subsets_;
  args.value = value_.views(), args.shortcut = shortcut_.views();
  args.identity = shortcut_kind_ == Shortcut::identity;
  args.packed = layout.packed;
  args.graph = graph_.data(), args.value_bias = value_bias_.data(), args.shift = shift_.data();
  args.least = least_;
  if (kernels_->pack == 2) pool.run(x.bodies, [&](int task, int) { kernels_->graph_conv_pack(args, task); });
  const int panels = (outputs_ + kernels_->panel_rows - 1) / kernels_->panel_rows;
  pool.run(task_count(kOp, {x.bodies, panels}),
           [&](int task, int thread) { kernels_->graph_conv(args, task, layout.scratch[thread]); });
}

std::size_t GraphConv::step_workspace(int joints, int threads) const {
  check_size(kOp, "joints", joints, kMostJoints);
  Pieces pieces(nullptr);
  pieces.take_per_thread(product(kernels_->panel_rows * subsets_, padded_frames(joints)), threads);
  return pieces.taken();
}

void GraphConv::step(const FrameActivation& x, const FrameActivation& y, float* workspace,
                     ThreadPool& pool) const {
  check(kernels_->pack == 1, kOp, ": bfloat16 kernels do not run frame by frame");
  check(x.data != nullptr && y.data != nullptr && x.channels == inputs_ && y.channels == outputs_ &&
            x.joints == joints_ && y.joints == joints_ && x.bodies >= 1 && x.bodies == y.bodies,
        kOp, ": a step takes ", inputs_, " channels and ", joints_, " joints of some bodies, and gives ",
        outputs_, " channels of as many");
  Pieces pieces(workspace);
  const auto scratch =
      pieces.take_per_thread(product(kernels_->panel_rows * subsets_, x.row()), pool.threads());
  cpu::GraphConvStepArgs args{};
  args.x = x.data, args.y = y.data;
  args.bodies = x.bodies, args.inputs = inputs_, args.outputs = outputs_, args.joints = joints_,
  args.row = x.row();
  args.subsets = subsets_;
  args.value = value_.views(), args.shortcut = shortcut_.views();
  args.identity = shortcut_kind_ == Shortcut::identity;
  args.graph = graph_.data(), args.value_bias = value_bias_.data(), args.shift = shift_.data();
  args.least = least_;
  const int panels = (outputs_ + kernels_->panel_rows - 1) / kernels_->panel_rows;
  pool.run(panels, [&](int task, int thread) { kernels_->graph_conv_step(args, task, scratch[thread]); });
}

}  // namespace ski_edge
