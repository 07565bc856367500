#include <cmath>
#include <numeric>

#include "engine/cuda/network.h"
#include "ski_edge/check.h"

namespace ski_edge::cuda {

template <class T>
void DeviceBlocks<T>::values(int inputs, int outputs, int subsets, int joints, const float* value,
                             const float* value_bias, const float* shift, const float* shortcut) {
  GraphConvArgs<T>& args = next_.graph_conv;
  check(subsets <= kSubsets && joints <= kMostJoints, "the CUDA kernels run up to ", kSubsets,
        " subsets and ", kMostJoints, " joints, got ", subsets, " and ", joints,
        "; use the native backend on the CPU");
  args.joints = joints, args.by_joints = Divisor(joints);
  args.inputs = padded(inputs), args.outputs = padded(outputs);
  args.convolution = shortcut != nullptr;
  const At value_at = meets(value, inputs), shortcut_at = meets(shortcut, inputs);
  std::vector<T> weights;
  std::vector<float> bias;
  for (int group = 0; group < args.outputs / kGraphChannels; ++group) {
    const auto row_of = [&](int row) { return group * kGraphChannels + row % kGraphChannels; };  // channel
    pack(weights, 32, depth_of(inputs), [&](int row, int k) {
      const int part = row / kGraphChannels, channel = row_of(row);
      if (channel >= outputs) return 0.0f;
      if (part < subsets) return value_at(part * outputs + channel, k);
      return part == kSubsets && shortcut != nullptr ? shortcut_at(channel, k) : 0.0f;
    });
    for (int row = 0; row < 32; ++row) {
      const int part = row / kGraphChannels, channel = row_of(row);
      bias.push_back(part < subsets && channel < outputs ? value_bias[part * outputs + channel] : 0.0f);
    }
  }
  args.weights = keep(weights), args.bias = keep(bias);
  args.shift = padded_floats(outputs, [&](int row) { return shift[row]; });
}

template <class T>
void DeviceBlocks<T>::spatial(const CtrGcWeights& w) {
  values(w.inputs, w.outputs, w.subsets, w.joints, w.value, w.value_bias, w.shift, w.shortcut);
  next_.graph_conv.identity = w.shortcut == nullptr;
  next_.refined = true;
  TopologyArgs<T>& args = next_.topology;
  args.joints = w.joints, args.inputs = padded(w.inputs), args.outputs = padded(w.outputs),
  args.subsets = w.subsets;
  args.relations = round_up(w.relations, 8);
  args.by_sources = Divisor(args.sources()), args.by_channel_blocks = Divisor(args.channel_blocks());
  args.graph_depth = next_.graph_conv.graph_depth();
  next_.graph_conv.graph_channel_step = next_.graph_conv.graph_numbers();
  next_.graph_conv.graph_body_step = next_.graph_conv.graph_channel_step * args.outputs;
  const int half = w.subsets * w.relations;
  const At relation_at = meets(w.relation, w.inputs);
  std::vector<T> relation, expand;
  std::vector<float> relation_bias, expand_bias;
  for (int s = 0; s < w.subsets; ++s) {
    // Queries, then keys; rows between what there is and `relations` are zeros.
    const auto row_of = [&](int row) {
      const int r = row % args.relations;
      return r < w.relations ? row / args.relations * half + s * w.relations + r : -1;
    };
    pack(relation, 2 * args.relations, depth_of(w.inputs),
         [&](int row, int k) { return row_of(row) < 0 ? 0.0f : relation_at(row_of(row), k); });
    for (int row = 0; row < 2 * args.relations; ++row) {
      relation_bias.push_back(row_of(row) < 0 ? 0.0f : w.relation_bias[row_of(row)]);
    }
    pack(expand, args.outputs, w.relations, [&](int row, int k) {
      return row < w.outputs ? w.expand[(s * w.outputs + row) * w.relations + k] : 0.0f;
    });
    for (int row = 0; row < args.outputs; ++row) {
      expand_bias.push_back(row < w.outputs ? w.expand_bias[s * w.outputs + row] : 0.0f);
    }
  }
  args.relation = keep(relation), args.relation_bias = keep(relation_bias);
  args.expand = keep(expand), args.expand_bias = keep(expand_bias);
  args.adjacency = keep(std::vector<float>(w.adjacency, w.adjacency + w.subsets * w.joints * w.joints));
}

template <class T>
void DeviceBlocks<T>::spatial(const GraphConvWeights& w) {
  check(w.relu, "graph convolutions of the CUDA kernels end in a ReLU; use the native backend on the CPU");
  values(w.inputs, w.outputs, w.subsets, w.joints, w.value, w.value_bias, w.shift, w.shortcut_weight);
  next_.graph_conv.identity = w.shortcut == Shortcut::identity;
  const int depth = next_.graph_conv.graph_depth(), sources = next_.graph_conv.sources();
  std::vector<T> graphs(static_cast<std::size_t>(next_.graph_conv.graph_numbers()), from_float<T>(0));
  for (int s = 0; s < w.subsets; ++s)
    for (int source = 0; source < w.joints; ++source)
      for (int to = 0; to < w.joints; ++to)
        graphs[static_cast<std::size_t>(place_of(to, s * sources + source, depth))] =
            from_float<T>(w.graph[(s * w.joints + source) * w.joints + to]);
  next_.graph_conv.graphs = keep(graphs);
}

template <class T>
void DeviceBlocks<T>::spatial(const HyperedgeAttentionWeights& w) {
  next_.attends = true;
  AttentionArgs<T>& args = next_.attention;
  args.joints = w.joints, args.inputs = padded(w.inputs), args.outputs = padded(w.outputs);
  args.channels = w.inputs, args.width = w.outputs, args.halves = coordinates(w.inputs);
  args.head_width = w.outputs / w.heads, args.groups = w.groups, args.hops = w.hops, args.gain = w.gain;
  // Heads of a block fill whole groups of the projection.
  const int project_width = w.outputs / w.project_groups;
  args.block_heads = std::lcm(args.head_width, project_width) / args.head_width;
  args.blocks = w.heads / args.block_heads;
  check(w.joints <= kMostOfTeam * 4 && args.block_width() % 4 == 0,
        "the CUDA kernels run attention of up to ", kMostOfTeam * 4,
        " joints and of heads that fill fours of channels, got ", w.joints, " joints and ",
        args.block_width(), " channels; use the native backend on the CPU");
  args.by_joints = Divisor(w.joints), args.by_groups = Divisor(w.groups),

  args.by_norm_quads = Divisor(args.halves ? 1 : w.inputs / 4), args.by_hops = Divisor(w.hops);
  args.by_parts = Divisor(args.inputs * static_cast<int>(sizeof(T)) / 16);
  args.by_hop_quads = Divisor(args.depth() / 4), args.by_key_tiles = Divisor(ceil_div(args.keys(), 8));
  args.by_joint_tiles = Divisor(ceil_div(w.joints, 8)), args.by_block_tiles = Divisor(args.block_tiles());
  args.by_row_stride = Divisor(args.row_stride()), args.by_part_tiles = Divisor(args.part_tiles());
  args.by_quads = Divisor(args.block_width() / 4);
  const int c = args.head_width, stride = args.row_stride(), rows = args.part_tiles() * 16;
  const float scale = 1.4426950408889634f / std::sqrt(static_cast<float>(c));  // softmax takes powers of two
  const At qkv_at = meets(w.qkv, w.inputs), shortcut_at = meets(w.shortcut, w.inputs);
  std::vector<T> qkv, group, project, shortcut;
  std::vector<float> bias, project_bias;
  for (int block = 0; block < args.blocks; ++block) {
    const auto channel_of_row = [&](int row) {  // of all heads; -1 for the row between two heads and padding
      const int head = row / stride;
      return head < args.block_heads && row % stride < c
                 ? (block * args.block_heads + head) * c + row % stride
                 : -1;
    };
    for (int part = 0; part < 3; ++part) {
      const float by = part == 0 ? scale : 1.0f;
      pack(qkv, rows, depth_of(w.inputs), [&](int row, int k) {
        const int channel = channel_of_row(row);
        return channel < 0 ? 0.0f : by * qkv_at(part * w.outputs + channel, k);
      });
      for (int row = 0; row < rows; ++row) {
        const int channel = channel_of_row(row);
        const bool constant = part == 0 && channel < 0 && row / stride < args.block_heads;
        bias.push_back(constant ? scale : channel < 0 ? 0.0f : by * w.qkv_bias[part * w.outputs + channel]);
      }
    }
    // The row after a head's features is what its group weighs: group_weight . features.
    std::vector<float> features(static_cast<std::size_t>(rows * w.inputs));
    for (int row = 0; row < rows; ++row) {
      const int head = row / stride, channel = channel_of_row(row);
      if (head >= args.block_heads) continue;
      for (int k = 0; k < w.inputs; ++k) {
        double sum = 0;
        if (channel >= 0) {
          sum = w.group_features[channel * w.inputs + k];
        } else {
          const int whole = block * args.block_heads + head;
          for (int i = 0; i < c; ++i) {
            sum += static_cast<double>(w.group_weight[whole * c + i]) *
                   w.group_features[(whole * c + i) * w.inputs + k];
          }
        }
        features[static_cast<std::size_t>(row * w.inputs + k)] = static_cast<float>(sum);
      }
    }
    pack(group, rows, depth_of(w.inputs), meets(features.data(), w.inputs));
    const int width = args.block_width(), first = block * width;
    pack(project, width, width, [&](int row, int k) {
      return row / project_width == k / project_width
                 ? w.project[(first + row) * project_width + k % project_width]
                 : 0.0f;
    });
    for (int row = 0; row < padded(width); ++row) {
      project_bias.push_back(row < width ? w.project_bias[first + row] : 0.0f);
    }
    if (w.shortcut != nullptr) {
      pack(shortcut, width, depth_of(w.inputs), [&](int row, int k) { return shortcut_at(first + row, k); });
    }
  }
  std::vector<T> hops(static_cast<std::size_t>(w.heads * w.hops * args.depth()), from_float<T>(0));
  for (int head = 0; head < w.heads; ++head)
    for (int hop = 0; hop < w.hops; ++hop)
      for (int i = 0; i < c; ++i)
        hops[static_cast<std::size_t>((head * w.hops + hop) * args.depth() + i)] =
            from_float<T>(w.hop_features[hop * w.outputs + head * c + i]);
  std::vector<int> members, first_member;
  for (int g = 0; g < w.groups; ++g) {
    first_member.push_back(static_cast<int>(members.size()));
    for (int joint = 0; joint < w.joints; ++joint) {
      if (w.group_of[joint] == g) members.push_back(joint);
    }
  }
  first_member.push_back(w.joints);
  args.qkv = keep(qkv), args.group = keep(group), args.bias = keep(bias), args.hop_rows = keep(hops);
  args.project = keep(project), args.shortcut = w.shortcut != nullptr ? keep(shortcut) : nullptr;
  args.project_bias = keep(project_bias);
  args.attention_bias =
      keep(std::vector<float>(w.attention_bias, w.attention_bias + w.heads * w.joints * w.joints));
  args.group_of = keep(std::vector<int>(w.group_of, w.group_of + w.joints));
  args.hop_of = keep(std::vector<int>(w.hop_of, w.hop_of + w.joints * w.joints));
  args.members = keep(members), args.first_member = keep(first_member);
}

// A branch but for its convolution.
template <class T>
TemporalBranch<T> DeviceBlocks<T>::branch(Branch kind, int first, int width, const float* bias,
                                          const float* skip, const float* skip_bias, int residual_channels) {
  TemporalBranch<T> branch;
  branch.kind = kind, branch.first = first, branch.width = width;
  branch.bias = padded_floats(width, [&](int row) { return bias[first + row]; });
  if (skip != nullptr) {
    const At at = meets(skip, residual_channels);
    branch.skip =
        packed(width, depth_of(residual_channels), [&](int row, int k) { return at(first + row, k); });
    branch.skip_bias =
        padded_floats(width, [&](int row) { return skip_bias == nullptr ? 0.0f : skip_bias[first + row]; });
  }
  return branch;
}

template <class T>
void DeviceBlocks<T>::temporal(const MultiScaleTemporalWeights& w) {
  TemporalArgs<T>& args = next_.temporal;
  args.inputs = args.outputs = padded(w.channels), args.channels = w.channels;
  args.residual_channels = padded(w.skip != nullptr ? w.residual_channels : w.channels);
  args.stride = w.stride, args.relu_before = w.relu_before;
  args.branch_count = 4;
  const int width = w.channels / 4;
  for (int i = 0; i < 4; ++i) {
    const Branch kind = i < 2 ? Branch::taps : i == 2 ? Branch::pool : Branch::point;
    TemporalBranch<T> each = branch(kind, i * width, width, w.bias, w.skip, w.skip_bias, w.residual_channels);
    if (i < 3) {
      each.reduce = packed(width, w.channels,
                           [&](int row, int k) { return w.reduce[(i * width + row) * w.channels + k]; });
      each.reduce_bias = padded_floats(width, [&](int row) { return w.reduce_bias[i * width + row]; });
    }
    if (kind == Branch::taps) {
      const int depth = padded(width);
      each.taps = w.taps, each.dilation = i + 1;
      each.weight = packed(width, w.taps * depth, [&](int row, int k) {
        return k % depth < width ? w.dilated[i][(row * width + k % depth) * w.taps + k / depth] : 0.0f;
      });
    } else if (kind == Branch::pool) {
      each.scale = padded_floats(width, [&](int row) { return w.pool_scale[row]; });
    } else {
      each.weight = packed(width, w.channels, [&](int row, int k) { return w.point[row * w.channels + k]; });
    }
    args.branches[i] = each;
  }
}

template <class T>
void DeviceBlocks<T>::temporal(const TapsConvWeights& w) {
  TemporalArgs<T>& args = next_.temporal;
  args.inputs = padded(w.inputs), args.outputs = padded(w.outputs), args.channels = w.outputs;
  args.residual_channels = padded(w.skip != nullptr ? w.residual_channels : w.outputs),
  args.stride = w.stride;
  const int most_width = 64, depth = args.inputs;
  args.branch_count = ceil_div(w.outputs, most_width);
  check(args.branch_count <= kMostBranches, "the CUDA kernels run up to ", most_width * kMostBranches,
        " channels, got ", w.outputs, "; use the native backend on the CPU");
  for (int i = 0; i < args.branch_count; ++i) {
    const int first = i * most_width, width = least(most_width, w.outputs - first);
    TemporalBranch<T> each = branch(Branch::taps, first, width, w.bias, w.skip, nullptr, w.residual_channels);
    each.taps = w.taps;
    each.weight = packed(width, w.taps * depth, [&](int row, int k) {
      return k % depth < w.inputs ? w.weight[((first + row) * w.inputs + k % depth) * w.taps + k / depth]
                                  : 0.0f;
    });
    args.branches[i] = each;
  }
}

template class DeviceBlocks<float>;
template class DeviceBlocks<Half>;
template class DeviceBlocks<Bfloat16>;

}  // namespace ski_edge::cuda
