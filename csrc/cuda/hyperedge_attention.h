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

#include "cuda/attention_joints.h"

namespace ski_edge::cuda {

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
