// Convolutions over time (ops/multi_scale_temporal.h, ops/taps_conv.h) on CUDA, with the residual that
// follows, and the sums over time that the next block's graphs want.
//
// A block computes one branch of one or two joints for some frames. A multi-scale temporal convolution has
// four branches; a plain one is cut into branches of 64 channels that reduce nothing.
#pragma once

#include "cuda/tile.h"

namespace ski_edge::cuda {

constexpr int kMostBranches = 16;
constexpr int kTemporalThreads = 512;
constexpr int kMostFinishRows = 16;

enum class Branch { taps, pool, point };

template <class T>
struct TemporalBranch {
  Branch kind = Branch::point;
  int first = 0, width = 0;  // channels of y; 16 * tiles >= width
  int taps = 1, dilation = 1;
  const T* reduce = nullptr;           // packed [W, C]; none: taps read x
  const float* reduce_bias = nullptr;  // [W]
  const T* weight = nullptr;           // packed: taps [W, taps * depth], point [W, C]
  const float* scale = nullptr;        // [W], of the pool
  const float* bias = nullptr;         // [W]
  const T* skip = nullptr;             // packed [W, residual channels]
  const float* skip_bias = nullptr;    // [W]
  // Set by TemporalArgs::cut.
  int together = 1;                                     // channels that lie side by side: 4, 2 or 1
  int finish_rows = 1;                                  // threads that share a joint's channels at the end
  Divisor by_steps, by_tile_rows, by_groups, by_slots;  // of `together` channels: a joint's, a block's

  SKI_EDGE_HD int tiles() const { return ceil_div(width, 16); }
  SKI_EDGE_HD int padding() const {
    return kind == Branch::point ? 0 : kind == Branch::pool ? 1 : taps / 2 * dilation;
  }
};

template <class T>
struct TemporalArgs {
  const T* x = nullptr;         // columns (joint, frame), frames of a joint to a multiple of 8
  const T* residual = nullptr;  // columns (frame, joint); none: nothing is added
  T* y = nullptr;               // columns (output frame, joint)
  float* sums = nullptr;        // [body][chunk][joint][outputs]
  const T* zeros = nullptr;     // as many as a column of x spans: a frame before the first
  int bodies = 0, frames = 0, joints = 0;
  int inputs = 0, outputs = 0, residual_channels = 0;  // padded channels
  int channels = 0;                                    // of y that are not padding
  int stride = 1;
  bool relu_before = false;
  int branch_count = 0;
  // Set by `cut`.
  int block_frames = 0, block_joints = 1, chunks = 1, tile = 1;
  int width = 0, reduced_frames = 0;  // of the largest branch
  Divisor by_chunks, by_block_frames;
  TemporalBranch<T> branches[kMostBranches];

  SKI_EDGE_HD int output_frames() const { return ceil_div(frames, stride); }
  SKI_EDGE_HD long x_body_step() const { return static_cast<long>(joints) * round_up(frames, 8) * inputs; }
  SKI_EDGE_HD long residual_body_step() const {
    return static_cast<long>(round_up(frames * joints, 8)) * residual_channels;
  }
  SKI_EDGE_HD long y_body_step() const {
    return static_cast<long>(round_up(output_frames() * joints, 8)) * outputs;
  }

  // Frames (a multiple of 8) and joints of a block, and what follows from them.
  void cut(int frames_of_block, int joints_of_block) {
    block_frames = frames_of_block, block_joints = joints_of_block;
    chunks = ceil_div(output_frames(), block_frames), by_chunks = Divisor(chunks);
    by_block_frames = Divisor(block_frames);
    width = reduced_frames = 0;
    bool even = true;
    for (int i = 0; i < branch_count; ++i) even = even && branches[i].tiles() % 2 == 0;
    for (int i = 0; i < branch_count; ++i) width = most(width, branches[i].tiles() * 16);
    // 2 x 2 tiles load half as much, where they leave enough for all warps.
    tile = even && width / 16 * (block_joints * block_frames / 8) >= 2 * kTemporalThreads / 32 ? 2 : 1;
    for (int i = 0; i < branch_count; ++i) {
      TemporalBranch<T>& branch = branches[i];
      const auto fours = [](int n) { return n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1; };
      branch.together = least(fours(branch.first), fours(branch.width));
      const int slots = block_joints * branch.width / branch.together;
      branch.finish_rows = most(1, least(kMostFinishRows, kTemporalThreads / slots));
      branch.by_steps = Divisor(branch.tiles()), branch.by_tile_rows = Divisor(branch.tiles() / tile);
      branch.by_groups = Divisor(branch.width / branch.together), branch.by_slots = Divisor(slots);
      if (branch.reduce != nullptr) {
        reduced_frames = most(reduced_frames, (block_frames - 1) * stride + 1 + 2 * branch.padding());
      }
    }
  }
};

template <class T>
struct TemporalShared {
  T* reduced;    // [joint][frames with padding][pitch(W)]
  float* out;    // [joint][frame][W + 4]
  float* parts;  // [row][slot][channel]: sums of a thread's frames
  int reduced_pitch, out_pitch;
  std::size_t bytes;

  SKI_EDGE_HD TemporalShared(const TemporalArgs<T>& args, char* memory) {
    Shared shared(memory);
    out_pitch = args.width + 4;  // a warp's sums of 8 rows by 4 pairs of columns meet no bank twice
    reduced_pitch = pitch(args.width);
    reduced = shared.take<T>(args.block_joints * args.reduced_frames * reduced_pitch);
    out = shared.take<float>(args.block_joints * args.block_frames * out_pitch);
    parts = shared.take<float>(most(kTemporalThreads * 4, args.block_joints * args.width));
    bytes = shared.taken();
  }
};

// What a block works on.
template <class T>
struct TemporalPlace {
  const TemporalArgs<T>& args;
  const TemporalBranch<T>& branch;
  int body, first_joint, joints, first, frames;  // output frames

  // Where joint j's column of input frame t begins.
  SKI_EDGE_HD const T* x(int j, int t) const {
    return args.x + body * args.x_body_step() +
           place_of((first_joint + j) * round_up(args.frames, 8) + t, 0, args.inputs);
  }
  SKI_EDGE_HD const T* residual(int j, int t, int channel) const {
    return args.residual + body * args.residual_body_step() +
           place_of(t * args.joints + first_joint + j, channel, args.residual_channels);
  }
  // The input frame in the middle of output frame `first + n`, for any n a tile asks for.
  SKI_EDGE_HD int middle(int n) const { return (first + least(n, frames - 1)) * args.stride; }
};

// A warp's share of a product: N tile rows by N * 8 columns of a joint.
struct TemporalUnit {
  int first_tile, joint, column;

  SKI_EDGE_HD TemporalUnit(int unit, const Divisor& by_tile_rows, int per_joint, int n) {
    int rest = unit / by_tile_rows;
    first_tile = (unit - rest * by_tile_rows.by()) * n;
    joint = 0;
    SKI_EDGE_UNROLL(1)
    for (; rest >= per_joint; rest -= per_joint) ++joint;
    column = rest * n * 8;
  }
};

// relu(reduce x + bias), zeros before the first frame and after the last.
template <class T, int N>
SKI_EDGE_HD void reduce_frames(const Block& block, const TemporalPlace<T>& at,
                               const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const int width_pitch = shared.reduced_pitch, steps = args.inputs / 16;
  const int begin = at.first * args.stride - branch.padding();  // input frame of the first row
  const int count = (at.frames - 1) * args.stride + 1 + 2 * branch.padding();
  const int from = most(begin, 0), until = least(begin + count, args.frames);  // frames that exist
  const int before = from - begin, outside = before + begin + count - until;
  SKI_EDGE_UNROLL(1)
  for (int i = block.warp(); i < at.joints * outside; i += block.warps()) {
    const int j = i / outside, place = i - j * outside;
    const int row = place < before ? place : until - begin + place - before;
    T* const to = shared.reduced + (j * args.reduced_frames + row) * width_pitch;
    const Team<32> team(block);
    SKI_EDGE_UNROLL(1)
    for (int c = team.member; c < branch.tiles() * 16; c += team.members) to[c] = from_float<T>(0.0f);
  }
  const long tile_step = static_cast<long>(steps) * kTileNumbers;
  const int first = from / 8 * 8;  // whole blocks of columns
  const int per_joint = ceil_div(until - first, N * 8),
            units = at.joints * per_joint * branch.by_tile_rows.by();
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < units; unit += block.warps()) {
    const TemporalUnit of(unit, branch.by_tile_rows, per_joint, N);
    const float* const bias = branch.reduce_bias + of.first_tile * 16;
    Tile<T, N, N> tile([&](int row) { return bias[row]; });
    tile.template multiply_at<4, 7>(
        Packed<T>{branch.reduce + of.first_tile * tile_step, tile_step}, steps,
        [&](int n) { return at.x(of.joint, least(first + of.column + n, until - 1)); }, Across());
    T* const to = shared.reduced + of.joint * args.reduced_frames * width_pitch + of.first_tile * 16;
    tile.each(
        [&](int n) {
          const int frame = first + of.column + n;
          return frame >= from && frame < until ? (frame - begin) * width_pitch : -1;
        },
        [&](int row, int place, float sum) { to[place + row] = from_float<T>(sum > 0 ? sum : 0.0f); });
  }
}

// The residual as it is, or zeros, into shared.out.
template <class T, int Together>
SKI_EDGE_HD void copy_residual(const Block& block, const TemporalPlace<T>& at,
                               const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  struct alignas(Together * sizeof(T)) Few {
    T x[Together];
  };
  const int groups = branch.by_groups.by();
  SKI_EDGE_UNROLL(2)
  for (int i = block.thread; i < at.joints * args.block_frames * groups; i += block.threads()) {
    const int row = i / branch.by_groups, channel = (i - row * groups) * Together;
    const int j = row / args.by_block_frames, n = row - j * args.block_frames;
    Few few{};
    if (args.residual != nullptr) {
      few = *reinterpret_cast<const Few*>(at.residual(j, at.middle(n), branch.first + channel));
    }
    float* const out = shared.out + row * shared.out_pitch + channel;
    SKI_EDGE_UNROLL(4)
    for (int e = 0; e < Together; ++e) out[e] = args.residual != nullptr ? to_float(few.x[e]) : 0.0f;
  }
}

// The residual's convolution into shared.out.
template <class T, int N>
SKI_EDGE_HD void convolve_residual(const Block& block, const TemporalPlace<T>& at,
                                   const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const int steps = args.residual_channels / 16, per_joint = ceil_div(at.frames, N * 8);
  const long tile_step = static_cast<long>(steps) * kTileNumbers;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < at.joints * per_joint * branch.by_tile_rows.by();
       unit += block.warps()) {
    const TemporalUnit of(unit, branch.by_tile_rows, per_joint, N);
    const float* const bias = branch.skip_bias + of.first_tile * 16;
    Tile<T, N, N> tile([&](int row) { return bias[row]; });
    tile.template multiply_at<4, 7>(
        Packed<T>{branch.skip + of.first_tile * tile_step, tile_step}, steps,
        [&](int n) { return at.residual(of.joint, at.middle(of.column + n), 0); }, Across());
    float* const out =
        shared.out + (of.joint * args.block_frames + of.column) * shared.out_pitch + of.first_tile * 16;
    tile.each([&](int n) { return of.column + n < at.frames ? n * shared.out_pitch : -1; },
              [&](int row, int place, float sum) { out[place + row] = sum; });
  }
}

template <class T, int N>
SKI_EDGE_HD void add_residual(const Block& block, const TemporalPlace<T>& at,
                              const TemporalShared<T>& shared) {
  if (at.branch.skip != nullptr) {
    convolve_residual<T, N>(block, at, shared);
  } else if (at.branch.together == 4) {
    copy_residual<T, 4>(block, at, shared);
  } else if (at.branch.together == 2) {
    copy_residual<T, 2>(block, at, shared);
  } else {
    copy_residual<T, 1>(block, at, shared);
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

// += the larger of three reduced frames, scaled.
template <class T>
SKI_EDGE_HD void add_pool(const Block& block, const TemporalPlace<T>& at, const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const Team<16> rows(block);
  SKI_EDGE_UNROLL(1)
  for (int channel = rows.member; channel < branch.width; channel += rows.members) {
    const float scale = branch.scale[channel], bias = branch.bias[channel];
    SKI_EDGE_UNROLL(1)
    for (int row = rows.index; row < at.joints * args.block_frames; row += rows.count) {
      const int j = row / args.by_block_frames, n = row - j * args.block_frames;
      if (n >= at.frames) continue;
      const T* const reduced =
          shared.reduced + (j * args.reduced_frames + n * args.stride) * shared.reduced_pitch + channel;
      float largest = 0;  // nothing that was reduced is less
      SKI_EDGE_UNROLL(3)
      for (int tap = 0; tap < 3; ++tap)
        largest = Largest()(largest, to_float(reduced[tap * shared.reduced_pitch]));
      const float value = largest * scale + bias;
      shared.out[row * shared.out_pitch + channel] += args.relu_before && value < 0 ? 0.0f : value;
    }
  }
}

// += the branch, in shared.out.
template <class T, int N>
SKI_EDGE_HD void add_branch(const Block& block, const TemporalPlace<T>& at, const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const int width_pitch = shared.reduced_pitch, per_joint = ceil_div(at.frames, N * 8);
  const int depth = branch.reduce != nullptr ? branch.tiles() * 16 : args.inputs, steps = depth / 16;
  const int taps = branch.kind == Branch::taps ? branch.taps : 1;
  const long tile_step = static_cast<long>(taps) * steps * kTileNumbers;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < at.joints * per_joint * branch.by_tile_rows.by();
       unit += block.warps()) {
    const TemporalUnit of(unit, branch.by_tile_rows, per_joint, N);
    const T* const weight = branch.weight + of.first_tile * tile_step;
    const float* const bias = branch.bias + of.first_tile * 16;
    Tile<T, N, N> tile([&](int row) { return bias[row]; });
    if (branch.reduce != nullptr) {
      const T* const reduced = shared.reduced + of.joint * args.reduced_frames * width_pitch;
      tile.template multiply_at<5, 4>(
          Packed<T>{weight, tile_step}, taps * steps,
          [&](int n) { return reduced + least(of.column + n, at.frames - 1) * args.stride * width_pitch; },
          Taps{branch.by_steps, branch.dilation * width_pitch});
    } else {
      SKI_EDGE_UNROLL(1)
      for (int tap = 0; tap < taps; ++tap) {
        tile.template multiply_at<4>(
            Packed<T>{weight + static_cast<long>(tap) * steps * kTileNumbers, tile_step}, steps,
            [&](int n) {
              const int frame = at.middle(of.column + n) + (tap - taps / 2) * branch.dilation;
              return frame >= 0 && frame < args.frames ? at.x(of.joint, frame) : args.zeros;
            },
            Across());
      }
    }
    float* const out =
        shared.out + (of.joint * args.block_frames + of.column) * shared.out_pitch + of.first_tile * 16;
    tile.each(
        [&](int n) { return of.column + n < at.frames ? n * shared.out_pitch : -1; },
        [&](int row, int place, float sum) { out[place + row] += args.relu_before && sum < 0 ? 0.0f : sum; });
  }
}

// relu and out. A thread keeps to its joint and channels, so that it can add up its frames.
template <class T, int Together>
SKI_EDGE_HD void finish_frames(const Block& block, const TemporalPlace<T>& at,
                               const TemporalShared<T>& shared) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  struct alignas(Together * sizeof(T)) Few {
    T x[Together];
  };
  const int groups = branch.by_groups.by(), slots = branch.by_slots.by(), rows = branch.finish_rows;
  T* const y = args.y + at.body * args.y_body_step();
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < rows * slots; i += block.threads()) {
    const int row = i / branch.by_slots, slot = i - row * slots;
    const int j = slot / branch.by_groups, channel = (slot - j * groups) * Together;
    if (j >= at.joints) continue;
    float total[Together] = {};
    SKI_EDGE_UNROLL(2)
    for (int n = row; n < at.frames; n += rows) {
      const float* const out = shared.out + (j * args.block_frames + n) * shared.out_pitch + channel;
      Few few;
      SKI_EDGE_UNROLL(4)
      for (int e = 0; e < Together; ++e) {
        const float value = out[e] > 0 ? out[e] : 0.0f;
        total[e] += value;
        few.x[e] = from_float<T>(value);
      }
      const int column = (at.first + n) * args.joints + at.first_joint + j;
      *reinterpret_cast<Few*>(y + place_of(column, branch.first + channel, args.outputs)) = few;
    }
    SKI_EDGE_UNROLL(4)
    for (int e = 0; e < Together; ++e) shared.parts[i * Together + e] = total[e];
  }
}

// Sums of all frames of the block; the last branch writes what pads y's channels.
template <class T>
SKI_EDGE_HD void write_sums(const Block& block, const TemporalPlace<T>& at, const TemporalShared<T>& shared,
                            int chunk) {
  const TemporalArgs<T>& args = at.args;
  const TemporalBranch<T>& branch = at.branch;
  const int numbers = branch.by_slots.by() * branch.together;
  float* const sums =
      args.sums +
      ((static_cast<long>(at.body) * args.chunks + chunk) * args.joints + at.first_joint) * args.outputs;
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < at.joints * branch.width; i += block.threads()) {
    const int j = i / branch.width, channel = i - j * branch.width;
    float total = 0;
    SKI_EDGE_UNROLL(4)
    for (int row = 0; row < branch.finish_rows; ++row) total += shared.parts[row * numbers + i];
    sums[j * args.outputs + branch.first + channel] = total;
  }
  if (block.y < args.branch_count - 1 || args.outputs == args.channels) return;
  T* const y = args.y + at.body * args.y_body_step();
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < at.joints * at.frames; i += block.threads()) {
    const int j = i / at.frames, n = i - j * at.frames;
    SKI_EDGE_UNROLL(1)
    for (int channel = args.channels; channel < args.outputs; ++channel) {
      y[place_of((at.first + n) * args.joints + at.first_joint + j, channel, args.outputs)] =
          from_float<T>(0.0f);
      sums[j * args.outputs + channel] = 0;
    }
  }
}

template <class T, int N>
SKI_EDGE_HD void temporal(const Block& block, const TemporalPlace<T>& at, const TemporalShared<T>& shared,
                          int chunk) {
  if (at.branch.reduce != nullptr) reduce_frames<T, N>(block, at, shared);
  add_residual<T, N>(block, at, shared);
  block.sync();
  if (at.branch.kind == Branch::pool) {
    add_pool(block, at, shared);
  } else {
    add_branch<T, N>(block, at, shared);
  }
  block.sync();
  if (at.branch.together == 4) {
    finish_frames<T, 4>(block, at, shared);
  } else if (at.branch.together == 2) {
    finish_frames<T, 2>(block, at, shared);
  } else {
    finish_frames<T, 1>(block, at, shared);
  }
  block.sync();
  write_sums(block, at, shared, chunk);
}

// block.x: joints and chunk of frames; block.y: branch; block.z: body. A warp takes N x N tiles at a time.
template <class T, int N>
struct TemporalKernel {
  using Args = TemporalArgs<T>;
  static constexpr int kThreads = kTemporalThreads;
  static constexpr int kBlocks = sizeof(T) == 2 && N == 1 ? 2 : 1;
  static Grid grid(const Args& args) {
    return {ceil_div(args.joints, args.block_joints) * args.chunks, args.branch_count, args.bodies};
  }
  static std::size_t shared_bytes(const Args& args) { return TemporalShared<T>(args, nullptr).bytes; }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    const TemporalShared<T> shared(args, memory);
    const int group = block.x / args.by_chunks, chunk = block.x - group * args.chunks;
    const int first_joint = group * args.block_joints, first = chunk * args.block_frames;
    const TemporalPlace<T> at{args,
                              args.branches[block.y],
                              block.z,
                              first_joint,
                              least(args.block_joints, args.joints - first_joint),
                              first,
                              least(args.block_frames, args.output_frames() - first)};
    temporal<T, N>(block, at, shared, chunk);
  }
};

}  // namespace ski_edge::cuda
