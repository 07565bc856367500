// Hypergraph self-attention between joints; the contract is in ski_edge/ops/hyperedge_attention.h.
//
// Lanes are frames: scores, softmax and sums over joints are the same instructions for 16 frames at once, and
// looking a hop distance or a group up means reading another row.
#include "cpu/target.h"
#include "cpu/tile.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

namespace {

constexpr int kQueries = 4, kKeys = 5, kChannels = 4;  // tiles of scores and of outputs

// to[row][joint] (vectors) = matrix . columns [depth][joint] at from + depth * row_step + joint * joint_step,
// + bias.
template <int Pack = kPack>
SKI_EDGE_INLINE void project_joints(const Matrix& matrix, const float* bias, const float* from, long row_step,
                                    long joint_step, int joints, float* to) {
  // Two joints' columns stay in the first cache while all rows of the matrix pass by.
  const auto columns = [&](int joint, auto vectors) __attribute__((always_inline)) {
    constexpr int Vectors = decltype(vectors)::value;
    for (int first = 0; first < matrix.rows; first += kRows) {
      const float* panel = matrix.panels + static_cast<long>(first) * matrix.depth;
      const int height = matrix.rows - first < kRows ? matrix.rows - first : kRows;
      Sums<kRows, Vectors> sums;
      clear<kRows, Vectors>(sums);
      multiply<kRows, Vectors, Pack>(sums, panel, kRows, from + joint * joint_step, row_step, matrix.depth,
                                     joint_step);
      each_row<kRows>(height, [&](auto line) __attribute__((always_inline)) {
        constexpr int i = decltype(line)::value;
        const float add = bias == nullptr ? 0.0f : bias[first + i];
        for (int j = 0; j < Vectors; ++j)
          store(to + ((first + i) * joints + joint + j) * kLanes, sums[i][j] + add);
      });
    }
  };
  int joint = 0;
  for (; joint + kVectors <= joints; joint += kVectors) columns(joint, Constant<kVectors>{});
  for (; joint < joints; ++joint) columns(joint, Constant<1>{});
}

// score[n][m] (vectors) for queries n of one tile: query . key, both [c][joint].
template <int Queries>
SKI_EDGE_INLINE void score_tile(const float* query, const float* key, int joints, int channels,
                                float* score) {
  const auto keys = [&](int m, auto count) __attribute__((always_inline)) {
    constexpr int Keys = decltype(count)::value;
    Vec sums[Queries][Keys];
    for (int i = 0; i < Queries; ++i) {
      for (int j = 0; j < Keys; ++j) sums[i][j] = Vec{};
    }
    for (int c = 0; c < channels; ++c) {
      Vec q[Queries], k[Keys];
      for (int i = 0; i < Queries; ++i) q[i] = load(query + (c * joints + i) * kLanes);
      for (int j = 0; j < Keys; ++j) k[j] = load(key + (c * joints + m + j) * kLanes);
      for (int i = 0; i < Queries; ++i) {
        for (int j = 0; j < Keys; ++j) sums[i][j] += q[i] * k[j];
      }
    }
    for (int i = 0; i < Queries; ++i) {
      for (int j = 0; j < Keys; ++j) store(score + (i * joints + m + j) * kLanes, sums[i][j]);
    }
  };
  int m = 0;
  for (; m + kKeys <= joints; m += kKeys) keys(m, Constant<kKeys>{});
  for (; m < joints; ++m) keys(m, Constant<1>{});
}

// out[c][n] = sum over m of weight[n][m] * value[c][m], for queries n of one tile.
template <int Queries>
SKI_EDGE_INLINE void mix_tile(const float* weight, const float* value, int joints, int channels, float* out) {
  const auto rows = [&](int c, auto count) __attribute__((always_inline)) {
    constexpr int Channels = decltype(count)::value;
    Vec sums[Channels][Queries];
    for (int i = 0; i < Channels; ++i) {
      for (int j = 0; j < Queries; ++j) sums[i][j] = Vec{};
    }
    for (int m = 0; m < joints; ++m) {
      Vec v[Channels], w[Queries];
      for (int i = 0; i < Channels; ++i) v[i] = load(value + ((c + i) * joints + m) * kLanes);
      for (int j = 0; j < Queries; ++j) w[j] = load(weight + (j * joints + m) * kLanes);
      for (int i = 0; i < Channels; ++i) {
        for (int j = 0; j < Queries; ++j) sums[i][j] += v[i] * w[j];
      }
    }
    for (int i = 0; i < Channels; ++i) {
      for (int j = 0; j < Queries; ++j) store(out + ((c + i) * joints + j) * kLanes, sums[i][j]);
    }
  };
  int c = 0;
  for (; c + kChannels <= channels; c += kChannels) rows(c, Constant<kChannels>{});
  for (; c < channels; ++c) rows(c, Constant<1>{});
}

// score[m] += own[group of m] + by_hop[hop of m]; then gain * softmax(score * scale) + bias.
SKI_EDGE_INLINE void attend(const HyperedgeAttentionArgs& args, float* score, const float* own,
                            const float* by_hop, const int* hop_of, const float* bias, float scale) {
  const int joints = args.x.joints;
  Vec most = splat(-3e38f);
  for (int m = 0; m < joints; ++m) {
    const Vec sum =
        load(score + m * kLanes) + load(own + args.group_of[m] * kLanes) + load(by_hop + hop_of[m] * kLanes);
    store(score + m * kLanes, sum);
    most = max(most, sum);
  }
  Vec total = Vec{};
  for (int m = 0; m < joints; ++m) {
    const Vec e = exp((load(score + m * kLanes) - most) * scale);
    store(score + m * kLanes, e);
    total += e;
  }
  const Vec share = args.gain / total;
  for (int m = 0; m < joints; ++m) store(score + m * kLanes, load(score + m * kLanes) * share + bias[m]);
}

// All of one head for one vector of frames: out[c][joint].
SKI_EDGE_INLINE void head(const HyperedgeAttentionArgs& args, int body, int column, int h, float* scratch,
                          float* out) {
  const int joints = args.x.joints, groups = args.groups.joints, channels = args.group_features[h].rows;
  float* qkv = scratch;
  float* features = qkv + 3 * channels * joints * kLanes;  // [c][group]
  float* own = features + channels * groups * kLanes;      // [group]
  float* by_hop = own + groups * kLanes;                   // [hop][query of a tile]
  float* score = by_hop + args.hops * kQueries * kLanes;   // [query of a tile][key]
  project_joints(args.qkv[h], args.qkv_bias + 3 * h * channels, args.normed.body(body) + column,
                 args.normed.columns(), args.normed.joint_step(), joints, qkv);
  project_joints(args.group_features[h], nullptr, args.groups.body(body) + column, args.groups.columns(),
                 args.groups.joint_step(), groups, features);
  const float* query = qkv;
  float* key = qkv + channels * joints * kLanes;
  const float* value = key + channels * joints * kLanes;
  for (int g = 0; g < groups; ++g) {
    Vec sum = Vec{};
    for (int c = 0; c < channels; ++c) {
      sum += load(features + (c * groups + g) * kLanes) * args.group_weight[h * channels + c];
    }
    store(own + g * kLanes, sum);
  }
  // Keys and group features meet every query alike: q.k + q.e = q.(k + e).
  for (int c = 0; c < channels; ++c) {
    for (int m = 0; m < joints; ++m) {
      float* at = key + (c * joints + m) * kLanes;
      store(at, load(at) + load(features + (c * groups + args.group_of[m]) * kLanes));
    }
  }
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(channels));
  const auto queries = [&](int n, auto count) __attribute__((always_inline)) {
    constexpr int Queries = decltype(count)::value;
    score_tile<Queries>(query + n * kLanes, key, joints, channels, score);
    const Matrix& hop = args.hop_features[h];
    for (int first = 0; first < hop.rows; first += kRows) {
      const int height = hop.rows - first < kRows ? hop.rows - first : kRows;
      for (int i = 0; i < Queries; ++i) {
        Sums<kRows, 1> sums;
        clear<kRows, 1>(sums);
        multiply<kRows, 1, 1>(sums, hop.panels + first * hop.depth, kRows, query + (n + i) * kLanes,
                              static_cast<long>(joints) * kLanes, channels);
        each_row<kRows>(height, [&](auto line) __attribute__((always_inline)) {
          constexpr int r = decltype(line)::value;
          store(by_hop + (i * args.hops + first + r) * kLanes, sums[r][0]);
        });
      }
    }
    for (int i = 0; i < Queries; ++i) {
      attend(args, score + i * joints * kLanes, own, by_hop + i * args.hops * kLanes,
             args.hop_of + (n + i) * joints,
             args.attention_bias + (static_cast<long>(h) * joints + n + i) * joints, scale);
    }
    mix_tile<Queries>(score, value, joints, channels, out + n * kLanes);
  };
  int n = 0;
  for (; n + kQueries <= joints; n += kQueries) queries(n, Constant<kQueries>{});
  for (; n < joints; ++n) queries(n, Constant<1>{});
}

}  // namespace

// Task (body, vector of frames): the groups' means of x itself, as products take them.
void hyperedge_attention_groups(const HyperedgeAttentionArgs& args, int task) {
  const Activation &x = args.x, &groups = args.groups;
  const int vectors = x.joint_step() / kLanes;
  const int body = task / vectors, column = task % vectors * kLanes;
  const long row = x.columns();
  for (int c = 0; c < x.channels; c += kPack) {
    for (int g = 0; g < groups.joints; ++g) {
      const auto group_mean = [&](int channel) {
        const float* from = x.body(body) + channel * row + column;
        Vec sum = Vec{};
        float members = 0;
        for (int v = 0; v < x.joints; ++v) {
          if (args.group_of[v] != g) continue;
          sum += load(from + v * x.joint_step());
          members += 1;
        }
        return sum / members;
      };
      store(groups.body(body) + c / kPack * static_cast<long>(groups.columns()) + g * groups.joint_step() +
                column,
            pack_rows(group_mean, c, x.channels));
    }
  }
}

// Task (body, vector of frames, set of heads that fills whole projections).
void hyperedge_attention(const HyperedgeAttentionArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y;
  const int sets = args.heads / args.heads_per_task, vectors = x.joint_step() / kLanes, joints = x.joints;
  const int set = task % sets, column = task / sets % vectors * kLanes, body = task / sets / vectors;
  const int channels = args.group_features[0].rows, width = args.project_width;
  const int filled = args.heads_per_task * channels;  // channels that this set of heads makes
  float* mixed = scratch;                             // [filled][joint]
  float* projected = mixed + filled * joints * kLanes;
  float* own = projected + width * joints * kLanes;
  float* rest = own + width * joints * kLanes;
  for (int i = 0; i < args.heads_per_task; ++i) {
    head(args, body, column, set * args.heads_per_task + i, rest, mixed + i * channels * joints * kLanes);
  }
  for (int part = 0; part < filled / width; ++part) {
    const int group = set * (filled / width) + part, first = group * width;
    const float* operand = mixed + part * width * joints * kLanes;
    if (kPack == 2) {
      for (int c = 0; c < width; c += kPack) {
        for (int v = 0; v < joints; ++v) {
          const auto row = [&](int channel) { return load(operand + (channel * joints + v) * kLanes); };
          store(rest + (c / kPack * joints + v) * kLanes, pack_rows(row, c, width));
        }
      }
      operand = rest;
    }
    project_joints(args.project[group], args.project_bias + first, operand,
                   static_cast<long>(joints) * kLanes, kLanes, joints, projected);
    if (args.shortcut != nullptr) {
      project_joints<1>(args.shortcut[group], nullptr, x.body(body) + column, x.columns(), x.joint_step(),
                        joints, own);
    }
    for (int c = 0; c < width; ++c) {
      const long row = static_cast<long>(first + c) * y.columns() + column;
      for (int v = 0; v < joints; ++v) {
        const Vec add = args.shortcut != nullptr ? load(own + (c * joints + v) * kLanes)
                                                 : load(x.body(body) + row + v * x.joint_step());
        store(y.body(body) + row + v * y.joint_step(), load(projected + (c * joints + v) * kLanes) + add);
      }
    }
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
