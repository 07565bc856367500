#include "ski_edge/ops/hyperedge_attention.h"

#include <algorithm>

#include "bindings/bindings.h"
#include "bindings/bound.h"
#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

namespace {

Bound<HyperedgeAttention> make(const Array& qkv, const Array& qkv_bias, const Array& group_features,
                               const Array& hop_features, const Array& group_weight,
                               const Array& attention_bias, const Array& project, const Array& project_bias,
                               const Indices& group_of, const Indices& hop_of, float gain,
                               const std::optional<Array>& shortcut, int threads, const std::string& isa) {
  HyperedgeAttentionWeights w;
  w.inputs = size_of(qkv, "qkv", 1), w.outputs = size_of(group_features, "group_features", 0);
  w.heads = size_of(attention_bias, "attention_bias", 0);
  w.joints = size_of(attention_bias, "attention_bias", 1);
  w.hops = size_of(hop_features, "hop_features", 0);
  const int width = size_of(project, "project", 1), c = w.inputs, o = w.outputs, v = w.joints;
  check(width >= 1 && o % width == 0, "project must have a divisor of ", o, " columns, got ", width);
  check(w.heads >= 1 && o % w.heads == 0, "heads must divide ", o, ", got ", w.heads);
  w.project_groups = o / width;
  w.qkv = tensor(qkv, "qkv", {3 * o, c});
  w.qkv_bias = tensor(qkv_bias, "qkv_bias", {3 * o});
  w.group_features = tensor(group_features, "group_features", {o, c});
  w.hop_features = tensor(hop_features, "hop_features", {w.hops, o});
  w.group_weight = tensor(group_weight, "group_weight", {w.heads, o / w.heads});
  w.attention_bias = tensor(attention_bias, "attention_bias", {w.heads, v, v});
  w.project = tensor(project, "project", {o, width});
  w.project_bias = tensor(project_bias, "project_bias", {o});
  if (shortcut) w.shortcut = tensor(*shortcut, "shortcut", {o, c});
  check(group_of.size() == v && hop_of.size() == static_cast<py::ssize_t>(v) * v,
        "group_of and hop_of must hold ", v, " and ", v * v, " numbers, got ", group_of.size(), " and ",
        hop_of.size());
  w.group_of = group_of.data(), w.hop_of = hop_of.data();
  for (int joint = 0; joint < v; ++joint) {
    check(w.group_of[joint] < kMostJoints, "group_of must hold groups below ", kMostJoints, ", got ",
          w.group_of[joint]);
    w.groups = std::max(w.groups, w.group_of[joint] + 1);
  }
  w.gain = gain;
  return bound(HyperedgeAttention(w, isa_of(isa)), threads, o);
}

}  // namespace

void bind_hyperedge_attention(py::module_& m) {
  py::class_<Bound<HyperedgeAttention>>(m, "HyperedgeAttention")
      .def(py::init(&make), py::kw_only(), py::arg("qkv"), py::arg("qkv_bias"), py::arg("group_features"),
           py::arg("hop_features"), py::arg("group_weight"), py::arg("attention_bias"), py::arg("project"),
           py::arg("project_bias"), py::arg("group_of"), py::arg("hop_of"), py::arg("gain"),
           py::arg("shortcut") = py::none(), py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_graph_op<HyperedgeAttention>, py::arg("x"))
      .def_readonly("seconds", &Bound<HyperedgeAttention>::seconds);
}

}  // namespace ski_edge
