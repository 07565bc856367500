// The graph convolution of ops/graph_conv.h and ops/ctr_gc.h on CUDA: one kernel for both, since a graph per
// channel and one for all differ in a step between graphs.
//
// A block computes 8 channels of some frames of a body. First the values of all subsets, a product over
// channels whose columns (frame, joint) come straight from memory: no other warp needs them. They stay in
// shared memory as [channel][frame][subset, source]. Then, channel by channel, values [frame, (subset,
// source)] times the graph.
#pragma once

#include "cuda/tile.h"
#include "ski_edge/limits.h"

namespace ski_edge::cuda {

constexpr int kGraphChannels = 8;  // of a block
constexpr int kSubsets = 3;  // fewer are filled up with zeros; a shortcut's convolution is a fourth part

// Columns of x are (frame, joint), those of y (joint, frame), as the convolution over time reads them;
// channels are padded with zeros to a multiple of 16.
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
  const T* graphs = nullptr;                   // columns of destinations: (subset, source)
  long graph_body_step = 0, graph_channel_step = 0;

  // Sources of a subset, to an even number: two neighbours are one store.
  SKI_EDGE_HD int sources() const { return round_up(joints, 2); }
  SKI_EDGE_HD int graph_depth() const { return round_up(kSubsets * sources(), 16); }
  SKI_EDGE_HD int graph_numbers() const { return round_up(joints, 8) * graph_depth(); }
  SKI_EDGE_HD long x_body_step() const { return static_cast<long>(round_up(frames * joints, 8)) * inputs; }
  SKI_EDGE_HD long y_body_step() const { return static_cast<long>(joints) * round_up(frames, 8) * outputs; }
  SKI_EDGE_HD int weight_numbers() const { return 2 * (inputs / 16) * kTileNumbers; }
  SKI_EDGE_HD int value_pitch() const { return pitch(graph_depth()); }
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

// What the second product reads beside the values: zeros of graphs meet it, so it must be a number.
template <class T>
SKI_EDGE_HD void clear_beside(const Block& block, const GraphConvArgs<T>& args,
                              const GraphConvShared<T>& shared, int frames) {
  SKI_EDGE_UNROLL(1)
  for (int row = block.thread; row < kGraphChannels * args.block_frames; row += block.threads()) {
    const int channel = row % kGraphChannels, frame = row / kGraphChannels;
    T* const values = shared.values + channel * args.channel_step() + frame * args.value_pitch();
    SKI_EDGE_UNROLL(1)
    for (int s = 1; s <= kSubsets && args.sources() > args.joints; ++s) {
      values[s * args.sources() - 1] = from_float<T>(0.0f);
    }
    SKI_EDGE_UNROLL(1)
    for (int i = frame < frames ? kSubsets * args.sources() : 0; i < args.graph_depth(); ++i) {
      values[i] = from_float<T>(0.0f);
    }
  }
}

// Values of NT * 8 columns from `first` on; into shared.sums what the shortcut's convolution adds.
template <class T, int NT>
SKI_EDGE_HD void graph_values(const GraphConvArgs<T>& args, const GraphConvShared<T>& shared, const T* x,
                              int group, int first, int columns) {
  const float* const bias = args.bias + group * 32;
  Tile<T, 2, NT> tile([&](int row) { return bias[row]; });
  const Packed<T> weights{args.weights + group * args.weight_numbers(), args.inputs / 16 * kTileNumbers};
  tile.template multiply_at<4>(
      weights, args.inputs / 16,
      [&](int n) { return x + place_of(least(first + n, columns - 1), 0, args.inputs); }, Across());
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
          shared.values[channel * args.channel_step() + frame * args.value_pitch() + part * args.sources() +
                        joint] = from_float<T>(sum);
        } else if (args.convolution) {
          shared.sums[channel * sum_step + frame * args.joints + joint] = sum;
        }
      });
}

// Values times graphs, added to shared.sums. Frames are rows, destinations columns, whose graphs come from
// memory.
template <class T>
SKI_EDGE_HD void contract(const Block& block, const GraphConvArgs<T>& args, const GraphConvShared<T>& shared,
                          int group, int body, int frames) {
  const int sum_step = args.block_frames * args.joints;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < kGraphChannels * ceil_div(args.joints, 16); unit += block.warps()) {
    const int channel = unit % kGraphChannels, first = unit / kGraphChannels * 16;
    const T* const graph = args.graphs + body * args.graph_body_step +
                           (group * kGraphChannels + channel) * args.graph_channel_step;
    const float shift = args.shift[group * kGraphChannels + channel];
    const T* const values = shared.values + channel * args.channel_step();
    float* const sums = shared.sums + channel * sum_step + first;
    SKI_EDGE_UNROLL(1)
    for (int frame = 0; frame < frames; frame += 16) {
      Tile<T, 1, 2> tile([&](int) { return shift; });
      tile.template multiply_at<5, 4>(
          loose<T>([&](int row) {
            return values + least(frame + row, args.block_frames - 1) * args.value_pitch();
          }),
          args.graph_depth() / 16,
          [&](int n) { return graph + place_of(least(first + n, args.joints - 1), 0, args.graph_depth()); },
          Across());
      tile.each([&](int n) { return first + n < args.joints ? n : -1; },
                [&](int row, int n, float sum) {
                  if (frame + row >= frames) return;
                  float& to = sums[(frame + row) * args.joints + n];
                  to = args.convolution ? to + sum : sum;
                });
    }
  }
}

template <class T, int NT>
SKI_EDGE_HD void graph_conv(const Block& block, const GraphConvArgs<T>& args, char* memory) {
  const GraphConvShared<T> shared(args, memory);
  const int group = block.x, first_frame = block.y * args.block_frames, body = block.z;
  const int frames = least(args.block_frames, args.frames - first_frame), columns = frames * args.joints;
  const T* const x =
      args.x + body * args.x_body_step() + static_cast<long>(first_frame) * args.joints * args.inputs;
  clear_beside(block, args, shared, frames);
  SKI_EDGE_UNROLL(1)
  for (int first = block.warp() * NT * 8; first < columns; first += block.warps() * NT * 8) {
    graph_values<T, NT>(args, shared, x, group, first, columns);
  }
  wait_for_previous();  // graphs; x was there before
  block.sync();
  contract(block, args, shared, group, body, frames);
  block.sync();

  const int first_channel = group * kGraphChannels, row = round_up(args.frames, 8);
  T* const y = args.y + body * args.y_body_step();
  struct alignas(16) Eight {
    T x[kGraphChannels];
  };
  SKI_EDGE_UNROLL(1)
  for (int column = block.thread; column < columns; column += block.threads()) {
    Eight out, in{};
    if (args.identity) in = *reinterpret_cast<const Eight*>(x + place_of(column, first_channel, args.inputs));
    SKI_EDGE_UNROLL(8)
    for (int i = 0; i < kGraphChannels; ++i) {
      float sum = shared.sums[i * args.block_frames * args.joints + column];
      if (args.identity) sum += to_float(in.x[i]);
      out.x[i] = from_float<T>(sum > 0 ? sum : 0.0f);
    }
    const int frame = column / args.by_joints, joint = column - frame * args.joints;
    *reinterpret_cast<Eight*>(y + place_of(joint * row + first_frame + frame, first_channel, args.outputs)) =
        out;
  }
}

// block.x: 8 channels; block.y: frames; block.z: body.
template <class T>
struct GraphConvKernel {
  using Args = GraphConvArgs<T>;
  static constexpr int kThreads = 512;
  static constexpr int kBlocks = sizeof(T) == 2 ? 2 : 1;
  static Grid grid(const Args& args) {
    return {args.outputs / kGraphChannels, ceil_div(args.frames, args.block_frames), args.bodies};
  }
  static std::size_t shared_bytes(const Args& args) { return GraphConvShared<T>(args, nullptr).bytes; }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    graph_conv<T, 2>(block, args, memory);
  }
};

}  // namespace ski_edge::cuda
