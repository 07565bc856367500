// The graph convolution of ops/graph_conv.h and ops/ctr_gc.h on CUDA: one kernel for both, since a graph per
// channel and one for all differ in a step between graphs.
//
// A block computes 8 channels of some frames of a body. First the values of all subsets, a product over
// channels whose columns (frame, joint) come straight from memory: no other warp needs them. They stay in
// shared memory as [channel][frame][subset, joint]. Then, a warp per channel, graph [joint, (subset, joint)]
// times values.
#pragma once

#include "cuda/tile.h"
#include "ski_edge/limits.h"

namespace ski_edge::cuda {

constexpr int kGraphChannels = 8;  // of a block
constexpr int kSubsets = 3;  // fewer are filled up with zeros; a shortcut's convolution is a fourth part

// Activations are [body][frame][joint][channel], channels padded with zeros to a multiple of 16.
template <class T>
struct GraphConvArgs {
  const T* x = nullptr;
  T* y = nullptr;
  int bodies = 0, frames = 0, joints = 0, inputs = 0, outputs = 0;  // padded channels
  int block_frames = 8;                                             // frames of a block: a multiple of 8
  Divisor by_joints;
  bool identity = false, convolution = false;  // what is added: nothing, x, or its convolution
  const T* weights = nullptr;                  // packed per 8 channels: 32 rows (part, channel)
  const float* bias = nullptr;                 // [C' / 8][32], of the values
  const float* shift = nullptr;                // [C']
  // Packed [32 or more rows of joints, (subset, joint)] each.
  const T* graphs = nullptr;
  long graph_body_step = 0, graph_channel_step = 0;

  SKI_EDGE_HD int graph_steps() const { return ceil_div(kSubsets * joints, 16); }
  SKI_EDGE_HD int graph_tiles() const { return round_up(joints, 32) / 16; }
  SKI_EDGE_HD long graph_numbers() const {
    return static_cast<long>(graph_tiles()) * graph_steps() * kTileNumbers;
  }
  SKI_EDGE_HD int weight_numbers() const { return 2 * (inputs / 16) * kTileNumbers; }
  SKI_EDGE_HD int value_pitch() const { return pitch(kSubsets * joints); }
  // Eight channels' values of the same column lie in different banks.
  SKI_EDGE_HD int channel_step() const { return block_frames * value_pitch() + (sizeof(T) == 2 ? 8 : 4); }
};

template <class T>
struct GraphConvShared {
  T* values;    // [8] channel_step apart, each [frames][value_pitch]
  float* sums;  // [8][frame, joint]
  std::size_t bytes;

  SKI_EDGE_HD GraphConvShared(const GraphConvArgs<T>& args, char* memory) {
    Shared shared(memory);
    values = shared.take<T>(kGraphChannels * args.channel_step());
    sums = shared.take<float>(args.block_frames * args.joints * kGraphChannels);
    bytes = shared.taken();
  }
};

// Values of NT * 8 columns from `first` on; into shared.sums what the shortcut's convolution adds.
template <class T, int NT>
SKI_EDGE_HD void graph_values(const GraphConvArgs<T>& args, const GraphConvShared<T>& shared, const T* x,
                              int group, int first, int columns) {
  const float* const bias = args.bias + group * 32;
  Tile<T, 2, NT> tile([&](int row) { return bias[row]; });
  const Packed<T> weights{args.weights + group * args.weight_numbers(), args.inputs / 16 * kTileNumbers};
  tile.template multiply<4>(weights, args.inputs / 16,
                [&](int n) { return x + static_cast<long>(least(first + n, columns - 1)) * args.inputs; });
  const int sum_step = args.block_frames * args.joints;
  tile.each(
      [&](int n) {
        const int column = first + n, frame = column / args.by_joints;
        return column < columns ? frame * kMostJoints + column - frame * args.joints : -1;
      },
      [&](int row, int place, float sum) {
        const int part = row / kGraphChannels, channel = row % kGraphChannels;
        const int frame = place / kMostJoints, joint = place % kMostJoints;
        if (part < kSubsets) {
          shared.values[channel * args.channel_step() + frame * args.value_pitch() + part * args.joints +
                        joint] = from_float<T>(sum);
        } else if (args.convolution) {
          shared.sums[channel * sum_step + frame * args.joints + joint] = sum;
        }
      });
}

template <class T, int NT>
SKI_EDGE_HD void graph_conv(const Block& block, const GraphConvArgs<T>& args, char* memory) {
  const GraphConvShared<T> shared(args, memory);
  const int group = block.x, first_frame = block.y * args.block_frames, body = block.z;
  const int frames = least(args.block_frames, args.frames - first_frame), columns = frames * args.joints;
  const T* const x =
      args.x + (static_cast<long>(body) * args.frames + first_frame) * args.joints * args.inputs;

  // What the second product reads beside the values: zeros of graphs meet it, so it must be a number.
  const int used = kSubsets * args.joints;
  SKI_EDGE_UNROLL(1)
  for (int row = block.thread; row < kGraphChannels * args.block_frames; row += block.threads()) {
    const int channel = row % kGraphChannels, frame = row / kGraphChannels;
    T* const values = shared.values + channel * args.channel_step() + frame * args.value_pitch();
    SKI_EDGE_UNROLL(1)
    for (int i = frame < frames ? used : 0; i < args.value_pitch(); ++i) values[i] = from_float<T>(0.0f);
  }
  SKI_EDGE_UNROLL(1)
  for (int first = block.warp() * NT * 8; first < columns; first += block.warps() * NT * 8) {
    graph_values<T, NT>(args, shared, x, group, first, columns);
  }
  block.sync();

  const int sum_step = args.block_frames * args.joints;
  const long tile_step = args.graph_steps() * kTileNumbers;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < kGraphChannels * args.graph_tiles(); unit += block.warps()) {
    const int channel = unit % kGraphChannels, tile_row = unit / kGraphChannels;
    if (tile_row * 16 >= args.joints) continue;
    const T* const graph = args.graphs + body * args.graph_body_step +
                           (group * kGraphChannels + channel) * args.graph_channel_step + tile_row * tile_step;
    const float shift = args.shift[group * kGraphChannels + channel];
    const T* const values = shared.values + channel * args.channel_step();
    float* const sums = shared.sums + channel * sum_step + tile_row * 16;
    SKI_EDGE_UNROLL(1)
    for (int frame = 0; frame < frames; frame += 8) {
      Tile<T, 1, 1> tile([&](int) { return shift; });
      tile.template multiply<5, 4>(Packed<T>{graph, tile_step}, args.graph_steps(),
                                   [&](int n) { return values + (frame + n) * args.value_pitch(); });
      tile.each([&](int n) { return frame + n < frames ? (frame + n) * args.joints : -1; },
                [&](int row, int at, float sum) {
                  if (tile_row * 16 + row < args.joints) sums[at + row] = args.convolution ? sums[at + row] + sum : sum;
                });
    }
  }
  block.sync();

  const int first_channel = group * kGraphChannels;
  T* const y = args.y + (static_cast<long>(body) * args.frames + first_frame) * args.joints * args.outputs;
  struct alignas(16) Eight {
    T x[kGraphChannels];
  };
  SKI_EDGE_UNROLL(1)
  for (int column = block.thread; column < columns; column += block.threads()) {
    Eight out, in{};
    if (args.identity) {
      in = *reinterpret_cast<const Eight*>(x + static_cast<long>(column) * args.inputs + first_channel);
    }
    SKI_EDGE_UNROLL(8)
    for (int i = 0; i < kGraphChannels; ++i) {
      float sum = shared.sums[i * sum_step + column];
      if (args.identity) sum += to_float(in.x[i]);
      out.x[i] = from_float<T>(sum > 0 ? sum : 0.0f);
    }
    *reinterpret_cast<Eight*>(y + static_cast<long>(column) * args.outputs + first_channel) = out;
  }
}

// block.x: 8 channels; block.y: frames; block.z: body.
template <class T>
struct GraphConvKernel {
  using Args = GraphConvArgs<T>;
  static constexpr int kThreads = 512;
  static Grid grid(const Args& args) {
    return {args.outputs / kGraphChannels, ceil_div(args.frames, args.block_frames), args.bodies};
  }
  static std::size_t shared_bytes(const Args& args) { return GraphConvShared<T>(args, nullptr).bytes; }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    graph_conv<T, 2>(block, args, memory);
  }
};

}  // namespace ski_edge::cuda
