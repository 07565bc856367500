// From joints in metres to a network's input: what ski_edge.skeleton.prepare does, number for number.
#pragma once

#include <string>
#include <vector>

#include "ski_edge/ops/edges.h"

namespace ski_edge {

enum class Centre { none, first_frame, each_frame };
enum class Align { none, upright };
enum class Scale { none, box, bone };
enum class SecondBody { zeros, copy };
enum class Modality { joint, bone, joint_motion, bone_motion };

// From any number of frames to `frames` (ski_edge/skeleton/resample.py says whose policy is whose).
struct Resample {
  enum class Policy { crop_resize, even_sample, uniform_sample, zero_pad, fixed_seconds };
  Policy policy = Policy::crop_resize;
  int frames = 64;
  double keep = 0.95;  // crop-resize: share of the clip that is kept
  double seconds = 2;  // fixed-seconds: length of the window
  double fps = 30;     // fixed-seconds: frames per second of a clip
};

// A bundle's `skeleton`, and of its `native` what describes the joints. Fields mean what they mean in
// ski_edge.skeleton.SkeletonInput.
struct SkeletonSpec {
  std::string layout;              // for people: "ntu25"
  std::vector<int> parents;        // [V]; the root is its own
  std::vector<int> centre_joints;  // a clip is centred on their mean
  std::vector<int> upright;  // spine base, spine mid, left and right shoulder; empty: the layout lacks one
  int persons = 2;           // body slots of the network, M'
  SecondBody second_body = SecondBody::zeros;
  Centre centre = Centre::first_frame;
  Align align = Align::none;
  Scale scale = Scale::none;
  Resample resample;
  Modality modality = Modality::joint;
  bool root_trajectory = false;

  int joints() const { return static_cast<int>(parents.size()); }
};

// Throws BadInput for sizes and joints that cannot be.
void check_spec(const SkeletonSpec& spec);

// Throws BadInput unless `shape` is [T, M, V, 3], nothing of it empty, not longer than nine hours.
void check_shape(const std::vector<long>& shape, const SkeletonSpec& spec);

// sequence: metres, [frames, persons, V, 3], a missing body all zeros -> [3, T', V, M'] with T' =
// spec.resample.frames. A fixed-seconds window is the middle of the clip at the spec's own fps. Throws
// BadInput for NaN, for coordinates beyond float32, for a clip without anybody, and where body 1 is empty.
std::vector<float> prepare(const float* sequence, long frames, long persons, const SkeletonSpec& spec);
std::vector<float> prepare(const double* sequence, long frames, long persons, const SkeletonSpec& spec);

// What `prepare` returned, as Engine::run takes it.
ClipView clip_view(const std::vector<float>& prepared, const SkeletonSpec& spec);

}  // namespace ski_edge
