// What dispatch files share: checks of activations, and matrices for kernels.
#pragma once

#include <initializer_list>
#include <string>

#include "ski_edge/activation.h"
#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

inline void check_size(const char* op, const char* what, int value, int most) {
  check(value >= 1 && value <= most, op, ": ", what, " must be 1 to ", most, ", got ", value);
}

// Weights that an op cannot do without.
inline void check_given(const char* op, const char* what, const void* data) {
  check(data != nullptr, op, ": ", what, " must be given, got no data");
}

inline std::string shape(const Activation& x) {
  std::ostringstream text;
  text << "[" << x.bodies << ", " << x.channels << ", " << x.joints << ", " << x.frames << "]"
       << (x.split ? " split" : "");
  return text.str();
}

// What sizes a workspace, with or without data.
inline void check_sizes(const char* op, const char* what, const Activation& x, int channels, int joints) {
  check(x.bodies >= 1 && x.channels >= 1 && x.joints >= 1 && x.frames >= 1, op, ": ", what,
        " must hold data of at least one body, channel, joint and frame, got ", shape(x));
  check(x.bodies <= kMostBodies && x.channels <= kMostChannels && x.joints <= kMostJoints &&
            x.frames <= kMostFrames,
        op, ": ", what, " must have up to ", kMostBodies, " bodies, ", kMostChannels, " channels, ",
        kMostJoints, " joints and ", kMostFrames, " frames, got ", shape(x), "; give it in parts");
  check(x.channels == channels && x.joints == joints, op, ": ", what, " must be [N, ", channels, ", ", joints,
        ", T], got ", shape(x));
}

inline void check_activation(const char* op, const char* what, const Activation& x, int channels,
                             int joints) {
  check_sizes(op, what, x, channels, joints);
  check(x.data != nullptr, op, ": ", what, " must hold data, got ", shape(x), " of nothing");
}

// How many joints of x a thread takes at a time: some 64 columns, so that the inputs of a tile stay in the
// first cache.
inline int joints_per_task(int output_frames, int joints) {
  const int fit = output_frames < 1 ? 1 : 64 / padded_frames(output_frames);
  return fit < 1 ? 1 : fit > joints ? joints : fit;
}

// Counted in long: sizes within the limits, where an int might be too small for their product.
template <class... Sizes>
std::size_t product(Sizes... sizes) {
  return (static_cast<std::size_t>(sizes) * ...);
}

// How many tasks there are of so many bodies, panels and so on.
inline int task_count(const char* op, std::initializer_list<int> factors) {
  long tasks = 1;
  for (const int factor : factors) {
    tasks *= factor;
    check(tasks < 1L << 31, op, ": one call of ", tasks, " tasks is too large; give fewer bodies at a time");
  }
  return static_cast<int>(tasks);
}

// Steps along a product's depth for so many rows.
inline int steps(int rows, int pack) { return (rows + pack - 1) / pack; }

// Workspace of one op: pieces at multiples of 16 floats.
class Pieces {
 public:
  explicit Pieces(float* memory) : memory_(memory) {}
  float* take(std::size_t floats) {
    float* piece = memory_ == nullptr ? nullptr : memory_ + taken_;
    taken_ += (floats + 15) / 16 * 16;
    return piece;
  }
  // One piece per thread, of which each takes its own.
  class PerThread {
   public:
    PerThread(float* memory, std::size_t step) : memory_(memory), step_(step) {}
    float* operator[](int thread) const { return memory_ + static_cast<std::size_t>(thread) * step_; }

   private:
    float* memory_;
    std::size_t step_;
  };
  PerThread take_per_thread(std::size_t floats, int threads) {
    const std::size_t step = (floats + 15) / 16 * 16;
    return PerThread(take(step * static_cast<std::size_t>(threads)), step);
  }
  std::size_t taken() const { return taken_; }

 private:
  float* memory_;
  std::size_t taken_ = 0;
};

}  // namespace ski_edge
