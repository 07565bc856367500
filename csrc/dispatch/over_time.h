// What convolutions over time share: their weights, their checks, and the sizes of what a task keeps.
#pragma once

#include <vector>

#include "dispatch/arguments.h"
#include "ski_edge/panels.h"

namespace ski_edge {

// [rows, channels, taps] -> panels with the depth ordered (tap, channel), each tap's channels filled up to
// whole steps.
inline void add_taps(Panels& panels, const float* weight, int rows, int channels, int taps,
                     PanelFormat format) {
  const int each = steps(channels, format.pack) * format.pack;
  std::vector<float> ordered(product(rows * each, taps));
  for (int i = 0; i < rows; ++i) {
    for (int c = 0; c < channels; ++c) {
      for (int k = 0; k < taps; ++k) {
        ordered[product(i * taps + k, each) + static_cast<std::size_t>(c)] =
            weight[(i * channels + c) * taps + k];
      }
    }
  }
  panels.add(ordered.data(), rows, each * taps, format);
}

inline void check_time(const char* op, int stride, int taps, int most_taps) {
  check(stride == 1 || stride == 2, op, ": stride must be 1 or 2, got ", stride);
  check(taps >= 1 && taps <= most_taps && taps % 2 == 1, op, ": taps must be an odd number up to ", most_taps,
        ", got ", taps);
}

// Frames and residual fit x and the stride. The kernels read a strided residual's even part, which has the
// frames of y.
inline void check_run(const char* op, const Activation& x, const Activation& residual, const Activation& y,
                      int stride, int residual_channels) {
  check(x.split == (stride == 2), op, ": x must be split exactly where the stride is 2, got stride ", stride,
        " and ", shape(x));
  const int frames = (x.frames + stride - 1) / stride;
  check(y.bodies == x.bodies && y.frames == frames, op, ": y must have ", x.bodies, " bodies and ", frames,
        " frames, got ", shape(y));
  if (residual.data == nullptr) return;
  check(residual.bodies == x.bodies && residual.channels == residual_channels &&
            residual.joints == x.joints && residual.frames == x.frames && residual.split == x.split,
        op, ": the residual must be [", x.bodies, ", ", residual_channels, ", ", x.joints, ", ", x.frames,
        "], laid out as x, got ", shape(residual));
}

inline int tasks(const char* op, const Activation& x, int per_task) {
  return task_count(op, {x.bodies, (x.joints + per_task - 1) / per_task});
}

// Rows of x's columns with zeros around them, see cpu/shifted.h.
inline std::size_t shifted_floats(const Activation& x, int rows, int joints) {
  return product(rows * joints, x.joint_step() + 8 * x.parts()) + kFrameAlignment;
}

// Columns as products take them, where those take pairs.
inline std::size_t packed_floats(const Activation& x, int channels, int joints, int pack) {
  return pack == 2 ? product(steps(channels, 2) * joints, x.joint_step()) : 0;
}

}  // namespace ski_edge
