// A clip at the border: a numpy array, read where it is.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>

#include "ski_edge/check.h"
#include "ski_edge/engine.h"

namespace ski_edge {

namespace py = pybind11;

// float32 [N, 3, T, V, M], any strides. Throws BadInput.
inline ClipView view(const py::array_t<float>& clip) {
  check(clip.ndim() == 5 && clip.shape(1) == 3, "a clip must be float32 [N, 3, T, V, M], got ", clip.ndim(),
        " axes");
  for (int axis = 0; axis < 5; ++axis) {
    check(clip.strides(axis) % static_cast<py::ssize_t>(sizeof(float)) == 0, "a clip's axis ", axis,
          " has a stride of ", clip.strides(axis), " bytes; it must be whole floats");
  }
  check(reinterpret_cast<std::uintptr_t>(clip.data()) % alignof(float) == 0,
        "a clip must begin at a whole float");
  const auto step = [&](int axis) {
    return static_cast<long>(clip.strides(axis) / static_cast<py::ssize_t>(sizeof(float)));
  };
  ClipView x;
  x.data = clip.data();
  x.clips = clip.shape(0), x.frames = clip.shape(2), x.joints = clip.shape(3), x.persons = clip.shape(4);
  x.clip_step = step(0), x.coordinate_step = step(1), x.frame_step = step(2), x.joint_step = step(3);
  x.person_step = step(4);
  return x;
}

}  // namespace ski_edge
