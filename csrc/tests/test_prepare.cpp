// From metres to the network's input. Values are compared with Python's by tests/native/test_classify.py;
// here is what a device without Python can see for itself.
#include <cmath>
#include <limits>

#include "checks.h"
#include "ski_edge/prepare.h"

using namespace ski_edge;

// Three joints in a row; joint 1 is the root.
static SkeletonSpec row() {
  SkeletonSpec spec;
  spec.layout = "row";
  spec.parents = {1, 1, 1};
  spec.centre_joints = {1};
  spec.persons = 2;
  spec.resample.policy = Resample::Policy::zero_pad;
  spec.resample.frames = 3;
  return spec;
}

// [2, 1, 3, 3]: a body that moves by 1 along x.
static const std::vector<float> kClip = {1, 0, 3, 2, 0, 3, 4, 0, 3, 2, 0, 3, 3, 0, 3, 5, 0, 3};

static std::vector<float> run(const SkeletonSpec& spec) { return prepare(kClip.data(), 2, 1, spec); }

// The x of frame t, joint v, body m of [3, T, V, M].
static float x_of(const std::vector<float>& clip, int t, int v, int m) {
  return clip[static_cast<std::size_t>((t * 3 + v) * 2 + m)];
}

static void test_values() {
  SkeletonSpec spec = row();
  std::vector<float> clip = run(spec);
  expect(clip.size() == 3 * 3 * 3 * 2, "[3, T', V, M']");
  expect(x_of(clip, 0, 0, 0) == -1 && x_of(clip, 1, 2, 0) == 3, "centred on the first frame");
  expect(x_of(clip, 2, 0, 0) == 0 && x_of(clip, 0, 0, 1) == 0, "zeros behind the end and in the second slot");
  spec.second_body = SecondBody::copy;
  expect(x_of(run(spec), 1, 2, 1) == 3, "the second slot may be a copy");
  spec.modality = Modality::bone;
  clip = run(spec);
  expect(x_of(clip, 1, 0, 0) == -1 && x_of(clip, 1, 1, 0) == 0 && x_of(clip, 1, 2, 0) == 2, "bones");
  spec.modality = Modality::joint_motion;
  expect(x_of(run(spec), 0, 0, 0) == 1 && x_of(run(spec), 2, 0, 0) == 0, "motion, none in the last frame");
  const std::vector<double> wide(kClip.begin(), kClip.end());
  expect(prepare(wide.data(), 2, 1, spec) == run(spec), "double is the same");
  const ClipView view = clip_view(clip, spec);
  expect(view.data[view.frame_step + 2 * view.joint_step] == 2, "the view knows the axes");
}

static void test_refusals() {
  const SkeletonSpec spec = row();
  std::vector<float> bad = kClip;
  bad[10] = std::numeric_limits<float>::quiet_NaN();
  throws([&] { prepare(bad.data(), 2, 1, spec); }, "frame 1 of the skeleton holds NaN", "NaN");
  bad.assign(kClip.size(), 0);
  throws([&] { prepare(bad.data(), 2, 1, spec); }, "the skeleton is empty", "nobody");
  bad[9] = 1;
  throws([&] { prepare(bad.data(), 1, 2, spec); }, "body 1 is empty", "only body 2");
  const std::vector<double> far(18, 1e300);
  SkeletonSpec absolute = spec;
  absolute.centre = Centre::none;
  throws([&] { prepare(far.data(), 2, 1, absolute); }, "too large for float32; give metres", "beyond float");
  throws([&] { prepare(kClip.data(), 0, 1, spec); }, "[T, M, 3, 3] (row), got [0, 1, 3, 3]", "no frame");
  throws([&] { prepare(kClip.data(), 1000001, 1, spec); }, "longer than 1000000", "too long");
  throws([&] { check_shape({2, 1, 4, 3}, spec); }, "[T, M, 3, 3] (row), got [2, 1, 4, 3]", "other joints");
  throws([&] { check_shape({2, 3, 3}, spec); }, "got [2, 3, 3]", "no axis of persons");
  throws([&] { clip_view(kClip, spec); }, "must hold 54 numbers, got 18", "not prepared");
}

static void test_specs() {
  const auto refuses = [](auto change, const std::string& part) {
    SkeletonSpec spec = row();
    change(spec);
    throws([&] { prepare(kClip.data(), 2, 1, spec); }, part, part.c_str());
  };
  refuses([](SkeletonSpec& s) { s.parents = {0}; }, "2 to 256 joints, got 1");
  refuses([](SkeletonSpec& s) { s.parents = {1, 2, 0}; }, "one joint must be its own parent");
  refuses([](SkeletonSpec& s) { s.parents = {1, 1, 7}; }, "a joint must be 0 to 2, got 7");
  refuses([](SkeletonSpec& s) { s.centre_joints = {}; }, "at least one joint");
  refuses([](SkeletonSpec& s) { s.centre_joints = {-1}; }, "a joint must be 0 to 2, got -1");
  refuses([](SkeletonSpec& s) { s.upright = {0, 1}; }, "upright must name");
  refuses([](SkeletonSpec& s) { s.align = Align::upright; }, "layout row has no joints called spine_base");
  refuses([](SkeletonSpec& s) { s.persons = 17; }, "persons must be 1 to 16");
  refuses([](SkeletonSpec& s) { s.resample.frames = 0; }, "frames must be 1 to 4096");
  refuses([](SkeletonSpec& s) { s.resample.keep = std::nan(""); }, "keep must be");
  refuses([](SkeletonSpec& s) { s.resample.seconds = 0; }, "seconds must be");
  refuses([](SkeletonSpec& s) { s.resample.fps = -1; }, "fps must be");
}

int main() {
  test_values();
  test_refusals();
  test_specs();
  return summary();
}
