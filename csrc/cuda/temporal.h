// Convolutions over time (ops/temporal.h) on CUDA, with the residual that follows, and the sums over time
// that the next block's graphs want.
//
// A block computes one branch of one joint for some frames. A multi-scale temporal convolution has four
// branches; a plain one is cut into branches of 64 channels that reduce nothing.
#pragma once

#include "cuda/tile.h"

namespace ski_edge::cuda {

constexpr int kMostBranches = 16;
constexpr int kTemporalThreads = 256;

enum class Branch { taps, pool, point };

template <class T>
struct TemporalBranch {
  Branch kind = Branch::point;
  int first = 0, width = 0;  // channels of y; 16 * tiles >= width
  int taps = 1, dilation = 1;
  int finish_rows = 1;
  Divisor by_steps;                    // of 16 channels in a tap
  const T* reduce = nullptr;           // packed [W, C]; none: taps read x
  const float* reduce_bias = nullptr;  // [W]
  const T* weight = nullptr;           // packed: taps [W, taps * depth], point [W, C]
  const float* scale = nullptr;        // [W], of the pool
  const float* bias = nullptr;         // [W]
  const T* skip = nullptr;             // packed [W, residual channels]
  const float* skip_bias = nullptr;    // [W]

  SKI_EDGE_HD int tiles() const { return ceil_div(width, 16); }
  SKI_EDGE_HD int padding() const {
    return kind == Branch::point ? 0 : kind == Branch::pool ? 1 : taps / 2 * dilation;
  }
};

template <class T>
struct TemporalArgs {
  const T* x = nullptr;         // [body][frame][joint][C]
  const T* residual = nullptr;  // [body][frame][joint][residual channels]; none: nothing is added
  T* y = nullptr;               // [body][output frame][joint][outputs]
  float* sums = nullptr;        // [body][chunk][joint][outputs]
  const T* zeros = nullptr;     // C of them: a frame before the first
  int bodies = 0, frames = 0, joints = 0;
  int inputs = 0, outputs = 0, residual_channels = 0;  // padded channels
  int channels = 0;                                    // of y that are not padding
  int stride = 1, block_frames = 0, chunks = 1;
  Divisor by_chunks;
  int width = 0, reduced_frames = 0;  // of the largest branch
  bool relu_before = false;
  int branch_count = 0;
  TemporalBranch<T> branches[kMostBranches];

  // Whether 2 x 2 tiles fit, and are enough for all warps: they load half as much.
  bool large_tiles() const {
    bool fit = true;
    SKI_EDGE_UNROLL(1)
    for (int i = 0; i < branch_count; ++i) fit = fit && branches[i].tiles() % 2 == 0;
    return fit && width / 16 * (least(block_frames, output_frames()) / 8) >= 4 * kTemporalThreads / 32;
  }
  SKI_EDGE_HD int output_frames() const { return ceil_div(frames, stride); }

  // Frames of a block, and what follows from them.
  void cut(int frames_of_block) {
    block_frames = frames_of_block;
    chunks = ceil_div(output_frames(), block_frames), by_chunks = Divisor(chunks);
    width = reduced_frames = 0;
    SKI_EDGE_UNROLL(1)
    for (int i = 0; i < branch_count; ++i) {
      TemporalBranch<T>& branch = branches[i];
      width = most(width, branch.tiles() * 16);
      branch.by_steps = Divisor(branch.tiles());
      branch.finish_rows = most(1, kTemporalThreads / (branch.tiles() * 16));
      if (branch.reduce != nullptr) {
        reduced_frames = most(reduced_frames, (block_frames - 1) * stride + 1 + 2 * branch.padding());
      }
    }
  }
};

template <class T>
struct TemporalShared {
  T* reduced;    // [frames with padding][pitch(W)]
  float* out;    // [frames][W + 4]
  float* parts;  // sums of a thread's frames
  int reduced_pitch, out_pitch;
  std::size_t bytes;

  SKI_EDGE_HD TemporalShared(const TemporalArgs<T>& args, char* memory) {
    Shared shared(memory);
    const int width = args.width;
    out_pitch = width + 4;  // a warp's sums of 8 rows by 4 pairs of columns meet no bank twice
    reduced_pitch = pitch(width);
    reduced = shared.take<T>(args.reduced_frames * reduced_pitch);
    out = shared.take<float>(round_up(args.block_frames, 8) * out_pitch);
    parts = shared.take<float>(2 * kTemporalThreads);
    bytes = shared.taken();
  }
};

// What a block works on.
template <class T>
struct TemporalPlace {
  const TemporalArgs<T>& args;
  const TemporalBranch<T>& branch;
  int body, joint, first, frames;  // output frames

  // Channels of x at input frame t.
  SKI_EDGE_HD const T* x(int t) const {
    return args.x + ((static_cast<long>(body) * args.frames + t) * args.joints + joint) * args.inputs;
  }
  SKI_EDGE_HD const T* residual(int t) const {
    return args.residual +
           ((static_cast<long>(body) * args.frames + t) * args.joints + joint) * args.residual_channels;
  }
  // The input frame in the middle of output frame `first + n`, for any n a tile asks for.
  SKI_EDGE_HD int middle(int n) const { return (first + least(n, frames - 1)) * args.stride; }
};

// relu(reduce x + bias), zeros before the first frame and after the last.
template <class T, int MT, int NT>
SKI_EDGE_HD void reduce_frames(const Block& block, const TemporalPlace<T>& at,
                               const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const int width_pitch = shared.reduced_pitch, steps = args.inputs / 16;
  const int begin = at.first * args.stride - branch.padding();  // input frame of the first row
  const int count = (at.frames - 1) * args.stride + 1 + 2 * branch.padding();
  const int from = most(begin, 0), until = least(begin + count, args.frames);  // frames that exist
  const Team<8> rows(block);
  SKI_EDGE_UNROLL(1)
  for (int row = rows.index; row < count; row += rows.count) {
    if (begin + row >= from && begin + row < until) continue;
    SKI_EDGE_UNROLL(1)
    for (int i = rows.member; i < branch.tiles() * 16; i += rows.members) {
      shared.reduced[row * width_pitch + i] = from_float<T>(0.0f);
    }
  }
  const long tile_step = static_cast<long>(steps) * kTileNumbers;
  const int tile_rows = branch.tiles() / MT;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < tile_rows * ceil_div(until - from, NT * 8); unit += block.warps()) {
    const int column = unit / tile_rows * NT * 8, first_tile = (unit - unit / tile_rows * tile_rows) * MT;
    const float* const bias = branch.reduce_bias + first_tile * 16;
    Tile<T, MT, NT> tile([&](int row) { return bias[row]; });
    tile.template multiply<4, 7>(Packed<T>{branch.reduce + first_tile * tile_step, tile_step}, steps,
                  [&](int n) { return at.x(least(from + column + n, until - 1)); });
    tile.each(
        [&](int n) { return from + column + n < until ? (from - begin + column + n) * width_pitch : -1; },
        [&](int row, int place, float sum) {
          shared.reduced[place + first_tile * 16 + row] = from_float<T>(sum > 0 ? sum : 0.0f);
        });
  }
}

// What is added at the end, into shared.out: the residual, its convolution, or zeros.
template <class T, int MT, int NT>
SKI_EDGE_HD void add_residual(const Block& block, const TemporalPlace<T>& at,
                              const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  if (branch.skip == nullptr) {
    const Team<16> rows(block);
    SKI_EDGE_UNROLL(1)
    for (int channel = rows.member; channel < branch.tiles() * 16; channel += rows.members) {
      SKI_EDGE_UNROLL(8)
      for (int n = rows.index; n < at.frames; n += rows.count) {
        const bool some = args.residual != nullptr && channel < branch.width;
        shared.out[n * shared.out_pitch + channel] =
            some ? to_float(at.residual(at.middle(n))[branch.first + channel]) : 0.0f;
      }
    }
    return;
  }
  const int steps = args.residual_channels / 16, tile_rows = branch.tiles() / MT;
  const long tile_step = static_cast<long>(steps) * kTileNumbers;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < tile_rows * ceil_div(at.frames, NT * 8); unit += block.warps()) {
    const int column = unit / tile_rows * NT * 8, first_tile = (unit - unit / tile_rows * tile_rows) * MT;
    const float* const bias = branch.skip_bias + first_tile * 16;
    Tile<T, MT, NT> tile([&](int row) { return bias[row]; });
    tile.template multiply<4, 7>(Packed<T>{branch.skip + first_tile * tile_step, tile_step}, steps,
                  [&](int n) { return at.residual(at.middle(column + n)); });
    tile.each([&](int n) { return column + n < at.frames ? (column + n) * shared.out_pitch : -1; },
              [&](int row, int place, float sum) { shared.out[place + first_tile * 16 + row] = sum; });
  }
}

// Steps of a convolution: those of a tap's channels, then those of the next tap, whose frame lies further on.
struct Taps {
  const Divisor& by_steps;
  int tap_offset;

  SKI_EDGE_HD int operator()(int step) const {
    const int tap = step / by_steps;
    return tap * tap_offset + (step - tap * by_steps.by()) * 16;
  }
  SKI_EDGE_HD int ahead(int step, int steps) const { return (*this)(step + steps) - (*this)(step); }
};

// += the branch, in shared.out.
template <class T, int MT, int NT>
SKI_EDGE_HD void add_branch(const Block& block, const TemporalPlace<T>& at, const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const int width = branch.tiles() * 16, width_pitch = shared.reduced_pitch;
  const auto put = [&](float& out, float value) { out += args.relu_before && value < 0 ? 0.0f : value; };
  if (branch.kind == Branch::pool) {
    const Team<16> rows(block);
    SKI_EDGE_UNROLL(1)
    for (int channel = rows.member; channel < width; channel += rows.members) {
      const float scale = branch.scale[channel], bias = branch.bias[channel];
      SKI_EDGE_UNROLL(1)
      for (int n = rows.index; n < at.frames; n += rows.count) {
        const T* const reduced = shared.reduced + n * args.stride * width_pitch + channel;
        float largest = 0;  // nothing that was reduced is less
        SKI_EDGE_UNROLL(3)
        for (int tap = 0; tap < 3; ++tap) largest = Largest()(largest, to_float(reduced[tap * width_pitch]));
        put(shared.out[n * shared.out_pitch + channel], largest * scale + bias);
      }
    }
    return;
  }
  const int depth = branch.reduce != nullptr ? width : args.inputs, steps = depth / 16;
  const int taps = branch.kind == Branch::taps ? branch.taps : 1, tile_rows = branch.tiles() / MT;
  const long tile_step = static_cast<long>(taps) * steps * kTileNumbers;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < tile_rows * ceil_div(at.frames, NT * 8); unit += block.warps()) {
    const int column = unit / tile_rows * NT * 8, first_tile = (unit - unit / tile_rows * tile_rows) * MT;
    const T* const weight = branch.weight + first_tile * tile_step;
    const float* const bias = branch.bias + first_tile * 16;
    Tile<T, MT, NT> tile([&](int row) { return bias[row]; });
    if (branch.reduce != nullptr) {
      tile.template multiply_at<5, 4>(
          Packed<T>{weight, tile_step}, taps * steps,
          [&](int n) { return shared.reduced + least(column + n, at.frames - 1) * args.stride * width_pitch; },
          Taps{branch.by_steps, branch.dilation * width_pitch});
    } else {
      SKI_EDGE_UNROLL(1)
      for (int tap = 0; tap < taps; ++tap) {
        tile.template multiply<4>(Packed<T>{weight + static_cast<long>(tap) * steps * kTileNumbers, tile_step}, steps,
                      [&](int n) {
                        const int frame = at.middle(column + n) + (tap - taps / 2) * branch.dilation;
                        return frame >= 0 && frame < args.frames ? at.x(frame) : args.zeros;
                      });
      }
    }
    tile.each([&](int n) { return column + n < at.frames ? (column + n) * shared.out_pitch : -1; },
              [&](int row, int place, float sum) { put(shared.out[place + first_tile * 16 + row], sum); });
  }
}

// relu and out. A thread keeps to a channel, so that it can add up its frames; the last branch writes what
// pads y.
template <class T>
SKI_EDGE_HD void finish_frames(const Block& block, const TemporalPlace<T>& at,
                               const TemporalShared<T>& shared, int chunk) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const bool last = block.y == args.branch_count - 1;
  const int width = branch.width + (last ? args.outputs - args.channels : 0), rows = branch.finish_rows;
  const long frame_step = static_cast<long>(args.joints) * args.outputs;
  T* const y = args.y + (static_cast<long>(at.body) * args.output_frames() + at.first) * frame_step +
               at.joint * args.outputs + branch.first;
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < rows * width; i += block.threads()) {
    const int row = i / width, channel = i - row * width;
    float total = 0;
    SKI_EDGE_UNROLL(4)
    for (int n = row; n < at.frames; n += rows) {
      float value = channel < branch.width ? shared.out[n * shared.out_pitch + channel] : 0.0f;
      value = value > 0 ? value : 0.0f;
      total += value;
      y[n * frame_step + channel] = from_float<T>(value);
    }
    shared.parts[i] = total;
  }
  block.sync();
  float* const sums =
      args.sums +
      ((static_cast<long>(at.body) * args.chunks + chunk) * args.joints + at.joint) * args.outputs;
  SKI_EDGE_UNROLL(1)
  for (int channel = block.thread; channel < width; channel += block.threads()) {
    float total = 0;
    SKI_EDGE_UNROLL(4)
    for (int row = 0; row < rows; ++row) total += shared.parts[row * width + channel];
    sums[branch.first + channel] = total;
  }
}

template <class T, int MT, int NT>
SKI_EDGE_HD void temporal(const Block& block, const TemporalPlace<T>& at, const TemporalShared<T>& shared,
                          int chunk) {
  if (at.branch.reduce != nullptr) reduce_frames<T, MT, NT>(block, at, shared);
  add_residual<T, MT, NT>(block, at, shared);
  block.sync();
  add_branch<T, MT, NT>(block, at, shared);
  block.sync();
  finish_frames(block, at, shared, chunk);
}

// block.x: joint and chunk of frames; block.y: branch; block.z: body. A warp takes N x N tiles at a time.
template <class T, int N>
struct TemporalKernel {
  using Args = TemporalArgs<T>;
  static constexpr int kThreads = kTemporalThreads;
  static Grid grid(const Args& args) { return {args.joints * args.chunks, args.branch_count, args.bodies}; }
  static std::size_t shared_bytes(const Args& args) { return TemporalShared<T>(args, nullptr).bytes; }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    const TemporalShared<T> shared(args, memory);
    const int joint = block.x / args.by_chunks, chunk = block.x - joint * args.chunks;
    const int first = chunk * args.block_frames;
    const TemporalPlace<T> at{args,    args.branches[block.y],
                              block.z, joint,
                              first,   least(args.block_frames, args.output_frames() - first)};
    temporal<T, N, N>(block, at, shared, chunk);
  }
};

}  // namespace ski_edge::cuda
