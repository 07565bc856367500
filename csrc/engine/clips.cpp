#include "engine/clips.h"

#include <cmath>

#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

void check_clips(const ClipView& x, const NetworkSpec& spec) {
  check(x.data != nullptr && x.clips >= 0, "a clip must hold data, got nothing or ", x.clips, " clips");
  check(x.joints == spec.joints && x.persons == spec.persons, "a clip must be [N, 3, T, ", spec.joints, ", ",
        spec.persons, "], got ", x.joints, " joints and ", x.persons, " persons");
  check(x.frames >= 1 && x.frames <= kMostFrames, "a clip must have 1 to ", kMostFrames, " frames, got ",
        x.frames);
}

bool is_empty(const ClipView& x, const Body& body) {
  const float* from = x.data + body.clip * x.clip_step + body.slot * x.person_step;
  bool empty = true, finite = true;
  for (long c = 0; c < 3; ++c) {
    for (long t = 0; t < x.frames; ++t) {
      for (long v = 0; v < x.joints; ++v) {
        const float value = from[c * x.coordinate_step + t * x.frame_step + v * x.joint_step];
        empty = empty && value == 0.0f;
        finite = finite && std::isfinite(value);
      }
    }
  }
  check(finite, "body ", body.slot, " of clip ", body.clip, " holds NaN or infinity; give finite numbers");
  return empty;
}

}  // namespace ski_edge
