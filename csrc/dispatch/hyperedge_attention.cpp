#include "ski_edge/ops/hyperedge_attention.h"

#include <algorithm>

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

namespace {

constexpr const char* kOp = "hyperedge_attention";
constexpr int kMostLanes = 16, kQueries = 4;  // of any kernel

}  // namespace

HyperedgeAttention::HyperedgeAttention(const HyperedgeAttentionWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)),
      inputs_(w.inputs),
      outputs_(w.outputs),
      joints_(w.joints),
      heads_(w.heads),
      groups_(w.groups),
      hops_(w.hops),
      project_groups_(w.project_groups),
      gain_(w.gain) {
  check_size(kOp, "inputs", w.inputs, kMostChannels);
  check_size(kOp, "outputs", w.outputs, kMostChannels);
  check_size(kOp, "joints", w.joints, kMostJoints);
  check_size(kOp, "heads", w.heads, w.outputs);
  check_size(kOp, "groups", w.groups, w.joints);
  check_size(kOp, "hops", w.hops, w.joints);
  check_size(kOp, "project_groups", w.project_groups, w.outputs);
  check(w.outputs % w.heads == 0 && w.outputs % w.project_groups == 0, kOp, ": ", w.outputs,
        " outputs must divide by heads (", w.heads, ") and project_groups (", w.project_groups, ")");
  check(w.shortcut != nullptr || w.inputs == w.outputs, kOp, ": a shortcut from ", w.inputs, " to ",
        w.outputs, " channels needs a convolution");
  check_given(kOp, "qkv", w.qkv), check_given(kOp, "qkv_bias", w.qkv_bias);
  check_given(kOp, "group_features", w.group_features), check_given(kOp, "hop_features", w.hop_features);
  check_given(kOp, "group_weight", w.group_weight), check_given(kOp, "attention_bias", w.attention_bias);
  check_given(kOp, "project", w.project), check_given(kOp, "project_bias", w.project_bias);
  check_given(kOp, "group_of", w.group_of), check_given(kOp, "hop_of", w.hop_of);
  const int c = outputs_ / heads_, width = outputs_ / project_groups_;
  const PanelFormat plain = {kernels_->panel_rows, 1}, rows = {kernels_->panel_rows, kernels_->pack};
  heads_per_task_ = 1;
  while (heads_ % heads_per_task_ != 0 || heads_per_task_ * c % width != 0) ++heads_per_task_;
  group_of_.assign(w.group_of, w.group_of + joints_);
  hop_of_.assign(w.hop_of, w.hop_of + joints_ * joints_);
  for (const int group : group_of_)
    check(group >= 0 && group < groups_, kOp, ": group ", group, " is not one of ", groups_);
  for (int group = 0; group < groups_; ++group) {
    check(std::count(group_of_.begin(), group_of_.end(), group) > 0, kOp, ": group ", group, " has no joint");
  }
  for (const int hop : hop_of_) check(hop >= 0 && hop < hops_, kOp, ": hop ", hop, " is not one of ", hops_);

  qkv_bias_ = Floats(product(3, outputs_));
  std::vector<float> own(product(3 * c, inputs_)), table(product(hops_, c));
  for (int h = 0; h < heads_; ++h) {
    for (int part = 0; part < 3; ++part) {
      const int first = part * outputs_ + h * c;
      std::copy_n(w.qkv + first * inputs_, c * inputs_, own.data() + part * c * inputs_);
      std::copy_n(w.qkv_bias + first, c, qkv_bias_.data() + (3 * h + part) * c);
    }
    for (int hop = 0; hop < hops_; ++hop)
      std::copy_n(w.hop_features + hop * outputs_ + h * c, c, table.data() + hop * c);
    qkv_.add(own.data(), 3 * c, inputs_, rows);
    group_features_.add(w.group_features + h * c * inputs_, c, inputs_, rows);
    hop_features_.add(table.data(), hops_, c, plain);
  }
  for (int group = 0; group < project_groups_; ++group) {
    project_.add(w.project + group * width * width, width, width, rows);
    if (w.shortcut != nullptr) shortcut_.add(w.shortcut + group * width * inputs_, width, inputs_, plain);
  }
  group_weight_ = Floats(w.group_weight, product(1, outputs_));
  attention_bias_ = Floats(w.attention_bias, product(heads_, joints_, joints_));
  project_bias_ = Floats(w.project_bias, product(1, outputs_));
}

struct HyperedgeAttention::Layout {
  Activation normed, groups;
  Pieces::PerThread scratch;
  std::size_t taken;

  static Layout of(const HyperedgeAttention& op, const Activation& x, float* workspace, int threads) {
    Pieces pieces(workspace);
    Activation normed = x, groups = x;
    normed.data = pieces.take(normed.floats());
    groups.joints = op.groups_;
    groups.data = pieces.take(groups.floats());
    const long c = op.outputs_ / op.heads_, width = op.outputs_ / op.project_groups_, joints = op.joints_;
    const long head = 3 * c * joints + c * op.groups_ + op.groups_ + op.hops_ * kQueries + kQueries * joints;
    // Once its heads are done, a task packs what `project` reads where a head was.
    const long packed = op.kernels_->pack == 2 ? steps(static_cast<int>(width), 2) * joints : 0;
    const long all = op.heads_per_task_ * c * joints + 2 * width * joints + std::max(head, packed);
    return {normed, groups, pieces.take_per_thread(product(all, kMostLanes), threads), pieces.taken()};
  }
};

std::size_t HyperedgeAttention::workspace(const Activation& x, int threads) const {
  check_sizes(kOp, "x", x, inputs_, joints_);
  return Layout::of(*this, x, nullptr, threads).taken;
}

void HyperedgeAttention::run(const Activation& x, const Activation& y, float* workspace,
                             ThreadPool& pool) const {
  check_activation(kOp, "x", x, inputs_, joints_);
  check_activation(kOp, "y", y, outputs_, joints_);
  check(x.bodies == y.bodies && x.frames == y.frames && x.split == y.split, kOp,
        ": y must have the bodies and frames of x ", shape(x), ", got ", shape(y));
  const Layout layout = Layout::of(*this, x, workspace, pool.threads());
  cpu::HyperedgeAttentionArgs args{};
  args.x = x, args.y = y, args.normed = layout.normed, args.groups = layout.groups;
  args.heads_per_task = heads_per_task_, args.heads = heads_, args.hops = hops_;
  args.qkv = qkv_.views(), args.group_features = group_features_.views(),
  args.hop_features = hop_features_.views();
  args.project = project_.views(), args.project_width = outputs_ / project_groups_;
  args.shortcut = shortcut_.views();
  args.qkv_bias = qkv_bias_.data(), args.group_weight = group_weight_.data();
  args.attention_bias = attention_bias_.data(), args.project_bias = project_bias_.data();
  args.group_of = group_of_.data(), args.hop_of = hop_of_.data();
  args.gain = gain_;
  const cpu::LayerNormArgs norm = {x, layout.normed, nullptr, nullptr, true};
  const int vectors = x.joint_step() / kernels_->lanes;
  pool.run(task_count(kOp, {x.bodies, vectors}), [&](int task, int) {
    kernels_->layer_norm(norm, task);
    kernels_->hyperedge_attention_groups(args, task);
  });
  pool.run(task_count(kOp, {x.bodies, vectors, heads_ / heads_per_task_}),
           [&](int task, int thread) { kernels_->hyperedge_attention(args, task, layout.scratch[thread]); });
}

}  // namespace ski_edge
