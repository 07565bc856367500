// SHA-256 (FIPS 180-4): finds damage in what was copied to a device.
#pragma once

#include <string>
#include <string_view>

namespace ski_edge {

// 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);

}  // namespace ski_edge
