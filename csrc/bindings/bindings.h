// The parts of the Python module; module.cpp lists them.
#pragma once

#include <pybind11/pybind11.h>

namespace ski_edge {

void bind_engine(pybind11::module_& m);
void bind_ops(pybind11::module_& m);

}  // namespace ski_edge
