// A network's weights as the CUDA kernels read them: padded to whole tiles, packed, in T.
#pragma once

#include <functional>
#include <variant>

#include "cuda/edges.h"
#include "cuda/graph_conv.h"
#include "cuda/hyperedge_attention.h"
#include "cuda/machine.h"
#include "cuda/temporal.h"
#include "cuda/topology.h"
#include "engine/network.h"

namespace ski_edge::cuda {

inline int padded(int channels) { return round_up(channels, 16); }

// Ops of a block; arguments are complete but for activations and their sizes.
template <class T>
struct DeviceBlock {
  bool refined = false, attends = false;  // ctr_gc; attention
  TopologyArgs<T> topology;
  GraphConvArgs<T> graph_conv;
  AttentionArgs<T> attention;
  TemporalArgs<T> temporal;
  int inputs = 0, outputs = 0, stride = 1;
  bool residual = false;
};

template <class T>
class DeviceBlocks final : public BlockMaker {
 public:
  explicit DeviceBlocks(const Machine& machine) : machine_(machine) {}

  void spatial(const CtrGcWeights& w) override;
  void spatial(const GraphConvWeights& w) override;
  void spatial(const HyperedgeAttentionWeights& w) override;
  void temporal(const MultiScaleTemporalWeights& w) override;
  void temporal(const TapsConvWeights& w) override;
  void block(int inputs, int outputs, int stride, bool residual) override {
    next_.inputs = inputs, next_.outputs = outputs, next_.stride = stride, next_.residual = residual;
    // A column's channels lie a block's size apart.
    next_.temporal.zeros =
        keep(std::vector<T>(static_cast<std::size_t>(next_.temporal.inputs / 16 * kBlockNumbers)));
    made.push_back(next_);
    next_ = DeviceBlock<T>();
  }

  std::vector<DeviceBlock<T>> made;
  std::vector<std::shared_ptr<void>> kept;  // memory of all weights

 private:
  using At = std::function<float(int, int)>;  // (row, k)

  template <class U>
  const U* keep(const std::vector<U>& numbers) {
    const std::shared_ptr<U> memory = machine_.upload(numbers);
    kept.push_back(memory);
    return memory.get();
  }
  // Packed, appended to `to`.
  static void pack(std::vector<T>& to, int rows, int depth, const At& at) {
    const int steps = padded(depth) / 16;
    const std::size_t begin = to.size();
    to.resize(begin + static_cast<std::size_t>(padded(rows)) * static_cast<std::size_t>(padded(depth)),
              from_float<T>(0));
    for (int row = 0; row < rows; ++row)
      for (int k = 0; k < depth; ++k)
        to[begin + static_cast<std::size_t>(packed_index(row, k, steps))] = from_float<T>(at(row, k));
  }
  const T* packed(int rows, int depth, const At& at) {
    std::vector<T> numbers;
    pack(numbers, rows, depth, at);
    return keep(numbers);
  }
  const float* padded_floats(int rows, const std::function<float(int)>& at) {
    std::vector<float> numbers(static_cast<std::size_t>(padded(rows)));
    for (int row = 0; row < rows; ++row) numbers[static_cast<std::size_t>(row)] = at(row);
    return keep(numbers);
  }
  // Weights [rows, channels] that meet activations of `channels`. The first block's are coordinates in
  // kInputChannels (edges.h).
  bool coordinates(int channels) const { return made.empty() && channels == 3; }
  int depth_of(int channels) const { return coordinates(channels) ? 9 : channels; }
  At meets(const float* weights, int channels) const {
    if (!coordinates(channels)) return [=](int row, int k) { return weights[row * channels + k]; };
    return [=](int row, int k) {
      const float weight = weights[row * 3 + k % 3], high = to_float(from_float<T>(weight));
      return k < 6 ? high : weight - high;
    };
  }
  void values(int inputs, int outputs, int subsets, int joints, const float* value, const float* value_bias,
              const float* shift, const float* shortcut);
  TemporalBranch<T> branch(Branch kind, int first, int width, const float* bias, const float* skip,
                           const float* skip_bias, int residual_channels);

  const Machine& machine_;
  DeviceBlock<T> next_;
};

extern template class DeviceBlocks<float>;
extern template class DeviceBlocks<Half>;
extern template class DeviceBlocks<Bfloat16>;

}  // namespace ski_edge::cuda
