// What attention on CUDA works on (hyperedge_attention.h), and how joints enter it: LayerNorm, the groups'
// means, hop features beside the keys.
#pragma once

#include "cuda/tile.h"

namespace ski_edge::cuda {

constexpr int kMostNormed = 256;  // channels of a LayerNorm

template <class T>
struct AttentionArgs {
  const T* x = nullptr;
  T* y = nullptr;
  int bodies = 0, frames = 0, joints = 0, inputs = 0, outputs = 0;  // padded channels
  int channels = 0;                                                 // of x that LayerNorm sees
  bool halves = false;                              // x is coordinates as [high, low, high] (see edges.h)
  int width = 0;                                    // of y
  int head_width = 0, block_heads = 0, blocks = 0;  // heads of a block; blocks of a frame
  int groups = 0, hops = 0, block_frames = 1;
  const T* qkv = nullptr;       // per block: three packed parts of rows (head, channel and one more)
  const T* group = nullptr;     // per block: W_e and w W_e, rows as those of the keys
  const float* bias = nullptr;  // [block][3][part rows]
  const T* hop_rows = nullptr;  // [head][hop][depth]
  const float* attention_bias = nullptr;  // [head][joint][joint]
  float gain = 0;
  const T* project = nullptr;           // per block: packed, its groups along the diagonal
  const T* shortcut = nullptr;          // per block: packed; none: x is added
  const float* project_bias = nullptr;  // per block, to whole tiles
  const int* group_of = nullptr;        // [joint]
  const int* hop_of = nullptr;          // [joint][joint]
  const int* members = nullptr;         // joints of group 0, of group 1, ...
  const int* first_member = nullptr;    // [group + 1]
  Divisor by_joints, by_groups, by_row_stride, by_part_tiles, by_quads, by_norm_quads, by_parts, by_hops,
      by_hop_quads, by_key_tiles, by_joint_tiles, by_block_tiles, by_block_frames;

  SKI_EDGE_HD int row_stride() const { return head_width + 1; }
  SKI_EDGE_HD int part_tiles() const { return ceil_div(block_heads * row_stride(), 16); }
  SKI_EDGE_HD int depth() const { return round_up(row_stride(), 16); }
  SKI_EDGE_HD int block_width() const { return block_heads * head_width; }
  SKI_EDGE_HD int block_tiles() const { return ceil_div(block_width(), 16); }
  SKI_EDGE_HD long step_numbers(int columns) const { return static_cast<long>(columns / 16) * kTileNumbers; }
  // Of a joint of the block's frames: y's columns are (joint, frame), as the convolution over time reads
  // them.
  SKI_EDGE_HD long y_place(int first_frame, int column, int channel) const {
    const int frame = column / by_joints, joint = column - frame * joints;
    return place_of(joint * round_up(frames, 8) + first_frame + frame, channel, outputs);
  }
  SKI_EDGE_HD int keys() const { return joints + hops; }
  SKI_EDGE_HD int columns() const { return block_frames * joints; }
};

template <class T>
struct AttentionShared {
  T* x;           // [frame, joint][C]
  T* normed;      // [frame, joint][pitch(C)]
  T* means;       // [frame, group][pitch(C)]
  T* queries;     // [head][frame, joint][pitch(depth)]
  T* keys;        // [head][frame][joint or hop][pitch(depth)]
  T* values;      // [head][frame][channel, to 16][pitch(joints)]
  float* scores;  // [head][frame, joint][key pitch]
  T* attention;   // [head][frame, joint][pitch(joints)]
  T* mixed;       // [frame, joint][pitch(block width)]
  float* out;     // [frame, joint][block width]
  int row, depth_row, joint_row, score_row, mixed_row, value_rows;
  std::size_t bytes;

  SKI_EDGE_HD AttentionShared(const AttentionArgs<T>& args, char* memory) {
    const int columns = args.columns();
    row = pitch(args.inputs), depth_row = pitch(args.depth()), joint_row = pitch(args.joints);
    score_row = args.keys() | 1, mixed_row = pitch(args.block_tiles() * 16);
    value_rows = round_up(args.head_width, 16);
    Shared shared(memory);
    queries = shared.take<T>(args.block_heads * columns * depth_row);
    keys = shared.take<T>(args.block_heads * args.block_frames * args.keys() * depth_row);
    values = shared.take<T>(args.block_heads * args.block_frames * value_rows * joint_row);
    mixed = shared.take<T>(columns * mixed_row);
    x = shared.take<T>(columns * args.inputs);
    // What is normed is needed until values are there, what follows only after that.
    Shared before(memory == nullptr ? nullptr : memory + shared.taken());
    normed = before.take<T>(columns * row);
    means = before.take<T>(args.block_frames * args.groups * row);
    Shared after(memory == nullptr ? nullptr : memory + shared.taken());
    scores = after.take<float>(args.block_heads * columns * score_row);
    attention = after.take<T>(args.block_heads * columns * joint_row);
    out = after.take<float>(columns * args.block_width());
    bytes = shared.taken() + (before.taken() > after.taken() ? before.taken() : after.taken());
  }
};

// A coordinate as [high, low, high] (see edges.h).
template <class T>
SKI_EDGE_HD void put_coordinate(T* to, int c, float value) {
  to[c] = from_float<T>(value);
  to[c + 3] = from_float<T>(value - to_float(to[c]));
  to[c + 6] = to[c];
}

// 16 bytes at a time.
struct alignas(16) Sixteen {
  int words[4];
};

// x into shared memory, zeros where padding is read: it meets zero weights, so it must be a number.
template <class T>
SKI_EDGE_HD void fetch_joints(const Block& block, const AttentionArgs<T>& args,
                              const AttentionShared<T>& shared, const T* x, int first_column, int columns,
                              char* memory) {
  constexpr int kNumbers = 16 / static_cast<int>(sizeof(T));
  const int parts = args.inputs / kNumbers;
  SKI_EDGE_UNROLL(2)
  for (int i = block.thread; i < columns * parts; i += block.threads()) {
    const int column = i / args.by_parts, channel = (i - column * parts) * kNumbers;
    *reinterpret_cast<Sixteen*>(shared.x + column * args.inputs + channel) =
        *reinterpret_cast<const Sixteen*>(x + place_of(first_column + column, channel, args.inputs));
  }
  Sixteen* const words = reinterpret_cast<Sixteen*>(memory);
  const int before = static_cast<int>(reinterpret_cast<char*>(shared.x) - memory) / 16;
  SKI_EDGE_UNROLL(2)
  for (int i = block.thread; i < before; i += block.threads()) words[i] = Sixteen{};
  const int first = args.halves ? 9 : args.channels, unused = args.inputs - first;
  SKI_EDGE_UNROLL(1)
  for (int row = block.thread; row < columns + args.block_frames * args.groups; row += block.threads()) {
    T* const padding =
        (row < columns ? shared.normed + row * shared.row : shared.means + (row - columns) * shared.row);
    SKI_EDGE_UNROLL(1)
    for (int i = 0; i < unused; ++i) padding[first + i] = from_float<T>(0.0f);
  }
}

// LayerNorm of a row, four channels at a time in registers; without its weights, which are in qkv.
template <class T>
SKI_EDGE_HD void norm_row(const AttentionArgs<T>& args, const Team<16>& team, const T* joint, T* to,
                          bool write) {
#ifdef __CUDA_ARCH__
  constexpr int kMostQuads = kMostNormed / 4 / 16;
#else
  constexpr int kMostQuads = kMostNormed / 4;
#endif
  float x[kMostQuads][4];
  float sum = 0, square = 0;
  SKI_EDGE_UNROLL(4)
  for (int k = 0; k < kMostQuads; ++k) {
    const int c = (team.member + k * team.members) * 4;
    const Quad<T> four = c < args.channels ? *reinterpret_cast<const Quad<T>*>(joint + c) : Quad<T>{};
    SKI_EDGE_UNROLL(4)
    for (int e = 0; e < 4; ++e) {
      x[k][e] = c < args.channels ? to_float(four.x[e]) : 0.0f;
      sum += x[k][e];
    }
  }
  const float share = 1.0f / args.channels, mean = team.reduce(sum, Add()) * share;
  SKI_EDGE_UNROLL(4)
  for (int k = 0; k < kMostQuads; ++k) {
    const bool some = (team.member + k * team.members) * 4 < args.channels;
    SKI_EDGE_UNROLL(4)
    for (int e = 0; e < 4; ++e) {
      x[k][e] -= mean;
      square += some ? x[k][e] * x[k][e] : 0.0f;
    }
  }
  const float scale = 1 / sqrtf(team.reduce(square, Add()) * share + 1e-5f);
  SKI_EDGE_UNROLL(4)
  for (int k = 0; k < kMostQuads; ++k) {
    const int c = (team.member + k * team.members) * 4;
    Quad<T> four;
    SKI_EDGE_UNROLL(4)
    for (int e = 0; e < 4; ++e) four.x[e] = from_float<T>(x[k][e] * scale);
    if (write && c < args.channels) *reinterpret_cast<Quad<T>*>(to + c) = four;
  }
}

// The same for three coordinates.
template <class T>
SKI_EDGE_HD void norm_coordinates(const T* joint, T* to) {
  float x[3], square = 0;
  for (int c = 0; c < 3; ++c) x[c] = to_float(joint[c]) + to_float(joint[c + 3]);
  const float mean = (x[0] + x[1] + x[2]) / 3;
  for (float& each : x) each -= mean, square += each * each;
  const float scale = 1 / sqrtf(square / 3 + 1e-5f);
  for (int c = 0; c < 3; ++c) put_coordinate(to, c, x[c] * scale);
}

// All rows normed, the groups' means, and hop features beside the keys.
template <class T>
SKI_EDGE_HD void norm_joints(const Block& block, const AttentionArgs<T>& args,
                             const AttentionShared<T>& shared, int frames, int heads) {
  const int columns = frames * args.joints;
  if (args.halves) {
    for (int column = block.thread; column < columns; column += block.threads()) {
      norm_coordinates(shared.x + column * args.inputs, shared.normed + column * shared.row);
    }
  } else {
    const Team<16> team(block);
    SKI_EDGE_UNROLL(1)
    for (int i = team.index; i < round_up(columns, team.count); i += team.count) {
      const int column = least(i, columns - 1);  // all lanes of a warp take part in a reduction
      norm_row(args, team, shared.x + column * args.inputs, shared.normed + column * shared.row, i < columns);
    }
  }
  const int quads = args.halves ? 1 : args.channels / 4;
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < frames * args.groups * quads; i += block.threads()) {
    const int place = i / args.by_norm_quads, c = (i - place * quads) * 4;
    const int frame = place / args.by_groups, group = place - frame * args.groups;
    const int begin = args.first_member[group], end = args.first_member[group + 1];
    const T* const x = shared.x + frame * args.joints * args.inputs + c;
    T* const to = shared.means + place * shared.row + c;
    float sum[4] = {};
    SKI_EDGE_UNROLL(2)
    for (int m = begin; m < end; ++m) {
      const T* const joint = x + args.members[m] * args.inputs;
      const Quad<T> four = *reinterpret_cast<const Quad<T>*>(joint);
      SKI_EDGE_UNROLL(4)
      for (int e = 0; e < 4; ++e) sum[e] += to_float(four.x[e]);
      if (args.halves) {
        for (int e = 0; e < 3; ++e) sum[e] += to_float(joint[e + 3]);
      }
    }
    const float share = 1.0f / (end - begin);
    if (args.halves) {
      for (int e = 0; e < 3; ++e) put_coordinate(to, e, sum[e] * share);
    } else {
      Quad<T> four;
      SKI_EDGE_UNROLL(4)
      for (int e = 0; e < 4; ++e) four.x[e] = from_float<T>(sum[e] * share);
      *reinterpret_cast<Quad<T>*>(to) = four;
    }
  }
  const int hop_quads = args.depth() / 4, all = args.block_heads * args.hops * hop_quads;
  const T* const hop_rows = args.hop_rows + static_cast<long>(heads) * all * 4;
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < all; i += block.threads()) {
    const int row = i / args.by_hop_quads, head = row / args.by_hops;
    const Quad<T> features = *reinterpret_cast<const Quad<T>*>(hop_rows + i * 4);
    SKI_EDGE_UNROLL(1)
    for (int frame = 0; frame < args.block_frames; ++frame) {
      const int key = (head * args.block_frames + frame) * args.keys() + args.joints + row - head * args.hops;
      *reinterpret_cast<Quad<T>*>(shared.keys + key * shared.depth_row + (i - row * hop_quads) * 4) =
          features;
    }
  }
}

}  // namespace ski_edge::cuda
