// Text of strangers, before a terminal sees it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ski_edge {

// Bytes of the UTF-8 character that `text` starts with; 0 if it is none (overlong, surrogate, cut off...).
std::size_t utf8_length(std::string_view text);

// Text from a file made fit for one line of an error: control characters and broken UTF-8 as \xNN, cut
// with "..." after about `most` bytes.
std::string printable(std::string_view text, std::size_t most = 60);

}  // namespace ski_edge
