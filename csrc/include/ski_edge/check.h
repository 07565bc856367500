// Bad input, answered in one line: what was wrong, what arrived, what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace ski_edge {

// Thrown for everything a caller can mend. what() is one line for people.
class BadInput : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Throws BadInput with all parts written one after the other.
template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream line;
  (line << ... << parts);
  throw BadInput(line.str());
}

// refuse(parts...) unless `holds`.
template <class... Parts>
void check(bool holds, const Parts&... parts) {
  if (!holds) refuse(parts...);
}

}  // namespace ski_edge
