// Hostile sizes: what files, specs, activations and clips claim is compared with limits.h before it is
// multiplied or allocated. A build with -fsanitize=undefined,address sees what slips through.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/network.h"
#include "engine/spec.h"
#include "reference.h"
#include "ski_edge/limits.h"
#include "ski_edge/prepare.h"
#include "ski_edge/stream.h"

using namespace ski_edge;
namespace fs = std::filesystem;

namespace {

constexpr int kHuge = std::numeric_limits<int>::max();

// A safetensors file of tensors without a number: shapes with a zero in them may claim anything.
SafeTensors claims(const std::string& name, const std::string& shape) {
  const std::string header =
      "{\"" + name + "\":{\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[0,0]}}";
  return SafeTensors::from_bytes(safetensors_file(header, ""), "w");
}

NetworkSpec spec_of(const std::string& model) {
  NetworkSpec spec;
  spec.model = model, spec.variant = "original";
  spec.joints = 25, spec.persons = 2, spec.classes = 60;
  spec.group_of.assign(25, 0), spec.hop_of.assign(625, 0);
  return spec;
}

void test_axes() {
  const auto axis = [](const std::string& shape, std::size_t index) {
    const SafeTensors file = claims("a.b", shape);
    return Tensors(file, "a.").axis("b", index);
  };
  expect(axis("[16384,0]", 0) == kMostAxis, "the largest axis");
  const char* const part = "weights: a.b must have 1 to 16384 in axis 0, got ";
  throws([&] { axis("[16385,0]", 0); }, part + std::string("16385; are they of another model?"), "too large");
  throws([&] { axis("[4294967297,0]", 0); }, part + std::string("4294967297"), "1 after a cast to int");
  throws([&] { axis("[0]", 0); }, part + std::string("0"), "nothing");
  throws([&] { axis("[0]", 1); }, "weights: a.b must have an axis 1, it has 1 axes", "no such axis");
  throws([&] { axis("[0]", std::size_t{1} << 40); }, "must have an axis 1099511627776", "a far axis");
}

// Whatever a file claims of its subsets, widths, relations and heads, a network is refused in one line.
void test_networks() {
  struct Claim {
    const char *model, *tensor, *shape;
  };
  const Claim kClaims[] = {
      {"ctrgcn", "trunk.0.spatial.norm.weight", "[2147483647,0]"},
      {"ctrgcn", "trunk.0.spatial.norm.weight", "[16384,0]"},
      {"stgcn", "trunk.adjacency", "[4294967295,0]"},
      {"stgcn", "trunk.adjacency", "[16384,0,0]"},
      {"stgcn", "trunk.adjacency", "[0,25,25]"},
      {"ctrsgcn", "trunk.0.spatial.norm.weight", "[9223372036854775807,0]"},
      {"hyperformer", "trunk.0.spatial.project.weight", "[16384,0,1,1]"},
      {"hyperformer", "trunk.0.spatial.project.weight", "[1099511627776,0,1,1]"},
  };
  for (const Claim& claim : kClaims) {
    throws([&] { read_network(claims(claim.tensor, claim.shape), spec_of(claim.model), Isa::scalar); }, "w",
           (std::string(claim.model) + " of " + claim.shape).c_str());
  }
}

void test_specs() {
  const fs::path path = fs::temp_directory_path() / ("ski_edge_test_limits_" + std::to_string(getpid()));
  std::ofstream(path, std::ios::binary) << safetensors_file("{}", "");
  const auto refuse_spec = [&](auto change, const std::string& part) {
    NetworkSpec spec = spec_of("stgcn");
    change(spec);
    throws([&] { Engine(path.string(), spec); }, "network: " + part, ("engine: " + part).c_str());
    throws([&] { Stream(path.string(), spec, 300); }, "network: " + part, ("stream: " + part).c_str());
  };
  refuse_spec([](auto& s) { s.joints = 0; }, "joints must be 1 to 256, got 0");
  refuse_spec([](auto& s) { s.joints = kHuge; }, "joints must be 1 to 256, got 2147483647");
  refuse_spec([](auto& s) { s.persons = -1; }, "persons must be 1 to 16, got -1");
  refuse_spec([](auto& s) { s.persons = 17; }, "persons must be 1 to 16, got 17");
  refuse_spec([](auto& s) { s.classes = 100'001; }, "classes must be 1 to 100000, got 100001");
  refuse_spec([](auto& s) { s.group_of[3] = kHuge; }, "group_of must hold 0 to 24, got 2147483647");
  refuse_spec([](auto& s) { s.group_of[3] = -1; }, "group_of must hold 0 to 24, got -1");
  refuse_spec([](auto& s) { s.group_of.resize(26); }, "group_of must hold up to 25 numbers, got 26");
  refuse_spec([](auto& s) { s.hop_of[624] = 25; }, "hop_of must hold 0 to 24, got 25");
  refuse_spec([](auto& s) { s.hop_of.resize(626); }, "hop_of must hold up to 625 numbers, got 626");
  fs::remove(path);
}

void test_clips() {
  SkeletonSpec spec;
  spec.layout = "pair", spec.parents = {0, 0}, spec.centre_joints = {0};
  throws([&] { check_shape({1, 1025, 2, 3}, spec); }, "a skeleton of 1025 bodies has more than 1024",
         "crowd");
  throws([&] { check_shape({1, std::numeric_limits<long>::max(), 2, 3}, spec); }, "has more than 1024",
         "a crowd beyond counting");

  // y is in the hands of the caller; x says what is read.
  const std::vector<float> numbers(48, 1.0f);
  const Held y(1, 3, 1, 16, false);
  const auto enter = [&](auto change, const std::string& part, const char* what) {
    ClipView x;
    x.data = numbers.data(), x.clips = 1, x.frames = 16, x.joints = 1, x.persons = 1;
    Body body{0, 0};
    change(x, body);
    throws([&] { normalise(x, &body, numbers.data(), numbers.data(), y, Isa::scalar, pool(1)); },
           "normalise: " + part, what);
  };
  enter([](auto& x, auto&) { x.joints = (1L << 32) + 1; }, "x must hold data of 1 to 256 joints",
        "1 joint after a cast to int");
  enter([](auto& x, auto&) { x.persons = 17; }, "x must hold data of", "17 persons");
  enter([](auto& x, auto&) { x.data = nullptr; }, "x must hold data", "no clip");
  enter([](auto&, auto& body) { body.slot = 1; }, "body 0 must be one of 1 clips and 1 persons", "slot");
  enter([](auto&, auto& body) { body.clip = -1; }, "body 0 must be one of", "clip");
}

// An op that exists is asked for workspaces of activations that cannot.
template <class Op>
void test_workspace(const Op& op, const char* name) {
  const auto ask = [&](auto change, const char* what) {
    Activation x;
    x.bodies = 1, x.channels = 8, x.joints = 4, x.frames = 16;
    expect(op.workspace(x, 1) > 0, name);
    change(x);
    throws([&] { op.workspace(x, 1); }, std::string(name) + ": x must", what);
  };
  ask([](auto& x) { x.bodies = kHuge; }, "bodies");
  ask([](auto& x) { x.bodies = 0; }, "no bodies");
  ask([](auto& x) { x.channels = 9; }, "channels");
  ask([](auto& x) { x.joints = kHuge; }, "joints");
  ask([](auto& x) { x.frames = kHuge; }, "frames");
  ask([](auto& x) { x.frames = -1; }, "negative frames");
  Activation most;  // within every limit, and far more than an int counts
  most.bodies = kMostBodies, most.channels = 8, most.joints = 4, most.frames = kMostFrames;
  expect(op.workspace(most, 256) > 0, "the largest workspace is counted");
}

void test_workspaces() {
  const std::vector<float> some(4096, 0.1f);
  CtrGcWeights ctr;
  ctr.inputs = ctr.outputs = 8, ctr.subsets = 3, ctr.relations = 2, ctr.joints = 4;
  ctr.relation = ctr.relation_bias = ctr.expand = ctr.expand_bias = some.data();
  ctr.adjacency = ctr.value = ctr.value_bias = ctr.shift = some.data();
  test_workspace(CtrGc(ctr, Isa::scalar), "ctr_gc");
  GraphConvWeights graph;
  graph.inputs = graph.outputs = 8, graph.subsets = 3, graph.joints = 4;
  graph.graph = graph.value = graph.value_bias = graph.shift = some.data();
  const GraphConv graph_op(graph, Isa::scalar);
  test_workspace(graph_op, "graph_conv");
  throws([&] { graph_op.step_workspace(kHuge, 1); }, "graph_conv: joints must be 1 to 256", "a step");
  TapsConvWeights taps;
  taps.inputs = taps.outputs = 8, taps.weight = taps.bias = some.data();
  test_workspace(TapsConv(taps, Isa::scalar), "taps_conv");
  ctr.value_bias = nullptr;
  throws([&] { CtrGc(ctr, Isa::scalar); }, "ctr_gc: value_bias must be given, got no data", "no weights");
}

}  // namespace

int main() {
  test_axes();
  test_networks();
  test_specs();
  test_clips();
  test_workspaces();
  return summary();
}
