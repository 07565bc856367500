#include "ski_edge/ops/temporal.h"

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

namespace {

// [rows, channels, taps] -> panels with the depth ordered (tap, channel), each tap's channels filled up to
// whole steps.
void add_taps(Panels& panels, const float* weight, int rows, int channels, int taps, PanelFormat format) {
  const int each = steps(channels, format.pack) * format.pack;
  std::vector<float> ordered(product(rows * each, taps));
  for (int i = 0; i < rows; ++i) {
    for (int c = 0; c < channels; ++c) {
      for (int k = 0; k < taps; ++k) {
        ordered[product(i * taps + k, each) + static_cast<std::size_t>(c)] =
            weight[(i * channels + c) * taps + k];
      }
    }
  }
  panels.add(ordered.data(), rows, each * taps, format);
}

void check_time(const char* op, int stride, int taps, int most_taps) {
  check(stride == 1 || stride == 2, op, ": stride must be 1 or 2, got ", stride);
  check(taps >= 1 && taps <= most_taps && taps % 2 == 1, op, ": taps must be an odd number up to ", most_taps,
        ", got ", taps);
}

// Frames and residual fit x and the stride. The kernels read a strided residual's even part, which has the
// frames of y.
void check_run(const char* op, const Activation& x, const Activation& residual, const Activation& y,
               int stride, int residual_channels) {
  check(x.split == (stride == 2), op, ": x must be split exactly where the stride is 2, got stride ", stride,
        " and ", shape(x));
  const int frames = (x.frames + stride - 1) / stride;
  check(y.bodies == x.bodies && y.frames == frames, op, ": y must have ", x.bodies, " bodies and ", frames,
        " frames, got ", shape(y));
  if (residual.data == nullptr) return;
  check(residual.bodies == x.bodies && residual.channels == residual_channels &&
            residual.joints == x.joints && residual.frames == x.frames && residual.split == x.split,
        op, ": the residual must be [", x.bodies, ", ", residual_channels, ", ", x.joints, ", ", x.frames,
        "], laid out as x, got ", shape(residual));
}

int tasks(const char* op, const Activation& x, int per_task) {
  return task_count(op, {x.bodies, (x.joints + per_task - 1) / per_task});
}

// Rows of x's columns with zeros around them, see cpu/shifted.h.
std::size_t shifted_floats(const Activation& x, int rows, int joints) {
  return product(rows * joints, x.joint_step() + 8 * x.parts()) + kFrameAlignment;
}

// Columns as products take them, where those take pairs.
std::size_t packed_floats(const Activation& x, int channels, int joints, int pack) {
  return pack == 2 ? product(steps(channels, 2) * joints, x.joint_step()) : 0;
}

}  // namespace

MultiScaleTemporal::MultiScaleTemporal(const MultiScaleTemporalWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)),
      channels_(w.channels),
      width_(w.channels / 4),
      residual_channels_(w.skip != nullptr ? w.residual_channels : w.channels),
      stride_(w.stride),
      taps_(w.taps),
      relu_before_(w.relu_before) {
  constexpr const char* op = "multi_scale_temporal";
  check_size(op, "channels", w.channels, kMostChannels);
  check(w.channels % 4 == 0, op, ": channels must divide by the 4 branches, got ", w.channels);
  check_time(op, w.stride, w.taps, 5);
  check_given(op, "reduce", w.reduce), check_given(op, "reduce_bias", w.reduce_bias);
  for (const float* dilated : w.dilated) check_given(op, "dilated", dilated);
  check_given(op, "point", w.point), check_given(op, "pool_scale", w.pool_scale);
  check_given(op, "bias", w.bias);
  const PanelFormat rows = {kernels_->panel_rows, kernels_->pack};
  for (int branch = 0; branch < 3; ++branch) {
    reduce_.add(w.reduce + branch * width_ * channels_, width_, channels_, rows);
  }
  point_.add(w.point, width_, channels_, rows);
  for (const float* dilated : w.dilated) add_taps(dilated_, dilated, width_, width_, taps_, rows);
  skip_bias_ = Floats(product(1, channels_));
  if (w.skip != nullptr) {
    check_size(op, "residual_channels", w.residual_channels, kMostChannels);
    check_given(op, "skip_bias", w.skip_bias);
    for (int branch = 0; branch < 4; ++branch) {
      skip_.add(w.skip + branch * width_ * residual_channels_, width_, residual_channels_, rows);
    }
    skip_bias_ = Floats(w.skip_bias, product(1, channels_));
  }
  reduce_bias_ = Floats(w.reduce_bias, product(3, width_));
  bias_ = Floats(w.bias, product(1, channels_));
  pool_scale_ = Floats(w.pool_scale, product(1, width_));
}

std::size_t MultiScaleTemporal::scratch(const Activation& x, int joints) const {
  const int pack = kernels_->pack;
  return shifted_floats(x, 3 * steps(width_, pack), joints) + packed_floats(x, channels_, joints, pack) +
         packed_floats(x, residual_channels_, joints, pack);
}

std::size_t MultiScaleTemporal::workspace(const Activation& x, int threads) const {
  check_sizes("multi_scale_temporal", "x", x, channels_, x.joints);
  Pieces pieces(nullptr);
  const int joints = joints_per_task((x.frames + stride_ - 1) / stride_, x.joints);
  pieces.take_per_thread(scratch(x, joints), threads);
  return pieces.taken();
}

void MultiScaleTemporal::run(const Activation& x, const Activation& residual, const Activation& y,
                             float* workspace, ThreadPool& pool) const {
  constexpr const char* op = "multi_scale_temporal";
  check_activation(op, "x", x, channels_, x.joints);
  check_activation(op, "y", y, channels_, x.joints);
  check_run(op, x, residual, y, stride_, residual_channels_);
  check(skip_.views() != nullptr || residual.data == nullptr || stride_ == 1, op,
        ": a residual of another frame rate needs a convolution");
  cpu::TemporalArgs args{};
  args.x = x, args.residual = residual, args.y = y;
  args.stride = stride_, args.relu_before = relu_before_, args.width = width_, args.taps_count = taps_;
  args.reduce = reduce_.views(), args.taps = dilated_.views(), args.point = point_.views(),
  args.skip = skip_.views();
  args.reduce_bias = reduce_bias_.data(), args.bias = bias_.data();
  args.pool_scale = pool_scale_.data(), args.skip_bias = skip_bias_.data();
  args.joints_per_task = joints_per_task(y.frames, x.joints);
  Pieces pieces(workspace);
  const auto scratch = pieces.take_per_thread(this->scratch(x, args.joints_per_task), pool.threads());
  pool.run(tasks(op, x, args.joints_per_task),
           [&](int task, int thread) { kernels_->temporal(args, task, scratch[thread]); });
}

TapsConv::TapsConv(const TapsConvWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)),
      inputs_(w.inputs),
      outputs_(w.outputs),
      residual_channels_(w.skip != nullptr ? w.residual_channels : w.outputs),
      stride_(w.stride),
      taps_count_(w.taps) {
  constexpr const char* op = "taps_conv";
  check_size(op, "inputs", w.inputs, kMostChannels);
  check_size(op, "outputs", w.outputs, kMostChannels);
  check_time(op, w.stride, w.taps, 9);
  check_given(op, "weight", w.weight), check_given(op, "bias", w.bias);
  const PanelFormat format = {kernels_->panel_rows, kernels_->pack};
  add_taps(taps_, w.weight, outputs_, inputs_, taps_count_, format);
  if (w.skip != nullptr) {
    check_size(op, "residual_channels", w.residual_channels, kMostChannels);
    skip_.add(w.skip, outputs_, residual_channels_, format);
  }
  bias_ = Floats(w.bias, product(1, outputs_));
}

std::size_t TapsConv::scratch(const Activation& x, int joints) const {
  const int pack = kernels_->pack;
  return shifted_floats(x, steps(inputs_, pack), joints) + packed_floats(x, residual_channels_, joints, pack);
}

std::size_t TapsConv::workspace(const Activation& x, int threads) const {
  check_sizes("taps_conv", "x", x, inputs_, x.joints);
  Pieces pieces(nullptr);
  const int joints = joints_per_task((x.frames + stride_ - 1) / stride_, x.joints);
  pieces.take_per_thread(scratch(x, joints), threads);
  return pieces.taken();
}

void TapsConv::run(const Activation& x, const Activation& residual, const Activation& y, float* workspace,
                   ThreadPool& pool) const {
  constexpr const char* op = "taps_conv";
  check_activation(op, "x", x, inputs_, x.joints);
  check_activation(op, "y", y, outputs_, x.joints);
  check_run(op, x, residual, y, stride_, residual_channels_);
  check(skip_.views() != nullptr || residual.data == nullptr || stride_ == 1, op,
        ": a residual of another frame rate needs a convolution");
  cpu::TapsArgs args{};
  args.x = x, args.residual = residual, args.y = y;
  args.stride = stride_, args.taps_count = taps_count_;
  args.taps = taps_.views(), args.skip = skip_.views();
  args.bias = bias_.data();
  args.joints_per_task = joints_per_task(y.frames, x.joints);
  Pieces pieces(workspace);
  const auto scratch = pieces.take_per_thread(this->scratch(x, args.joints_per_task), pool.threads());
  pool.run(tasks(op, x, args.joints_per_task),
           [&](int task, int thread) { kernels_->taps(args, task, scratch[thread]); });
}

void TapsConv::step(const FrameActivation* x, const FrameActivation& residual, const FrameActivation& y,
                    ThreadPool& pool) const {
  constexpr const char* op = "taps_conv";
  check(kernels_->pack == 1, op, ": bfloat16 kernels do not run frame by frame");
  check(y.data != nullptr && y.channels == outputs_ && y.bodies >= 1 && y.joints >= 1 &&
            y.joints <= kMostJoints,
        op, ": a step gives ", outputs_, " channels of 1 to ", kMostJoints, " joints");
  const float* frames[9];
  for (int k = 0; k < taps_count_; ++k) {
    check(x[k].data != nullptr && x[k].channels == inputs_ && x[k].joints == y.joints &&
              x[k].bodies == y.bodies,
          op, ": frame ", k, " of a step must have ", inputs_, " channels and the joints and bodies of y");
    frames[k] = x[k].data;
  }
  check(residual.data == nullptr || (residual.channels == residual_channels_ && residual.joints == y.joints &&
                                     residual.bodies == y.bodies),
        op, ": the residual of a step must have ", residual_channels_,
        " channels and the joints and bodies of y");
  cpu::TapsStepArgs args{};
  args.frames = frames, args.residual = residual.data, args.y = y.data;
  args.bodies = y.bodies, args.inputs = inputs_, args.outputs = outputs_;
  args.residual_channels = residual_channels_, args.row = y.row(), args.taps_count = taps_count_;
  args.taps = taps_.views(), args.skip = skip_.views(), args.bias = bias_.data();
  const int panels = (outputs_ + kernels_->panel_rows - 1) / kernels_->panel_rows;
  pool.run(panels, [&](int task, int) { kernels_->taps_step(args, task); });
}

}  // namespace ski_edge
