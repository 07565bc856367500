#include "bindings/arrays.h"

#include <cstdint>
#include <string>

#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

const float* tensor(const Array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
  bool fits = array.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string wanted, found;
  std::size_t axis = 0;
  for (const py::ssize_t size : shape) {
    fits = fits && array.shape(static_cast<py::ssize_t>(axis)) == size;
    wanted += (axis++ == 0 ? "" : ", ") + std::to_string(size);
  }
  for (py::ssize_t i = 0; i < array.ndim(); ++i)
    found += (i == 0 ? "" : ", ") + std::to_string(array.shape(i));
  check(fits, name, " must be [", wanted, "], got [", found, "]");
  return array.data();
}

int size_of(const Array& array, const char* name, py::ssize_t axis, int most) {
  check(axis < array.ndim(), name, " must have an axis ", axis, ", it has ", array.ndim(), " axes");
  check(array.shape(axis) <= most, name, " must have up to ", most, " in axis ", axis, ", got ",
        array.shape(axis));
  return static_cast<int>(array.shape(axis));
}

Held::Held(const py::array_t<float>& x, const char* name, bool split) {
  check(x.ndim() == 4, name, " must be float32 [N, C, V, T], got ", x.ndim(), " axes");
  // What the ops take at most, checked before anything is sized by it.
  constexpr py::ssize_t kMost[4] = {kMostBodies, kMostChannels, kMostJoints, kMostFrames};
  for (int axis = 0; axis < 4; ++axis) {
    check(x.shape(axis) >= 1 && x.shape(axis) <= kMost[axis], name, " must have 1 to ", kMost[axis],
          " in axis ", axis, ", got ", x.shape(axis));
  }
  check(x.shape(0) * x.shape(1) * x.shape(2) * padded_frames(static_cast<int>(x.shape(3))) <
            (py::ssize_t{1} << 31),
        name, " is too large for one call; give it in parts");
  view.bodies = static_cast<int>(x.shape(0)), view.channels = static_cast<int>(x.shape(1));
  view.joints = static_cast<int>(x.shape(2)), view.frames = static_cast<int>(x.shape(3));
  view.split = split;
  const auto address = reinterpret_cast<std::uintptr_t>(x.data());
  const bool dense = (x.flags() & py::array::c_style) != 0;
  if (dense && !split && view.frames % kFrameAlignment == 0 && address % 64 == 0) {
    view.data = const_cast<float*>(x.data());  // ops only read their inputs
    return;
  }
  copy_ = Floats(view.floats());
  view.data = copy_.data();
  const auto at = x.unchecked<4>();
  each([&](int n, int c, int v, int t, float& to) { to = at(n, c, v, t); });
}

Held::Held(int bodies, int channels, int joints, int frames) {
  view.bodies = bodies, view.channels = channels, view.joints = joints, view.frames = frames;
  copy_ = Floats(view.floats());
  view.data = copy_.data();
}

py::array_t<float> Held::array() const {
  py::array_t<float> out({view.bodies, view.channels, view.joints, view.frames});
  auto at = out.mutable_unchecked<4>();
  each([&](int n, int c, int v, int t, const float& from) { at(n, c, v, t) = from; });
  return out;
}

}  // namespace ski_edge
