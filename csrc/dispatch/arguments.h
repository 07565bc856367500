// What dispatch files share: checks of activations, and matrices for kernels.
#pragma once

#include <string>

#include "ski_edge/activation.h"
#include "ski_edge/check.h"

namespace ski_edge {

constexpr int kMostChannels = 4096, kMostJoints = 256, kMostFrames = 1 << 20;

inline void check_size(const char* op, const char* what, int value, int most) {
  check(value >= 1 && value <= most, op, ": ", what, " must be 1 to ", most, ", got ", value);
}

inline std::string shape(const Activation& x) {
  std::ostringstream text;
  text << "[" << x.bodies << ", " << x.channels << ", " << x.joints << ", " << x.frames << "]"
       << (x.split ? " split" : "");
  return text.str();
}

inline void check_activation(const char* op, const char* what, const Activation& x, int channels,
                             int joints) {
  check(x.data != nullptr && x.bodies >= 1 && x.channels >= 1 && x.joints >= 1 && x.frames >= 1, op, ": ",
        what, " must hold data of at least one body, channel, joint and frame, got ", shape(x));
  check(x.joints <= kMostJoints && x.frames <= kMostFrames, op, ": ", what, " must have up to ", kMostJoints,
        " joints and ", kMostFrames, " frames, got ", shape(x));
  check(x.channels == channels && x.joints == joints, op, ": ", what, " must be [N, ", channels, ", ", joints,
        ", T], got ", shape(x));
}

// How many joints of x a thread takes at a time: some 64 columns, so that the inputs of a tile stay in the
// first cache.
inline int joints_per_task(int output_frames, int joints) {
  const int fit = output_frames < 1 ? 1 : 64 / padded_frames(output_frames);
  return fit < 1 ? 1 : fit > joints ? joints : fit;
}

inline std::size_t product(long a, long b) {
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b);
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
