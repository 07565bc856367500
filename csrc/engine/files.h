// Files, whole or not at all.
#pragma once

#include <cstdint>
#include <string>

namespace ski_edge {

// All bytes of a regular file. `what` names it in errors ("skeleton"). Throws BadInput, also above `most`
// bytes: a wrong file (a video, a disk image) should not fill a small device.
std::string read_file(const std::string& path, const std::string& what, std::uintmax_t most = 2'000'000'000);

}  // namespace ski_edge
