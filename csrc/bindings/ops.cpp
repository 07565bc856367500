// ski_edge._C's ops: packed once, run many times. Activations are time-last arrays [N, C, V, T]; where frames
// lie side by side, are a multiple of 16 and begin at a multiple of 64 bytes, arrays are used where they are.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>

#include "bindings/bindings.h"
#include "ski_edge/check.h"
#include "ski_edge/ops/ctr_gc.h"
#include "ski_edge/ops/graph_conv.h"
#include "ski_edge/ops/hyperedge_attention.h"
#include "ski_edge/ops/temporal.h"

namespace py = pybind11;

namespace ski_edge {

namespace {

using Array = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Clock = std::chrono::steady_clock;
using Indices = py::array_t<int, py::array::c_style | py::array::forcecast>;

// Weights of one op: every tensor is float32 of a shape that the op knows.
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

int size_of(const Array& array, const char* name, py::ssize_t axis) {
  check(axis < array.ndim() && array.shape(axis) < (1 << 20), name, " has no axis ", axis,
        " of a reasonable size");
  return static_cast<int>(array.shape(axis));
}

// An activation over an array, or over a copy of it.
class Held {
 public:
  Held(const py::array_t<float>& x, const char* name, bool split) {
    check(x.ndim() == 4, name, " must be float32 [N, C, V, T], got ", x.ndim(), " axes");
    // What the ops take at most, checked before anything is sized by it.
    constexpr py::ssize_t kMost[4] = {1 << 20, 4096, 256, 1 << 20};
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

  Held(int bodies, int channels, int joints, int frames) {
    view.bodies = bodies, view.channels = channels, view.joints = joints, view.frames = frames;
    copy_ = Floats(view.floats());
    view.data = copy_.data();
  }

  py::array_t<float> array() const {
    py::array_t<float> out({view.bodies, view.channels, view.joints, view.frames});
    auto at = out.mutable_unchecked<4>();
    each([&](int n, int c, int v, int t, const float& from) { at(n, c, v, t) = from; });
    return out;
  }

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

// The threads an op runs on: one caller at a time, others wait without the global lock.
struct Workers {
  ThreadPool pool;
  std::mutex mutex;

  explicit Workers(int threads) : pool(threads) {}
};

template <class Op>
struct Bound {
  Op op;
  std::unique_ptr<Workers> workers;
  int outputs, stride;
  double seconds = 0;  // of the last run, without what the border costs: copies, workspace
};

template <class Op>
Bound<Op> bound(Op op, int threads, int outputs, int stride = 1) {
  return {std::move(op), std::make_unique<Workers>(threads), outputs, stride, 0};
}

Isa isa_of(const std::string& isa) { return isa.empty() ? best_isa() : parse_isa(isa); }

template <class Op>
py::array_t<float> run_graph_op(Bound<Op>& self, const py::array_t<float>& x) {
  const Held in(x, "x", false);
  const Held out(in.view.bodies, self.outputs, in.view.joints, in.view.frames);
  {
    py::gil_scoped_release free;
    const std::lock_guard<std::mutex> one(self.workers->mutex);
    const Floats workspace(self.op.workspace(in.view, self.workers->pool.threads()));
    const auto start = Clock::now();
    self.op.run(in.view, out.view, workspace.data(), self.workers->pool);
    self.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return out.array();
}

template <class Op>
py::array_t<float> run_time_op(Bound<Op>& self, const py::array_t<float>& x,
                               const std::optional<py::array_t<float>>& residual) {
  const bool split = self.stride == 2;
  const Held in(x, "x", split);
  std::optional<Held> add;
  if (residual) add.emplace(*residual, "residual", split);
  const Held out(in.view.bodies, self.outputs, in.view.joints,
                 (in.view.frames + self.stride - 1) / self.stride);
  {
    py::gil_scoped_release free;
    const std::lock_guard<std::mutex> one(self.workers->mutex);
    const Floats workspace(self.op.workspace(in.view, self.workers->pool.threads()));
    const auto start = Clock::now();
    self.op.run(in.view, add ? add->view : Activation{}, out.view, workspace.data(), self.workers->pool);
    self.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return out.array();
}

}  // namespace

void bind_ops(py::module_& m) {
  py::class_<Bound<CtrGc>>(m, "CtrGc")
      .def(py::init([](const Array& relation, const Array& relation_bias, const Array& expand,
                       const Array& expand_bias, const Array& adjacency, const Array& value,
                       const Array& value_bias, const Array& shift, const std::optional<Array>& shortcut,
                       int threads, const std::string& isa) {
             CtrGcWeights w;
             w.subsets = size_of(adjacency, "adjacency", 0), w.joints = size_of(adjacency, "adjacency", 1);
             w.outputs = size_of(shift, "shift", 0), w.inputs = size_of(value, "value", 1);
             w.relations = size_of(expand, "expand", 1);
             const int s = w.subsets, r = w.relations, c = w.inputs, o = w.outputs, v = w.joints;
             w.relation = tensor(relation, "relation", {2 * s * r, c});
             w.relation_bias = tensor(relation_bias, "relation_bias", {2 * s * r});
             w.expand = tensor(expand, "expand", {s * o, r});
             w.expand_bias = tensor(expand_bias, "expand_bias", {s * o});
             w.adjacency = tensor(adjacency, "adjacency", {s, v, v});
             w.value = tensor(value, "value", {s * o, c});
             w.value_bias = tensor(value_bias, "value_bias", {s * o});
             w.shift = tensor(shift, "shift", {o});
             if (shortcut) w.shortcut = tensor(*shortcut, "shortcut", {o, c});
             return bound(CtrGc(w, isa_of(isa)), threads, o);
           }),
           py::kw_only(), py::arg("relation"), py::arg("relation_bias"), py::arg("expand"),
           py::arg("expand_bias"), py::arg("adjacency"), py::arg("value"), py::arg("value_bias"),
           py::arg("shift"), py::arg("shortcut") = py::none(), py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_graph_op<CtrGc>, py::arg("x"))
      .def_readonly("seconds", &Bound<CtrGc>::seconds);

  py::class_<Bound<GraphConv>>(m, "GraphConv")
      .def(py::init([](const Array& graph, const Array& value, const Array& value_bias, const Array& shift,
                       bool identity, const std::optional<Array>& shortcut, int threads,
                       const std::string& isa) {
             GraphConvWeights w;
             w.subsets = size_of(graph, "graph", 0), w.joints = size_of(graph, "graph", 1);
             w.outputs = size_of(shift, "shift", 0), w.inputs = size_of(value, "value", 1);
             const int s = w.subsets, c = w.inputs, o = w.outputs, v = w.joints;
             w.graph = tensor(graph, "graph", {s, v, v});
             w.value = tensor(value, "value", {s * o, c});
             w.value_bias = tensor(value_bias, "value_bias", {s * o});
             w.shift = tensor(shift, "shift", {o});
             check(!(identity && shortcut), "the shortcut is x itself or a convolution, not both");
             if (identity) w.shortcut = Shortcut::identity;
             if (shortcut)
               w.shortcut = Shortcut::convolution, w.shortcut_weight = tensor(*shortcut, "shortcut", {o, c});
             return bound(GraphConv(w, isa_of(isa)), threads, o);
           }),
           py::kw_only(), py::arg("graph"), py::arg("value"), py::arg("value_bias"), py::arg("shift"),
           py::arg("identity") = false, py::arg("shortcut") = py::none(), py::arg("threads") = 0,
           py::arg("isa") = "")
      .def("run", &run_graph_op<GraphConv>, py::arg("x"))
      .def_readonly("seconds", &Bound<GraphConv>::seconds);

  py::class_<Bound<HyperedgeAttention>>(m, "HyperedgeAttention")
      .def(py::init([](const Array& qkv, const Array& qkv_bias, const Array& group_features,
                       const Array& hop_features, const Array& group_weight, const Array& attention_bias,
                       const Array& project, const Array& project_bias, const Indices& group_of,
                       const Indices& hop_of, float gain, const std::optional<Array>& shortcut, int threads,
                       const std::string& isa) {
             HyperedgeAttentionWeights w;
             w.inputs = size_of(qkv, "qkv", 1), w.outputs = size_of(group_features, "group_features", 0);
             w.heads = size_of(attention_bias, "attention_bias", 0);
             w.joints = size_of(attention_bias, "attention_bias", 1);
             w.hops = size_of(hop_features, "hop_features", 0);
             const int width = size_of(project, "project", 1), c = w.inputs, o = w.outputs, v = w.joints;
             check(width >= 1 && o % width == 0, "project must have a divisor of ", o, " columns, got ",
                   width);
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
                   "group_of and hop_of must hold ", v, " and ", v * v, " numbers, got ", group_of.size(),
                   " and ", hop_of.size());
             w.group_of = group_of.data(), w.hop_of = hop_of.data();
             for (int joint = 0; joint < v; ++joint) w.groups = std::max(w.groups, w.group_of[joint] + 1);
             w.gain = gain;
             return bound(HyperedgeAttention(w, isa_of(isa)), threads, o);
           }),
           py::kw_only(), py::arg("qkv"), py::arg("qkv_bias"), py::arg("group_features"),
           py::arg("hop_features"), py::arg("group_weight"), py::arg("attention_bias"), py::arg("project"),
           py::arg("project_bias"), py::arg("group_of"), py::arg("hop_of"), py::arg("gain"),
           py::arg("shortcut") = py::none(), py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_graph_op<HyperedgeAttention>, py::arg("x"))
      .def_readonly("seconds", &Bound<HyperedgeAttention>::seconds);

  py::class_<Bound<MultiScaleTemporal>>(m, "MultiScaleTemporal")
      .def(py::init([](const Array& reduce, const Array& reduce_bias, const Array& near, const Array& far,
                       const Array& point, const Array& pool_scale, const Array& bias,
                       const std::optional<Array>& skip, const std::optional<Array>& skip_bias, int stride,
                       bool relu_before, int threads, const std::string& isa) {
             MultiScaleTemporalWeights w;
             const int c = size_of(reduce, "reduce", 1), width = c / 4, taps = size_of(near, "near", 2);
             w.channels = c, w.stride = stride, w.taps = taps, w.relu_before = relu_before;
             w.reduce = tensor(reduce, "reduce", {3 * width, c});
             w.reduce_bias = tensor(reduce_bias, "reduce_bias", {3 * width});
             w.dilated[0] = tensor(near, "near", {width, width, taps});
             w.dilated[1] = tensor(far, "far", {width, width, taps});
             w.point = tensor(point, "point", {width, c});
             w.pool_scale = tensor(pool_scale, "pool_scale", {width});
             w.bias = tensor(bias, "bias", {4 * width});
             check(skip.has_value() == skip_bias.has_value(), "skip and skip_bias go together");
             if (skip) {
               w.residual_channels = size_of(*skip, "skip", 1);
               w.skip = tensor(*skip, "skip", {c, w.residual_channels});
               w.skip_bias = tensor(*skip_bias, "skip_bias", {c});
             }
             return bound(MultiScaleTemporal(w, isa_of(isa)), threads, c, stride);
           }),
           py::kw_only(), py::arg("reduce"), py::arg("reduce_bias"), py::arg("near"), py::arg("far"),
           py::arg("point"), py::arg("pool_scale"), py::arg("bias"), py::arg("skip") = py::none(),
           py::arg("skip_bias") = py::none(), py::arg("stride") = 1, py::arg("relu_before") = false,
           py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_time_op<MultiScaleTemporal>, py::arg("x"), py::arg("residual") = py::none())
      .def_readonly("seconds", &Bound<MultiScaleTemporal>::seconds);

  py::class_<Bound<TapsConv>>(m, "TapsConv")
      .def(py::init([](const Array& weight, const Array& bias, const std::optional<Array>& skip, int stride,
                       int threads, const std::string& isa) {
             TapsConvWeights w;
             w.outputs = size_of(weight, "weight", 0), w.inputs = size_of(weight, "weight", 1);
             w.taps = size_of(weight, "weight", 2), w.stride = stride;
             w.weight = tensor(weight, "weight", {w.outputs, w.inputs, w.taps});
             w.bias = tensor(bias, "bias", {w.outputs});
             if (skip) {
               w.residual_channels = size_of(*skip, "skip", 1);
               w.skip = tensor(*skip, "skip", {w.outputs, w.residual_channels});
             }
             return bound(TapsConv(w, isa_of(isa)), threads, w.outputs, stride);
           }),
           py::kw_only(), py::arg("weight"), py::arg("bias"), py::arg("skip") = py::none(),
           py::arg("stride") = 1, py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_time_op<TapsConv>, py::arg("x"), py::arg("residual") = py::none())
      .def_readonly("seconds", &Bound<TapsConv>::seconds);
}

}  // namespace ski_edge
