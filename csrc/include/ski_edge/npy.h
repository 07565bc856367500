// Reads numpy's .npy files: what skeletons are stored in. Nothing in them is trusted, and pickles are
// refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ski_edge {

struct Npy {
  std::vector<long> shape;
  std::vector<double> values;  // row-major; double holds what the file does (integers up to 2^53)
};

// Versions 1 to 3; little-endian float32, float64 or integers, C order. Throws BadInput that names the file.
Npy read_npy(const std::string& path);
Npy parse_npy(std::string_view bytes, const std::string& where);

}  // namespace ski_edge
