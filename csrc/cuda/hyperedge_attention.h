// Hyperformer's attention between joints (ops/hyperedge_attention.h) on CUDA.
//
// A block computes some heads of some frames, as many heads as fill whole groups of the projection.
// Everything between x and y stays in shared memory. Three rewritings make it two kinds of product and one
// softmax:
//   q.k + q.e = q.(k + e), and k + e = [W_k W_e] [n; mean of the group]: the groups' features need no phase
//   of their own; what a group weighs for itself, w.e, is one more number of the key, which meets a query's
//   constant; queries meet hop features as if those were more keys, and scores are looked up by hop distance.
// The score's scale and log2(e) are in the queries' weights: softmax is exp2.
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

// Queries, keys with their groups' features, values.
template <class T, int NT>
SKI_EDGE_HD void project_joints(const Block& block, const AttentionArgs<T>& args,
                                const AttentionShared<T>& shared, int heads, int columns) {
  const int tiles = args.part_tiles();
  const long step = args.step_numbers(args.inputs);
  const T* const qkv = args.qkv + heads * 3L * tiles * step;
  const T* const group = args.group + static_cast<long>(heads) * tiles * step;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < 3 * tiles; unit += block.warps()) {
    const int part = unit / args.by_part_tiles, first_row = (unit - part * tiles) * 16;
    const float* const bias = args.bias + (heads * 3 * tiles + unit) * 16;
    Tile<T, 1, NT> tile([&](int row) { return bias[row]; });
    tile.template multiply<2>(Packed<T>{qkv + unit * step, step}, args.inputs / 16,
                              [&](int n) { return shared.normed + least(n, columns - 1) * shared.row; });
    if (part == 1) {
      tile.template multiply<2>(Packed<T>{group + first_row / 16 * step, step}, args.inputs / 16, [&](int n) {
        const int column = least(n, columns - 1), frame = column / args.by_joints;
        return shared.means +
               (frame * args.groups + args.group_of[column - frame * args.joints]) * shared.row;
      });
    }
    // A row of a part is a head's channel; a column a frame's joint. Parts differ in what a step of each is.
    T* const to = part == 0 ? shared.queries : part == 1 ? shared.keys : shared.values;
    const int head_step = args.block_frames * (part == 0   ? args.joints * shared.depth_row
                                               : part == 1 ? args.keys() * shared.depth_row
                                                           : shared.value_rows * shared.joint_row);
    const int frame_step = head_step / args.block_frames;
    const int joint_step = part == 2 ? 1 : shared.depth_row, channel_step = part == 2 ? shared.joint_row : 1;
    const int channels = part == 2 ? args.head_width : args.row_stride();
    tile.each(
        [&](int n) {
          if (n >= columns) return -1;
          const int frame = n / args.by_joints;
          return frame * frame_step + (n - frame * args.joints) * joint_step;
        },
        [&](int row, int place, float sum) {
          const int head = (first_row + row) / args.by_row_stride,
                    c = first_row + row - head * args.row_stride();
          if (head >= args.block_heads || c >= channels) return;
          to[head * head_step + c * channel_step + place] = from_float<T>(sum);
        });
  }
}

// Scores of every query with every key and hop of its frame.
template <class T>
SKI_EDGE_HD void score_joints(const Block& block, const AttentionArgs<T>& args,
                              const AttentionShared<T>& shared, int frames) {
  const int rows = args.joints, units = args.block_heads * frames * args.by_key_tiles.by();
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < units; unit += block.warps()) {
    const int head_frame = unit / args.by_key_tiles, key = (unit - head_frame * args.by_key_tiles.by()) * 8;
    const int head = frames == args.block_frames ? head_frame / args.by_block_frames : head_frame / frames;
    const int frame = head_frame - head * frames, column = head * args.columns() + frame * rows;
    const T* const queries = shared.queries + column * shared.depth_row;
    const T* const keys = shared.keys + (head * args.block_frames + frame) * args.keys() * shared.depth_row;
    float* const scores = shared.scores + column * shared.score_row;
    SKI_EDGE_UNROLL(1)
    for (int first = 0; first < rows; first += 32) {
      Tile<T, 2, 1> tile{Zero()};
      tile.template multiply<2>(
          loose<T>([&](int row) { return queries + least(first + row, rows - 1) * shared.depth_row; }),
          args.depth() / 16,
          [&](int n) { return keys + least(key + n, args.keys() - 1) * shared.depth_row; });
      tile.each([&](int n) { return key + n < args.keys() ? key + n : -1; },
                [&](int row, int place, float sum) {
                  if (first + row < rows) scores[(first + row) * shared.score_row + place] = sum;
                });
    }
  }
}

constexpr int kMostOfTeam = 10;  // joints of a lane where four share a row

// attention = gain * softmax(scores and what the hop distance adds) + bias; zeros beyond the joints.
template <class T>
SKI_EDGE_HD void soften(const Block& block, const AttentionArgs<T>& args, const AttentionShared<T>& shared,
                        int first_head, int frames) {
  const Team<4> team(block);
  const int per_head = frames * args.joints, rows = args.block_heads * per_head;
#ifdef __CUDA_ARCH__
  constexpr int kOfTeam = kMostOfTeam;
#else
  constexpr int kOfTeam = kMostOfTeam * 4;
#endif
  SKI_EDGE_UNROLL(1)
  for (int i = team.index; i < round_up(rows, team.count); i += team.count) {
    const int index = least(i, rows - 1), whole = index / args.by_joints, joint = index - whole * args.joints;
    const int head = frames == 1 ? whole : whole / frames, frame = whole - head * frames;
    const int column = head * args.columns() + frame * args.joints + joint;
    const float* const score = shared.scores + column * shared.score_row;
    const int* const hop = args.hop_of + joint * args.joints;
    const float* const bias =
        args.attention_bias + (static_cast<long>(first_head + head) * args.joints + joint) * args.joints;
    T* const to = shared.attention + column * shared.joint_row;
    float each[kOfTeam], add[kOfTeam];
    float largest = -INFINITY, total = 0;
    SKI_EDGE_UNROLL(10)
    for (int k = 0; k < kOfTeam; ++k) {
      const int m = team.member + k * team.members;
      const bool some = m < args.joints;
      add[k] = some ? bias[m] : 0;
      each[k] = some ? score[m] + score[args.joints + hop[m]] : -INFINITY;
      largest = Largest()(largest, each[k]);
    }
    largest = team.reduce(largest, Largest());
    SKI_EDGE_UNROLL(10)
    for (int k = 0; k < kOfTeam; ++k) {
      each[k] = exp2f(each[k] - largest);
      total += each[k];
    }
    const float scale = args.gain / team.reduce(total, Add());
    if (i >= rows) continue;
    SKI_EDGE_UNROLL(10)
    for (int k = 0; k < kOfTeam; ++k) {
      const int m = team.member + k * team.members;
      if (m < args.joints) to[m] = from_float<T>(each[k] * scale + add[k]);
    }
    SKI_EDGE_UNROLL(1)
    for (int m = args.joints + team.member; m < shared.joint_row; m += team.members)
      to[m] = from_float<T>(0.0f);
  }
}

// Values under their attention, as rows for the projection.
template <class T>
SKI_EDGE_HD void mix_joints(const Block& block, const AttentionArgs<T>& args,
                            const AttentionShared<T>& shared, int frames) {
  const int units = args.block_heads * frames * args.by_joint_tiles.by();
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < units; unit += block.warps()) {
    const int head_frame = unit / args.by_joint_tiles,
              joint = (unit - head_frame * args.by_joint_tiles.by()) * 8;
    const int head = frames == args.block_frames ? head_frame / args.by_block_frames : head_frame / frames;
    const int frame = head_frame - head * frames;
    const T* const attention =
        shared.attention + (head * args.columns() + frame * args.joints) * shared.joint_row;
    const T* const values =
        shared.values + (head * args.block_frames + frame) * shared.value_rows * shared.joint_row;
    T* const mixed = shared.mixed + frame * args.joints * shared.mixed_row + head * args.head_width;
    SKI_EDGE_UNROLL(1)
    for (int first = 0; first < args.head_width; first += 32) {
      Tile<T, 2, 1> tile{Zero()};
      tile.template multiply<2>(
          loose<T>(
              [&](int row) { return values + least(first + row, shared.value_rows - 1) * shared.joint_row; }),
          ceil_div(args.joints, 16),
          [&](int n) { return attention + least(joint + n, args.joints - 1) * shared.joint_row; });
      tile.each([&](int n) { return joint + n < args.joints ? (joint + n) * shared.mixed_row : -1; },
                [&](int row, int place, float sum) {
                  if (first + row < args.head_width) mixed[place + first + row] = from_float<T>(sum);
                });
    }
  }
}

// The projection, and what it is added to.
template <class T>
SKI_EDGE_HD void project_out(const Block& block, const AttentionArgs<T>& args,
                             const AttentionShared<T>& shared, int heads, int columns) {
  const int tiles = args.block_tiles(), width = args.block_width();
  const long step = args.step_numbers(tiles * 16), shortcut_step = args.step_numbers(args.inputs);
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < tiles * ceil_div(columns, 8); unit += block.warps()) {
    const int first = unit / args.by_block_tiles * 8, tile_row = unit - first / 8 * tiles;
    const int row_tile = heads * tiles + tile_row;
    const float* const bias = args.project_bias + row_tile * 16;
    Tile<T, 1, 1> tile([&](int row) { return bias[row]; });
    tile.template multiply<5>(Packed<T>{args.project + row_tile * step, step}, tiles, [&](int n) {
      return shared.mixed + least(first + n, columns - 1) * shared.mixed_row;
    });
    if (args.shortcut != nullptr) {
      tile.multiply(Packed<T>{args.shortcut + row_tile * shortcut_step, shortcut_step}, args.inputs / 16,
                    [&](int n) { return shared.x + least(first + n, columns - 1) * args.inputs; });
    }
    float* const out = shared.out + tile_row * 16;
    tile.each([&](int n) { return first + n < columns ? (first + n) * width : -1; },
              [&](int row, int place, float sum) {
                if (tile_row * 16 + row < width) out[place + row] = sum;
              });
  }
}

// Whole quads of channels; the last block writes what pads y.
template <class T>
SKI_EDGE_HD void write_joints(const Block& block, const AttentionArgs<T>& args,
                              const AttentionShared<T>& shared, T* y, int first_frame, int heads,
                              int columns) {
  const int width = args.block_width(), quads = width / 4;
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < columns * quads; i += block.threads()) {
    const int column = i / args.by_quads, channel = (i - column * quads) * 4;
    const FourFloats sum = *reinterpret_cast<const FourFloats*>(shared.out + column * width + channel);
    Quad<T> out;
    Quad<T> in{};
    if (args.shortcut == nullptr) {
      in = *reinterpret_cast<const Quad<T>*>(shared.x + column * args.inputs + heads * width + channel);
    }
    for (int e = 0; e < 4; ++e)
      out.x[e] = from_float<T>(sum.x[e] + (args.shortcut == nullptr ? to_float(in.x[e]) : 0));
    *reinterpret_cast<Quad<T>*>(y + args.y_place(first_frame, column, heads * width + channel)) = out;
  }
  if (heads < args.blocks - 1 || args.outputs == args.width) return;
  SKI_EDGE_UNROLL(1)
  for (int column = block.thread; column < columns; column += block.threads()) {
    SKI_EDGE_UNROLL(1)
    for (int channel = args.width; channel < args.outputs; ++channel) {
      y[args.y_place(first_frame, column, channel)] = from_float<T>(0.0f);
    }
  }
}

template <class T, int NT>
SKI_EDGE_HD void attention(const Block& block, const AttentionArgs<T>& args, char* memory) {
  const AttentionShared<T> shared(args, memory);
  const int heads = block.x, first_frame = block.y * args.block_frames;
  const int frames = least(args.block_frames, args.frames - first_frame), columns = frames * args.joints;
  const T* const x =
      args.x + block.z * static_cast<long>(round_up(args.frames * args.joints, 8)) * args.inputs;
  T* const y = args.y + block.z * static_cast<long>(args.joints) * round_up(args.frames, 8) * args.outputs;
  fetch_joints(block, args, shared, x, first_frame * args.joints, columns, memory);
  block.sync();
  norm_joints(block, args, shared, frames, heads);
  block.sync();
  project_joints<T, NT>(block, args, shared, heads, columns);
  block.sync();
  score_joints(block, args, shared, frames);
  block.sync();
  soften(block, args, shared, heads * args.block_heads, frames);
  block.sync();
  mix_joints(block, args, shared, frames);
  block.sync();
  project_out(block, args, shared, heads, columns);
  block.sync();
  write_joints(block, args, shared, y, first_frame, heads, columns);
}

// block.x: heads; block.y: frames; block.z: body. A block's joints fill NT tiles of 8 columns.
template <class T, int NT>
struct AttentionKernel {
  using Args = AttentionArgs<T>;
  static constexpr int kThreads = 512;
  static constexpr int kBlocks = sizeof(T) == 2 && NT == 4 ? 2 : 1;
  static Grid grid(const Args& args) {
    return {args.blocks, ceil_div(args.frames, args.block_frames), args.bodies};
  }
  static std::size_t shared_bytes(const Args& args) { return AttentionShared<T>(args, nullptr).bytes; }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    attention<T, NT>(block, args, memory);
  }
};

}  // namespace ski_edge::cuda
