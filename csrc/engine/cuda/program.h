// A network for one number of bodies and frames: its activations in device memory, and its kernels in order.
#pragma once

#include <functional>
#include <vector>

#include "engine/cuda/network.h"

namespace ski_edge::cuda {

// A network's ends in device memory.
struct DeviceEnds {
  std::shared_ptr<float> scale, shift, head, head_bias;
  int features = 0;
};

template <class T>
struct DeviceNetwork {
  DeviceNetwork(const Machine& machine, const SafeTensors& file, const NetworkSpec& given) : spec(given) {
    DeviceBlocks<T> made(machine);
    const Ends read = read_network(file, spec, made);
    blocks = std::move(made.made), kept = std::move(made.kept);
    ends = {machine.upload(read.scale), machine.upload(read.shift), machine.upload(read.head),
            machine.upload(read.head_bias), read.features};
  }

  NetworkSpec spec;
  std::vector<DeviceBlock<T>> blocks;
  std::vector<std::shared_ptr<void>> kept;
  DeviceEnds ends;
};

// What a run reads and writes, in device memory.
struct Borders {
  ClipView x;                    // device memory
  const int* bodies = nullptr;   // [body][2]: clip, slot
  const int* body_of = nullptr;  // [clip][person]
  const float* empty = nullptr;  // [person][D]
  int clips = 0;
  float *logits = nullptr, *features = nullptr;
};

template <class T>
class Program {
 public:
  Program(const Machine& machine, const DeviceNetwork<T>& network, int bodies, int frames)
      : machine_(machine), network_(network), bodies_(bodies), frames_(frames) {
    plan();
  }

  // Starts all kernels, on the machine's stream unless another is given.
  void run(const Borders& borders, cudaStream_t stream = nullptr) const {
    const NetworkSpec& spec = network_.spec;
    NormaliseArgs<T> in;
    in.x = borders.x.data, in.clip_step = borders.x.clip_step, in.coordinate_step = borders.x.coordinate_step;
    in.frame_step = borders.x.frame_step, in.joint_step = borders.x.joint_step;
    in.person_step = borders.x.person_step, in.bodies = borders.bodies;
    in.scale = network_.ends.scale.get(), in.shift = network_.ends.shift.get();
    in.body_count = bodies_, in.frames = frames_, in.joints = spec.joints, in.y = input_,
    in.sums = input_sums_;
    if (bodies_ > 0) machine_.launch<NormaliseKernel<T>>(in, stream);
    for (const DeviceBlock<T>& block : blocks_) {
      if (bodies_ == 0) break;
      if (block.refined) machine_.launch<TopologyKernel<T>>(block.topology, stream);
      if (block.attends) {
        start_attention(block.attention, stream);
      } else {
        machine_.launch<GraphConvKernel<T>>(block.graph_conv, stream, block.refined);
      }
      if (block.temporal.tile == 2) {
        machine_.launch<TemporalKernel<T, 2>>(block.temporal, stream);
      } else {
        machine_.launch<TemporalKernel<T, 1>>(block.temporal, stream);
      }
    }
    HeadArgs out;
    const TemporalArgs<T>& last = blocks_.back().temporal;
    out.sums = last.sums, out.chunks = last.chunks, out.joints = spec.joints, out.channels = last.outputs;
    out.width = network_.ends.features, out.persons = spec.persons, out.classes = spec.classes;
    out.person_scale = 1.0f / static_cast<float>(spec.persons);
    out.scale = out.person_scale / static_cast<float>(last.output_frames() * spec.joints);
    out.body_of = borders.body_of, out.empty = borders.empty, out.clips = borders.clips;
    out.weight = network_.ends.head.get(), out.bias = network_.ends.head_bias.get();
    out.logits = borders.logits, out.features = borders.features;
    machine_.launch<HeadKernel>(out, stream);
  }

  int bodies() const { return bodies_; }
  int frames() const { return frames_; }
  std::size_t bytes() const { return bytes_; }

 private:
  template <class U>
  U* take(long count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(U);
    memory_.push_back(machine_.memory(bytes));
    bytes_ += bytes;
    return static_cast<U*>(memory_.back().get());
  }

  void plan() {
    const int joints = network_.spec.joints;
    input_ = take<T>(static_cast<long>(bodies_) * round_up(frames_ * joints, 8) * kInputChannels);
    input_sums_ = take<float>(static_cast<long>(bodies_) * joints * kInputChannels);
    long largest = 0, graphs = 0;
    int frames = frames_;
    for (const DeviceBlock<T>& block : network_.blocks) {
      const long columns =
          std::max(round_up(frames * joints, 8), joints * round_up(frames, 8));  // of either order
      largest = std::max(largest, bodies_ * columns * padded(block.outputs));
      if (block.refined) graphs = std::max(graphs, bodies_ * block.graph_conv.graph_body_step);
      frames = ceil_div(frames, block.stride);
    }
    T* buffers[3];
    for (T*& buffer : buffers) buffer = take<T>(largest);
    T* const refined = graphs > 0 ? take<T>(graphs) : nullptr;
    const T* x = input_;
    const float* sums = input_sums_;
    int chunks = 1, next = 0;
    frames = frames_;
    for (const DeviceBlock<T>& block : network_.blocks) {
      DeviceBlock<T> placed = block;
      T *const y = buffers[next], *const z = buffers[(next + 1) % 3];
      place_spatial(placed, x, y, refined, sums, chunks, frames);
      TemporalArgs<T>& temporal = placed.temporal;
      temporal.x = y, temporal.y = z, temporal.residual = block.residual ? x : nullptr;
      temporal.bodies = bodies_, temporal.frames = frames, temporal.joints = joints;
      cut_frames(temporal);
      temporal.sums = take<float>(static_cast<long>(bodies_) * temporal.chunks * joints * temporal.outputs);
      x = z, sums = temporal.sums, chunks = temporal.chunks, frames = temporal.output_frames();
      next = (next + 2) % 3;  // x stays untouched until the block that reads it has ended
      blocks_.push_back(placed);
    }
  }

  void place_spatial(DeviceBlock<T>& block, const T* x, T* y, T* refined, const float* sums, int chunks,
                     int frames) const {
    const bool many = bodies_ * ceil_div(frames, 8) > machine_.multiprocessors();
    if (block.refined) {
      TopologyArgs<T>& args = block.topology;
      args.sums = sums, args.chunks = chunks, args.scale = 1.0f / static_cast<float>(frames);
      args.bodies = bodies_, args.graphs = refined;
      // As few destinations to a block as fill the device once; each block computes queries and keys anew.
      const int others = bodies_ * args.subsets * args.channel_blocks();
      args.block_joints = std::clamp(args.joints * others / machine_.multiprocessors(), 2, 5);
      block.graph_conv.graphs = refined;
    }
    if (block.attends) {
      AttentionArgs<T>& args = block.attention;
      args.x = x, args.y = y, args.bodies = bodies_, args.frames = frames;
      // Two frames share the loads of all weights, where their joints fit and blocks are not few.
      const int blocks = bodies_ * frames * args.blocks;
      args.block_frames =
          sizeof(T) == 2 && 2 * args.joints <= 56 && blocks >= 8 * machine_.multiprocessors() ? 2 : 1;
      args.by_block_frames = Divisor(args.block_frames);
      return;
    }
    GraphConvArgs<T>& args = block.graph_conv;
    args.x = x, args.y = y, args.bodies = bodies_, args.frames = frames;
    args.block_frames = many ? 16 : 8;
  }

  void start_attention(const AttentionArgs<T>& args, cudaStream_t stream) const {
    if (args.columns() <= 32) {
      machine_.launch<AttentionKernel<T, 4>>(args, stream);
    } else {
      machine_.launch<AttentionKernel<T, 7>>(args, stream);
    }
  }

  // As many output frames to a block as the shared memory every device has allows; two joints where blocks
  // would be more than the device runs at a time: they share the loads of weights.
  void cut_frames(TemporalArgs<T>& args) const {
    const int blocks = args.joints * args.branch_count * args.bodies;
    int joints = args.joints > 1 && blocks > machine_.multiprocessors() ? 2 : 1;
    args.cut(std::min(64, round_up(args.output_frames(), 8)), joints);
    while (TemporalKernel<T, 1>::shared_bytes(args) > 64 * 1024 && (joints > 1 || args.block_frames > 8)) {
      const int frames = joints > 1 ? args.block_frames : round_up(args.block_frames / 2, 8);
      joints = 1;
      args.cut(frames, joints);
    }
  }

  const Machine& machine_;
  const DeviceNetwork<T>& network_;
  int bodies_, frames_;
  std::vector<std::shared_ptr<void>> memory_;
  std::size_t bytes_ = 0;
  T* input_ = nullptr;
  float* input_sums_ = nullptr;
  std::vector<DeviceBlock<T>> blocks_;
};

}  // namespace ski_edge::cuda
