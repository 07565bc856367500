// Arrays at the border of the ops. Activations are time-last arrays [N, C, V, T]; where frames lie side by
// side, are a multiple of 16 and begin at a multiple of 64 bytes, arrays are used where they are.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <initializer_list>

#include "ski_edge/activation.h"
#include "ski_edge/limits.h"
#include "ski_edge/panels.h"

namespace ski_edge {

namespace py = pybind11;

using Array = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<int, py::array::c_style | py::array::forcecast>;

// Weights of one op: every tensor is float32 of a shape that the op knows.
const float* tensor(const Array& array, const char* name, std::initializer_list<py::ssize_t> shape);

// A size that weights alone tell. The op knows its own limits; this one is for products of two sizes.
int size_of(const Array& array, const char* name, py::ssize_t axis, int most = kMostAxis);

// An activation over an array, or over a copy of it.
class Held {
 public:
  // x: [N, C, V, T]; split: by even and odd frames. Throws BadInput for what no op takes.
  Held(const py::array_t<float>& x, const char* name, bool split);
  // Zeros, not split.
  Held(int bodies, int channels, int joints, int frames);

  py::array_t<float> array() const;  // a copy

  Activation view;

 private:
  template <class Visit>
  void each(const Visit& visit) const {
    for (int n = 0; n < view.bodies; ++n) {
      for (int c = 0; c < view.channels; ++c) {
        float* row = view.body(n) + static_cast<std::ptrdiff_t>(c) * view.columns();
        for (int v = 0; v < view.joints; ++v) {
          for (int t = 0; t < view.frames; ++t) {
            float* joint = row + v * view.joint_step();
            visit(n, c, v, t, view.split ? joint[t % 2 * view.part_step() + t / 2] : joint[t]);
          }
        }
      }
    }
  }

  Floats copy_;
};

}  // namespace ski_edge
