#include "ski_edge/ops/taps_conv.h"

#include "cpu/kernels.h"
#include "dispatch/over_time.h"

namespace ski_edge {

namespace {
constexpr const char* kOp = "taps_conv";
}

TapsConv::TapsConv(const TapsConvWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)),
      inputs_(w.inputs),
      outputs_(w.outputs),
      residual_channels_(w.skip != nullptr ? w.residual_channels : w.outputs),
      stride_(w.stride),
      taps_count_(w.taps) {
  check_size(kOp, "inputs", w.inputs, kMostChannels);
  check_size(kOp, "outputs", w.outputs, kMostChannels);
  check_time(kOp, w.stride, w.taps, 9);
  check_given(kOp, "weight", w.weight), check_given(kOp, "bias", w.bias);
  const PanelFormat format = {kernels_->panel_rows, kernels_->pack};
  add_taps(taps_, w.weight, outputs_, inputs_, taps_count_, format);
  if (w.skip != nullptr) {
    check_size(kOp, "residual_channels", w.residual_channels, kMostChannels);
    skip_.add(w.skip, outputs_, residual_channels_, format);
  }
  bias_ = Floats(w.bias, product(1, outputs_));
}

std::size_t TapsConv::scratch(const Activation& x, int joints) const {
  const int pack = kernels_->pack;
  return shifted_floats(x, steps(inputs_, pack), joints) + packed_floats(x, residual_channels_, joints, pack);
}

std::size_t TapsConv::workspace(const Activation& x, int threads) const {
  check_sizes(kOp, "x", x, inputs_, x.joints);
  Pieces pieces(nullptr);
  const int joints = joints_per_task((x.frames + stride_ - 1) / stride_, x.joints);
  pieces.take_per_thread(scratch(x, joints), threads);
  return pieces.taken();
}

void TapsConv::run(const Activation& x, const Activation& residual, const Activation& y, float* workspace,
                   ThreadPool& pool) const {
  check_activation(kOp, "x", x, inputs_, x.joints);
  check_activation(kOp, "y", y, outputs_, x.joints);
  check_run(kOp, x, residual, y, stride_, residual_channels_);
  check(skip_.views() != nullptr || residual.data == nullptr || stride_ == 1, kOp,
        ": a residual of another frame rate needs a convolution");
  cpu::TapsConvArgs args{};
  args.x = x, args.residual = residual, args.y = y;
  args.stride = stride_, args.taps_count = taps_count_;
  args.taps = taps_.views(), args.skip = skip_.views();
  args.bias = bias_.data();
  args.joints_per_task = joints_per_task(y.frames, x.joints);
  Pieces pieces(workspace);
  const auto scratch = pieces.take_per_thread(this->scratch(x, args.joints_per_task), pool.threads());
  pool.run(tasks(kOp, x, args.joints_per_task),
           [&](int task, int thread) { kernels_->taps_conv(args, task, scratch[thread]); });
}

void TapsConv::step(const FrameActivation* x, const FrameActivation& residual, const FrameActivation& y,
                    ThreadPool& pool) const {
  check(kernels_->pack == 1, kOp, ": bfloat16 kernels do not run frame by frame");
  check(y.data != nullptr && y.channels == outputs_ && y.bodies >= 1 && y.joints >= 1 &&
            y.joints <= kMostJoints,
        kOp, ": a step gives ", outputs_, " channels of 1 to ", kMostJoints, " joints");
  const float* frames[9];
  for (int k = 0; k < taps_count_; ++k) {
    check(x[k].data != nullptr && x[k].channels == inputs_ && x[k].joints == y.joints &&
              x[k].bodies == y.bodies,
          kOp, ": frame ", k, " of a step must have ", inputs_, " channels and the joints and bodies of y");
    frames[k] = x[k].data;
  }
  check(residual.data == nullptr || (residual.channels == residual_channels_ && residual.joints == y.joints &&
                                     residual.bodies == y.bodies),
        kOp, ": the residual of a step must have ", residual_channels_,
        " channels and the joints and bodies of y");
  cpu::TapsConvStepArgs args{};
  args.frames = frames, args.residual = residual.data, args.y = y.data;
  args.bodies = y.bodies, args.inputs = inputs_, args.outputs = outputs_;
  args.residual_channels = residual_channels_, args.row = y.row(), args.taps_count = taps_count_;
  args.taps = taps_.views(), args.skip = skip_.views(), args.bias = bias_.data();
  const int panels = (outputs_ + kernels_->panel_rows - 1) / kernels_->panel_rows;
  pool.run(panels, [&](int task, int) { kernels_->taps_conv_step(args, task); });
}

}  // namespace ski_edge
