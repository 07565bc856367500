// The graphs of ops/ctr_gc.h on CUDA, from the sums over time that the block before left behind.
//
// A block makes some destination joints' rows of one subset's graphs, for some channels: queries and keys (a
// product over channels), tanh of their differences into shared memory, and the product that expands
// relations to channels.
#pragma once

#include "cuda/tile.h"

namespace ski_edge::cuda {

constexpr int kTopologyTiles = 4;  // tiles of 16 channels of a block

template <class T>
struct TopologyArgs {
  const float* sums = nullptr;  // [body][chunk][joint][C]: of x over a chunk of time
  int chunks = 1;
  float scale = 1;  // 1 / T
  int bodies = 0, joints = 0, subsets = 0;
  int inputs = 0, outputs = 0, relations = 0;  // padded to 16, 16 and 8
  int block_joints = 5;                        // destinations of a block
  Divisor by_sources, by_channel_blocks;
  const T* relation = nullptr;           // per subset, packed: rows queries then keys
  const float* relation_bias = nullptr;  // [S][2 R]
  const T* expand = nullptr;             // per subset, packed [C', R]
  const float* expand_bias = nullptr;    // [S][C']
  const float* adjacency = nullptr;      // [S][destination][source]
  T* graphs = nullptr;                   // [body][C'], each with columns of destinations: (subset, source)
  int graph_depth = 0;

  SKI_EDGE_HD int channel_blocks() const { return ceil_div(outputs / 16, kTopologyTiles); }
  // Numbers from joint to joint: whole groups of four, and not a multiple of 32.
  SKI_EDGE_HD int term_pitch() const { return 2 * relations + 4; }
  SKI_EDGE_HD int relation_tiles() const { return ceil_div(2 * relations, 16); }
  SKI_EDGE_HD int expand_steps() const { return ceil_div(relations, 16); }
  SKI_EDGE_HD int sources() const { return round_up(joints, 2); }
  SKI_EDGE_HD int pairs() const { return round_up(block_joints * sources(), 8); }
};

template <class T>
struct TopologyShared {
  T* means;      // [joints, to 8][pitch]
  float* terms;  // [joint][2 R]
  T* tangents;   // [destination, source; to 8][pitch]
  std::size_t bytes;

  SKI_EDGE_HD TopologyShared(const TopologyArgs<T>& args, char* memory) {
    Shared shared(memory);
    means = shared.take<T>(round_up(args.joints, 8) * pitch(args.inputs));
    terms = shared.take<float>(args.joints * args.term_pitch());
    tangents = shared.take<T>(args.pairs() * pitch(args.relations));
    bytes = shared.taken();
  }
};

// The device's own tanh: off by 5e-4 at most, as much as half precision rounds.
template <class T>
SKI_EDGE_HD float hyperbolic_tangent(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
  if constexpr (sizeof(T) == 2) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
#endif
  return tanhf(x);
}

// Means over time.
template <class T>
SKI_EDGE_HD void mean_joints(const Block& block, const TopologyArgs<T>& args, const TopologyShared<T>& shared,
                             int body) {
  const int numbers = args.joints * args.inputs, quads = args.inputs / 4, mean_pitch = pitch(args.inputs);
  const float* const sums = args.sums + static_cast<long>(body) * args.chunks * numbers;
  const Team<32> rows(block);
  SKI_EDGE_UNROLL(1)
  for (int joint = rows.index; joint < round_up(args.joints, 8); joint += rows.count) {
    SKI_EDGE_UNROLL(1)
    for (int quad = rows.member; quad < quads; quad += rows.members) {
      FourFloats total{};
      if (joint < args.joints) {
        SKI_EDGE_UNROLL(1)
        for (int chunk = 0; chunk < args.chunks; ++chunk) {
          const FourFloats next =
              *reinterpret_cast<const FourFloats*>(sums + chunk * numbers + joint * args.inputs + quad * 4);
          for (int i = 0; i < 4; ++i) total.x[i] += next.x[i];
        }
      }
      Quad<T> mean;
      for (int i = 0; i < 4; ++i) mean.x[i] = from_float<T>(total.x[i] * args.scale);
      *reinterpret_cast<Quad<T>*>(shared.means + joint * mean_pitch + quad * 4) = mean;
    }
  }
}

// Queries and keys of a subset.
template <class T>
SKI_EDGE_HD void relate(const Block& block, const TopologyArgs<T>& args, const TopologyShared<T>& shared,
                        int subset) {
  const int terms = 2 * args.relations, joint_tiles = ceil_div(args.joints, 8),
            mean_pitch = pitch(args.inputs);
  const long tile_step = args.inputs / 16 * kTileNumbers;
  const float* const bias = args.relation_bias + subset * terms;
  SKI_EDGE_UNROLL(1)
  for (int unit = block.warp(); unit < args.relation_tiles() * joint_tiles; unit += block.warps()) {
    const int tile_row = unit / joint_tiles, joint = unit % joint_tiles * 8;
    Tile<T, 1, 1> tile(
        [&](int row) { return tile_row * 16 + row < terms ? bias[tile_row * 16 + row] : 0.0f; });
    tile.multiply(
        Packed<T>{args.relation + (subset * args.relation_tiles() + tile_row) * tile_step, tile_step},
        args.inputs / 16, [&](int n) { return shared.means + (joint + n) * mean_pitch; });
    tile.each([&](int n) { return joint + n < args.joints ? (joint + n) * args.term_pitch() : -1; },
              [&](int row, int at, float sum) {
                if (tile_row * 16 + row < terms) shared.terms[at + tile_row * 16 + row] = sum;
              });
  }
}

// tanh(q_u - k_v), four relations at a time; zeros where there is no pair and no relation.
template <class T>
SKI_EDGE_HD void compare(const Block& block, const TopologyArgs<T>& args, const TopologyShared<T>& shared,
                         int first, int columns) {
  const int quads = args.expand_steps() * 4, tangent_pitch = pitch(args.relations);
  SKI_EDGE_UNROLL(1)
  for (int i = block.thread; i < args.pairs() * quads; i += block.threads()) {
    const int place = i / quads, r = i % quads * 4;  // quads: a power of two for all networks there are
    Quad<T> out;
    if (place < columns && r < args.relations) {
      const int destination = place / args.by_sources;
      const int source = least(place - destination * args.sources(), args.joints - 1);
      const FourFloats query =
          *reinterpret_cast<const FourFloats*>(shared.terms + (first + destination) * args.term_pitch() + r);
      const FourFloats key = *reinterpret_cast<const FourFloats*>(shared.terms + source * args.term_pitch() +
                                                                  args.relations + r);
      for (int e = 0; e < 4; ++e) out.x[e] = from_float<T>(hyperbolic_tangent<T>(query.x[e] - key.x[e]));
    } else {
      for (int e = 0; e < 4; ++e) out.x[e] = from_float<T>(0.0f);
    }
    *reinterpret_cast<Quad<T>*>(shared.tangents + place * tangent_pitch + r) = out;
  }
}

// From relations to channels: MT tiles of them.
template <class T, int MT>
SKI_EDGE_HD void expand(const Block& block, const TopologyArgs<T>& args, const TopologyShared<T>& shared,
                        int body, int subset, int first_tile, int first, int columns) {
  const int tangent_pitch = pitch(args.relations);
  const long step = args.expand_steps() * kTileNumbers;
  const T* const weights =
      args.expand + (static_cast<long>(subset) * (args.outputs / 16) + first_tile) * step;
  const float* const bias = args.expand_bias + subset * args.outputs + first_tile * 16;
  const float* const adjacency = args.adjacency + (subset * args.joints + first) * args.joints;
  const int graph_numbers = round_up(args.joints, 8) * args.graph_depth;
  T* const graphs = args.graphs + (static_cast<long>(body) * args.outputs + first_tile * 16) * graph_numbers;
  struct alignas(2 * sizeof(T)) Pair {
    T x[2];
  };
  SKI_EDGE_UNROLL(1)
  for (int place = block.warp() * 8; place < columns; place += block.warps() * 8) {
    Tile<T, MT, 1> tile([&](int row) { return bias[row]; });
    tile.multiply(Packed<T>{weights, step}, args.expand_steps(),
                  [&](int n) { return shared.tangents + (place + n) * tangent_pitch; });
    tile.each_pair(
        [&](int n) {
          if (place + n >= columns) return Place{-1, 0, 0};
          const int destination = (place + n) / args.by_sources,
                    source = place + n - destination * args.sources();
          const float* const edge = adjacency + destination * args.joints + source;
          const int at = static_cast<int>(
              place_of(first + destination, subset * args.sources() + source, args.graph_depth));
          return Place{at, edge[0], source + 1 < args.joints ? edge[1] : 0};
        },
        [&](int row, const Place& to, float first_sum, float second_sum) {
          const Pair both{from_float<T>(first_sum + to.first), from_float<T>(second_sum + to.second)};
          *reinterpret_cast<Pair*>(graphs + row * graph_numbers + to.at) = both;
        });
  }
}

template <class T>
SKI_EDGE_HD void topology(const Block& block, const TopologyArgs<T>& args, char* memory) {
  const TopologyShared<T> shared(args, memory);
  const int subset = block.y / args.by_channel_blocks, body = block.z, first = block.x * args.block_joints;
  const int first_tile = (block.y - subset * args.channel_blocks()) * kTopologyTiles;
  const int columns = least(args.block_joints, args.joints - first) * args.sources();
  let_next_start();  // graph_conv: its values need nothing of this
  mean_joints(block, args, shared, body);
  block.sync();
  relate(block, args, shared, subset);
  block.sync();
  compare(block, args, shared, first, columns);
  block.sync();
  const int tiles = least(kTopologyTiles, args.outputs / 16 - first_tile);
  if (tiles == kTopologyTiles) {
    expand<T, kTopologyTiles>(block, args, shared, body, subset, first_tile, first, columns);
  } else {
    SKI_EDGE_UNROLL(1)
    for (int i = 0; i < tiles; ++i)
      expand<T, 1>(block, args, shared, body, subset, first_tile + i, first, columns);
  }
}

// block.x: destinations; block.y: subset and channels; block.z: body.
template <class T>
struct TopologyKernel {
  using Args = TopologyArgs<T>;
  static constexpr int kThreads = 512;
  static constexpr int kBlocks = sizeof(T) == 2 ? 2 : 1;
  static Grid grid(const Args& args) {
    return {ceil_div(args.joints, args.block_joints), args.subsets * args.channel_blocks(), args.bodies};
  }
  static std::size_t shared_bytes(const Args& args) { return TopologyShared<T>(args, nullptr).bytes; }
  static SKI_EDGE_HD void run(const Block& block, const Args& args, char* memory) {
    topology(block, args, memory);
  }
};

}  // namespace ski_edge::cuda
