#include "ski_edge/ops/ctr_gc.h"

#include <algorithm>

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

namespace {

constexpr const char* kOp = "ctr_gc";

int joint_row(int joints) { return padded_frames(joints); }
int pair_row(int joints) { return padded_frames(joints * joints) + kFrameAlignment; }

}  // namespace

CtrGc::CtrGc(const CtrGcWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)),
      inputs_(w.inputs),
      outputs_(w.outputs),
      subsets_(w.subsets),
      relations_(w.relations),
      joints_(w.joints) {
  check_size(kOp, "inputs", w.inputs, kMostChannels);
  check_size(kOp, "outputs", w.outputs, kMostChannels);
  check_size(kOp, "subsets", w.subsets, kMostSubsets);
  check_size(kOp, "relations", w.relations, kMostChannels);
  check_size(kOp, "joints", w.joints, kMostJoints);
  check(w.shortcut != nullptr || w.inputs == w.outputs, kOp, ": a shortcut from ", w.inputs, " to ",
        w.outputs, " channels needs a convolution");
  check_given(kOp, "relation", w.relation), check_given(kOp, "relation_bias", w.relation_bias);
  check_given(kOp, "expand", w.expand), check_given(kOp, "expand_bias", w.expand_bias);
  check_given(kOp, "adjacency", w.adjacency), check_given(kOp, "shift", w.shift);
  check_given(kOp, "value", w.value), check_given(kOp, "value_bias", w.value_bias);
  const PanelFormat plain = {kernels_->panel_rows, 1}, format = {kernels_->panel_rows, kernels_->pack};
  const int half = subsets_ * relations_;
  relation_bias_ = Floats(product(2, half));
  adjacency_ = Floats(product(subsets_, pair_row(joints_)));
  std::vector<float> pair(product(2 * relations_, inputs_));
  for (int s = 0; s < subsets_; ++s) {
    // Queries of the subset, then its keys.
    for (const int i : {0, 1}) {
      const int first = i * half + s * relations_;
      std::copy_n(w.relation + first * inputs_, relations_ * inputs_, pair.data() + i * relations_ * inputs_);
      std::copy_n(w.relation_bias + first, relations_, relation_bias_.data() + (2 * s + i) * relations_);
    }
    relation_.add(pair.data(), 2 * relations_, inputs_, plain);
    expand_.add(w.expand + s * outputs_ * relations_, outputs_, relations_, format);
    value_.add(w.value + s * outputs_ * inputs_, outputs_, inputs_, format);
    for (int u = 0; u < joints_; ++u) {
      for (int v = 0; v < joints_; ++v) {
        adjacency_.data()[s * pair_row(joints_) + v * joints_ + u] =
            w.adjacency[(s * joints_ + u) * joints_ + v];
      }
    }
  }
  if (w.shortcut != nullptr) shortcut_.add(w.shortcut, outputs_, inputs_, format);
  expand_bias_ = Floats(w.expand_bias, product(subsets_, outputs_));
  value_bias_ = Floats(w.value_bias, product(subsets_, outputs_));
  shift_ = Floats(w.shift, product(1, outputs_));
}

struct CtrGc::Layout {
  float *means, *packed, *tangents;
  long graph_step;
  Pieces::PerThread scratch;
  std::size_t taken;

  static Layout of(const CtrGc& op, const Activation& x, float* workspace, int threads) {
    const int rows = op.kernels_->panel_rows, pack = op.kernels_->pack, pairs = pair_row(op.joints_);
    const long graph_step = pack == 2 ? steps(op.joints_, 2) * joint_row(op.joints_) : pairs;
    Pieces pieces(workspace);
    float* means = pieces.take(product(x.bodies, op.inputs_, joint_row(op.joints_)));
    float* packed = pieces.take(pack == 2 ? product(x.bodies, steps(op.inputs_, 2), x.columns()) : 0);
    float* tangents = pieces.take(product(x.bodies, op.subsets_, steps(op.relations_, pack), pairs));
    const std::size_t values = product(rows * op.subsets_ * steps(op.joints_, pack), x.joint_step());
    const std::size_t channels =
        product(rows * op.subsets_, graph_step) + values + product(rows, x.columns());
    const std::size_t relations =
        product(2 * op.relations_ + rows, joint_row(op.joints_)) + product(pack - 1, pairs);
    const Pieces::PerThread scratch = pieces.take_per_thread(std::max(channels, relations), threads);
    return {means, packed, tangents, graph_step, scratch, pieces.taken()};
  }
};

std::size_t CtrGc::workspace(const Activation& x, int threads) const {
  check_sizes(kOp, "x", x, inputs_, joints_);
  return Layout::of(*this, x, nullptr, threads).taken;
}

void CtrGc::run(const Activation& x, const Activation& y, float* workspace, ThreadPool& pool) const {
  check_activation(kOp, "x", x, inputs_, joints_);
  check_activation(kOp, "y", y, outputs_, joints_);
  check(x.bodies == y.bodies && x.frames == y.frames && x.split == y.split, kOp,
        ": y must have the bodies and frames of x ", shape(x), ", got ", shape(y));
  const Layout layout = Layout::of(*this, x, workspace, pool.threads());
  cpu::CtrGcArgs args{};
  args.x = x, args.y = y;
  args.subsets = subsets_, args.relations = relations_;
  args.relation = relation_.views(), args.expand = expand_.views(), args.value = value_.views();
  args.shortcut = shortcut_.views();
  args.relation_bias = relation_bias_.data(), args.expand_bias = expand_bias_.data();
  args.adjacency = adjacency_.data(), args.value_bias = value_bias_.data(), args.shift = shift_.data();
  args.means = layout.means, args.packed = layout.packed, args.tangents = layout.tangents;
  args.graph_step = layout.graph_step;
  args.joint_row = joint_row(joints_), args.pair_row = pair_row(joints_);

  const int groups = (inputs_ + cpu::kCtrGcMeanRows - 1) / cpu::kCtrGcMeanRows;
  pool.run(task_count(kOp, {x.bodies, groups}), [&](int task, int) { kernels_->ctr_gc_means(args, task); });
  pool.run(task_count(kOp, {x.bodies, subsets_}),
           [&](int task, int thread) { kernels_->ctr_gc_tangents(args, task, layout.scratch[thread]); });
  const int panels = (outputs_ + kernels_->panel_rows - 1) / kernels_->panel_rows;
  pool.run(task_count(kOp, {x.bodies, panels}),
           [&](int task, int thread) { kernels_->ctr_gc_channels(args, task, layout.scratch[thread]); });
}

}  // namespace ski_edge
