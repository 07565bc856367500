// The layout of everything between two ops: time last.
//
// [body][channel][joint][frame], float32, frames padded to a multiple of 16. All frames of a joint lie side
// by side, so every op runs along them with full vectors and no lane ever needs its neighbour: graph
// contraction, 1x1 convolution and attention are products whose columns are frames, temporal convolution
// reads the same columns shifted. Padding may hold anything, NaN too: no op lets it reach a valid frame.
//
// A split activation keeps even frames first, then odd ones, each padded by itself: what an op that takes
// every second frame reads. Ops that treat all frames alike do not care.
#pragma once

#include <cstddef>

// These are used in files compiled for different instruction sets, of which the linker would keep one copy
// (see cpu/simd.h): there must be none to keep.
#define SKI_EDGE_IN_PLACE __attribute__((always_inline))

namespace ski_edge {

constexpr int kFrameAlignment = 16;

SKI_EDGE_IN_PLACE constexpr int padded_frames(int frames) {
  return (frames + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment;
}

struct Activation {
  float* data = nullptr;  // aligned to 64 bytes
  int bodies = 0, channels = 0, joints = 0, frames = 0;
  bool split = false;

  SKI_EDGE_IN_PLACE int parts() const { return split ? 2 : 1; }
  // Valid frames of a part.
  SKI_EDGE_IN_PLACE int part_frames(int part) const { return split ? (frames + 1 - part) / 2 : frames; }
  // Floats from one part of a joint to the next.
  SKI_EDGE_IN_PLACE int part_step() const { return padded_frames(part_frames(0)); }
  SKI_EDGE_IN_PLACE int joint_step() const { return parts() * part_step(); }
  // Columns of a channel, which is also the step from channel to channel.
  SKI_EDGE_IN_PLACE int columns() const { return joints * joint_step(); }
  SKI_EDGE_IN_PLACE std::size_t body_step() const {
    return static_cast<std::size_t>(channels) * static_cast<std::size_t>(columns());
  }
  SKI_EDGE_IN_PLACE std::size_t floats() const { return static_cast<std::size_t>(bodies) * body_step(); }
  SKI_EDGE_IN_PLACE float* body(int index) const {
    return data + static_cast<std::size_t>(index) * body_step();
  }
};

// One frame of all bodies, for networks that run frame by frame: [body][channel][joint], joints padded to a
// multiple of
// 16. Padding may hold anything.
struct FrameActivation {
  float* data = nullptr;  // aligned to 64 bytes
  int bodies = 0, channels = 0, joints = 0;

  SKI_EDGE_IN_PLACE int row() const { return padded_frames(joints); }
  SKI_EDGE_IN_PLACE std::size_t floats() const {
    return static_cast<std::size_t>(bodies) * static_cast<std::size_t>(channels) *
           static_cast<std::size_t>(row());
  }
};

}  // namespace ski_edge
