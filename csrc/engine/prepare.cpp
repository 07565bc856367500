// double and float change places exactly where the numpy code changes them, so that both round alike.
#include "ski_edge/prepare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {
namespace {

constexpr long kLongest = 1'000'000;  // frames; nine hours
constexpr long kMostPeople = 1024;    // bodies in a recording, of which a network takes the first few

using Vector = std::array<double, 3>;
using Rotation = std::array<Vector, 3>;

// [T, M, V, 3].
template <class Real>
struct Clip {
  long frames, persons, joints;
  std::vector<Real> values;

  Clip(long t, long m, long v)
      : frames(t), persons(m), joints(v), values(static_cast<std::size_t>(t * m * v * 3)) {}
  long body_size() const { return joints * 3; }
  Real* at(long frame, long person, long joint = 0) {
    return values.data() + ((frame * persons + person) * joints + joint) * 3;
  }
};

bool any(const double* from, long count) {
  return std::any_of(from, from + count, [](double x) { return x != 0; });
}

// The frames from the first to the last one with anybody in it, as many bodies as the network has slots.
template <class Real>
Clip<double> cut(const Real* sequence, long frames, long persons, const SkeletonSpec& spec) {
  const long body = spec.joints() * 3L, size = persons * body;
  long start = -1, stop = 0;
  for (long t = 0; t < frames; ++t) {
    const Real* const frame = sequence + t * size;
    check(std::all_of(frame, frame + size, [](Real x) { return std::isfinite(x); }), "frame ", t,
          " of the skeleton holds NaN or infinity");
    if (std::all_of(frame, frame + size, [](Real x) { return x == 0; })) continue;
    if (start < 0) start = t;
    stop = t + 1;
  }
  check(stop > 0, "the skeleton is empty: all joints of all frames are zero");
  Clip<double> clip(stop - start, std::min<long>(persons, spec.persons), spec.joints());
  for (long t = 0; t < clip.frames; ++t) {
    const Real* const frame = sequence + (start + t) * size;
    std::copy(frame, frame + clip.persons * body, clip.at(t, 0));
  }
  return clip;
}

Vector mean_joint(const double* body, const std::vector<int>& joints) {
  Vector mean = {};
  for (const int joint : joints)
    for (std::size_t i = 0; i < 3; ++i) mean[i] += body[3 * static_cast<std::size_t>(joint) + i];
  for (double& x : mean) x /= static_cast<double>(joints.size());
  return mean;
}

// `first`: the first frame with body 1. Where body 1 is missing, each-frame keeps its last known centre.
void centre(Clip<double>& clip, const std::vector<char>& present, long first, const SkeletonSpec& spec) {
  Vector origin = mean_joint(clip.at(first, 0), spec.centre_joints);
  for (long t = 0; t < clip.frames; ++t) {
    const char* const here = present.data() + t * clip.persons;
    if (spec.centre == Centre::each_frame && here[0]) origin = mean_joint(clip.at(t, 0), spec.centre_joints);
    for (long m = 0; m < clip.persons; ++m) {
      double* const body = clip.at(t, m);
      for (long i = 0; here[m] && i < clip.body_size(); ++i)
        body[i] -= origin[static_cast<std::size_t>(i % 3)];
    }
  }
}

double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

Vector turned(const Rotation& r, const Vector& x) { return {dot(r[0], x), dot(r[1], x), dot(r[2], x)}; }

Rotation product(const Rotation& a, const Rotation& b) {
  Rotation out;
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) out[i][j] = dot(a[i], {b[0][j], b[1][j], b[2][j]});
  return out;
}

// The smallest rotation that takes `vector` to the direction of `axis`, of length 1 (Rodrigues); see
// ski_edge/skeleton/rotations.py.
Rotation rotation_onto(const Vector& vector, const Vector& axis) {
  Rotation out = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  const double length = std::sqrt(dot(vector, vector));
  if (length < 1e-9) return out;
  const Vector unit = {vector[0] / length, vector[1] / length, vector[2] / length};
  const Vector c = cross(unit, axis);
  const double cosine = dot(unit, axis);
  if (std::sqrt(dot(c, c)) < 1e-9) return out;
  const Rotation skew = {{{0, -c[2], c[1]}, {c[2], 0, -c[0]}, {-c[1], c[0], 0}}};
  const Rotation square = product(skew, skew);
  // The same number twice: against the axis 1 + cos is lost to rounding, along it 1 - cos is.
  const double beyond = cosine > 0 ? 1 + cosine : dot(c, c) / (1 - cosine);
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) out[i][j] = out[i][j] + skew[i][j] + square[i][j] / beyond;
  return out;
}

// Spine to +z, then left-to-right shoulder to +x, of one body; all bodies are turned alike.
void stand_upright(Clip<double>& clip, long first, const std::vector<int>& joints) {
  const auto between = [&](int from, int to) {
    const double *a = clip.at(first, 0, from), *b = clip.at(first, 0, to);
    return Vector{b[0] - a[0], b[1] - a[1], b[2] - a[2]};
  };
  const Rotation spine = rotation_onto(between(joints[0], joints[1]), {0, 0, 1});
  const Vector across = turned(spine, between(joints[2], joints[3]));
  const Rotation turn = product(rotation_onto(across, {1, 0, 0}), spine);
  for (std::size_t i = 0; i < clip.values.size(); i += 3) {
    double* const joint = clip.values.data() + i;
    const Vector now = turned(turn, {joint[0], joint[1], joint[2]});
    std::copy(now.begin(), now.end(), joint);
  }
}

// To a mean bone length of 1, over all frames of body 1.
void scale_by_bone(Clip<double>& clip, const std::vector<char>& present, const SkeletonSpec& spec) {
  double sum = 0;
  long count = 0;
  for (long t = 0; t < clip.frames; ++t) {
    for (int child = 0; present[static_cast<std::size_t>(t * clip.persons)] && child < spec.joints();
         ++child) {
      const int parent = spec.parents[static_cast<std::size_t>(child)];
      if (parent == child) continue;
      const double *a = clip.at(t, 0, child), *b = clip.at(t, 0, parent);
      const Vector bone = {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
      sum += std::sqrt(dot(bone, bone));
      ++count;
    }
  }
  const double length = sum / static_cast<double>(count);
  check(length >= 1e-9, "all joints of body 1 lie in one point, so its size is unknown");
  for (double& x : clip.values) x /= length;
}

// Every slot of the network: missing bodies are zeros, or copies of body 1 where it is alone.
Clip<float> fill_slots(Clip<double>& clip, const std::vector<char>& present, const SkeletonSpec& spec) {
  bool alone = true;
  for (std::size_t i = 0; i < present.size(); ++i)
    alone &= i % static_cast<std::size_t>(clip.persons) == 0 || !present[i];
  const bool copy = alone && spec.second_body == SecondBody::copy;
  Clip<float> out(clip.frames, spec.persons, clip.joints);
  for (long t = 0; t < clip.frames; ++t) {
    for (long m = 0; m < spec.persons; ++m) {
      if (m >= clip.persons && !copy) continue;
      const double* const from = clip.at(t, copy ? 0 : m);
      std::transform(from, from + clip.body_size(), out.at(t, m),
                     [](double x) { return static_cast<float>(x); });
    }
  }
  return out;
}

template <class Real>
Clip<float> arrange(const Real* sequence, long frames, long persons, const SkeletonSpec& spec) {
  Clip<double> clip = cut(sequence, frames, persons, spec);
  std::vector<char> present(static_cast<std::size_t>(clip.frames * clip.persons));  // [T, M]
  long first = -1;                                                                  // frame with body 1
  for (long i = 0; i < clip.frames * clip.persons; ++i) {
    const long t = i / clip.persons, m = i % clip.persons;
    present[static_cast<std::size_t>(i)] = any(clip.at(t, m), clip.body_size());
    if (first < 0 && m == 0 && present[static_cast<std::size_t>(i)]) first = t;
  }
  check(first >= 0, "body 1 is empty in the whole clip; put the person who is there first");
  if (spec.centre != Centre::none) centre(clip, present, first, spec);
  if (spec.align == Align::upright) stand_upright(clip, first, spec.upright);
  if (spec.scale == Scale::bone) scale_by_bone(clip, present, spec);
  return fill_slots(clip, present, spec);
}

// Each axis to [-1, 1] over the whole clip.
void scale_by_box(Clip<float>& clip) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    float low = clip.values[axis], high = low;
    for (std::size_t i = axis; i < clip.values.size(); i += 3) {
      low = std::min(low, clip.values[i]);
      high = std::max(high, clip.values[i]);
    }
    const float range = std::max(high - low, 1e-6f);
    for (std::size_t i = axis; i < clip.values.size(); i += 3)
      clip.values[i] = (clip.values[i] - low) / range * 2 - 1;
  }
}

constexpr double kZeros = std::numeric_limits<double>::quiet_NaN();  // the position of a frame of zeros

// Not std::clamp: low may be above high, and then high counts, as in numpy.
double clip_to(double x, double low, double high) { return std::min(std::max(x, low), high); }

// Where output frame `i` lies in a clip of `length` frames.
double position(const Resample& resample, long length, int i) {
  const double frames = resample.frames, last = static_cast<double>(length - 1);
  switch (resample.policy) {
    case Resample::Policy::crop_resize: {
      const long bias = static_cast<long>((1 - resample.keep) * static_cast<double>(length) / 2);
      const auto kept = static_cast<double>(length - 2 * bias);
      return static_cast<double>(bias) + clip_to((i + 0.5) * (kept / frames) - 0.5, 0, kept - 1);
    }
    case Resample::Policy::even_sample:  // numpy.linspace, whose last value is exact
      if (resample.frames > 1 && i == resample.frames - 1) return last;
      return resample.frames == 1 ? 0 : std::floor(i * (last / (frames - 1)));
    case Resample::Policy::uniform_sample:
      return std::floor((i + 0.5) * static_cast<double>(length) / frames);
    case Resample::Policy::zero_pad:
      return i < length ? i : kZeros;
    case Resample::Policy::fixed_seconds: {
      const double span = resample.seconds * resample.fps;
      const double back = (resample.frames - 1 - i) * (resample.seconds / frames);
      return clip_to((last + span) / 2 - back * resample.fps, 0, last);
    }
  }
  refuse("resample: a policy that is not known");
}

// The frames at all positions, interpolated.
Clip<float> take(Clip<float>& clip, const Resample& resample) {
  Clip<float> out(resample.frames, clip.persons, clip.joints);
  const long size = clip.persons * clip.body_size();
  for (int i = 0; i < resample.frames; ++i) {
    const double where = position(resample, clip.frames, i);
    if (std::isnan(where)) continue;
    const long before = static_cast<long>(std::floor(where));
    const auto weight = static_cast<float>(where - static_cast<double>(before));
    const float* const a = clip.at(before, 0);
    const float* const b = clip.at(std::min(before + 1, clip.frames - 1), 0);
    float* const to = out.at(i, 0);
    for (long k = 0; k < size; ++k) to[k] = a[k] * (1 - weight) + b[k] * weight;
  }
  return out;
}

// Joints or bones, and their motion.
void to_modality(Clip<float>& clip, const SkeletonSpec& spec) {
  const bool bone = spec.modality == Modality::bone || spec.modality == Modality::bone_motion;
  const bool motion = spec.modality == Modality::joint_motion || spec.modality == Modality::bone_motion;
  int root = 0;
  while (spec.parents[static_cast<std::size_t>(root)] != root) ++root;
  std::vector<float> body(static_cast<std::size_t>(clip.body_size()));
  for (long i = 0; (bone || spec.root_trajectory) && i < clip.frames * clip.persons; ++i) {
    float* const to = clip.at(0, i);
    std::copy(to, to + clip.body_size(), body.begin());
    for (int v = 0; v < spec.joints(); ++v) {
      if (v == root && spec.root_trajectory) continue;  // it stays where it is
      const int from = bone ? spec.parents[static_cast<std::size_t>(v)] : root;
      for (int k = 0; k < 3; ++k) to[3 * v + k] -= body[static_cast<std::size_t>(3 * from + k)];
    }
  }
  const long size = clip.persons * clip.body_size();
  for (long t = 0; motion && t < clip.frames; ++t) {
    float* const now = clip.at(t, 0);
    const float* const next = clip.at(std::min(t + 1, clip.frames - 1), 0);
    for (long k = 0; k < size; ++k) now[k] = next[k] - now[k];
  }
}

template <class Real>
std::vector<float> prepare_any(const Real* sequence, long frames, long persons, const SkeletonSpec& spec) {
  check_spec(spec);
  check_shape({frames, persons, spec.joints(), 3}, spec);
  Clip<float> arranged = arrange(sequence, frames, persons, spec);
  if (spec.scale == Scale::box) scale_by_box(arranged);
  Clip<float> clip = take(arranged, spec.resample);
  to_modality(clip, spec);
  std::vector<float> out;
  out.reserve(clip.values.size());
  for (long k = 0; k < 3; ++k)
    for (long t = 0; t < clip.frames; ++t)
      for (long v = 0; v < clip.joints; ++v)
        for (long m = 0; m < clip.persons; ++m) out.push_back(clip.at(t, m, v)[k]);
  // Networks drop NaN at their first ReLU, so their answer would look like any other.
  check(std::all_of(out.begin(), out.end(), [](float x) { return std::isfinite(x); }),
        "the skeleton's coordinates are too large for float32; give metres");
  return out;
}

}  // namespace

void check_spec(const SkeletonSpec& spec) {
  const int joints = spec.joints();
  check(joints >= 2 && joints <= kMostJoints, "skeleton: parents must be of 2 to ", kMostJoints,
        " joints, got ", joints);
  int roots = 0;
  for (int joint = 0; joint < joints; ++joint)
    roots += spec.parents[static_cast<std::size_t>(joint)] == joint;
  check(roots == 1, "skeleton: one joint must be its own parent (the root), got ", roots);
  check(!spec.centre_joints.empty(), "skeleton: a clip must be centred on at least one joint, got none");
  for (const std::vector<int>* some : {&spec.parents, &spec.centre_joints, &spec.upright})
    for (const int joint : *some)
      check(joint >= 0 && joint < joints, "skeleton: a joint must be 0 to ", joints - 1, ", got ", joint);
  check(spec.upright.empty() || spec.upright.size() == 4,
        "skeleton: upright must name spine base, spine mid, left and right shoulder, got ",
        spec.upright.size(), " joints");
  check(spec.align == Align::none || !spec.upright.empty(), "layout ", spec.layout,
        " has no joints called spine_base, spine_mid, left_shoulder and right_shoulder, which align upright "
        "needs");
  check(spec.persons >= 1 && spec.persons <= kMostPersons, "skeleton: persons must be 1 to ", kMostPersons,
        ", got ", spec.persons);
  const Resample& to = spec.resample;
  check(to.frames >= 1 && to.frames <= 4096, "resample: frames must be 1 to 4096, got ", to.frames);
  check(to.keep > 0 && to.keep <= 1, "resample: keep must be above 0 and at most 1, got ", to.keep);
  check(to.seconds > 0 && to.seconds <= 3600, "resample: seconds must be above 0 and at most 3600, got ",
        to.seconds);
  check(to.fps > 0 && to.fps <= 1000, "resample: fps must be above 0 and at most 1000, got ", to.fps);
}

void check_shape(const std::vector<long>& shape, const SkeletonSpec& spec) {
  bool fits = shape.size() == 4 && shape[2] == spec.joints() && shape[3] == 3;
  std::string got;
  for (const long axis : shape) {
    fits &= axis > 0;
    got += (got.empty() ? "" : ", ") + std::to_string(axis);
  }
  check(fits, "a skeleton must be [T, M, ", spec.joints(), ", 3] (", spec.layout, "), got [", got, "]");
  check(shape[0] <= kLongest, "a skeleton of ", shape[0], " frames is longer than ", kLongest,
        "; cut it into clips");
  check(shape[1] <= kMostPeople, "a skeleton of ", shape[1], " bodies has more than ", kMostPeople,
        "; is it [T, M, V, 3]?");
}

std::vector<float> prepare(const float* sequence, long frames, long persons, const SkeletonSpec& spec) {
  return prepare_any(sequence, frames, persons, spec);
}

std::vector<float> prepare(const double* sequence, long frames, long persons, const SkeletonSpec& spec) {
  return prepare_any(sequence, frames, persons, spec);
}

ClipView clip_view(const std::vector<float>& prepared, const SkeletonSpec& spec) {
  ClipView x;
  x.data = prepared.data();
  x.clips = 1, x.frames = spec.resample.frames, x.joints = spec.joints(), x.persons = spec.persons;
  x.person_step = 1, x.joint_step = x.persons, x.frame_step = x.joints * x.persons;
  x.coordinate_step = x.frames * x.frame_step, x.clip_step = 3 * x.coordinate_step;
  check(static_cast<long>(prepared.size()) == x.clip_step, "a prepared clip must hold ", x.clip_step,
        " numbers, got ", prepared.size());
  return x;
}

}  // namespace ski_edge
