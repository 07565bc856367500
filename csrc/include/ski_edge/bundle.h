// A skeleton bundle on a device without Python: what the engine has to know of the folder that `ski-edge
// export` wrote.
#pragma once

#include <string>
#include <vector>

#include "ski_edge/engine.h"
#include "ski_edge/prepare.h"

namespace ski_edge {

struct Bundle {
  NetworkSpec network;
  SkeletonSpec skeleton;
  std::string weights_path;         // safetensors, its sha256 checked
  std::vector<std::string> labels;  // [classes]
};

// Reads manifest.json and labels.json, compares labels and weights with the sha256 that the manifest has for
// them. Throws BadInput. Unlike Python it takes the manifest itself on trust: a hash of its own text would
// need Python's way of writing numbers.
Bundle read_bundle(const std::string& folder);

}  // namespace ski_edge
