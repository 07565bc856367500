// What the C++ tests share: a counter of failures, and seeded damage for the readers of files.
#pragma once

#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "ski_edge/check.h"

inline int& failures() {
  static int count = 0;
  return count;
}

// Not called check(): ski_edge::check throws.
inline void expect(bool ok, const char* what) {
  std::printf("%s  %s\n", ok ? "ok  " : "FAIL", what);
  failures() += !ok;
}

// f() must throw BadInput with `part` in its message, which is one line.
template <class F>
void throws(F&& f, const std::string& part, const char* what) {
  std::string got = "nothing thrown";
  try {
    f();
  } catch (const ski_edge::BadInput& error) {
    got = error.what();
  }
  const bool ok = got.find(part) != std::string::npos && got.find('\n') == std::string::npos;
  expect(ok, what);
  if (!ok) std::printf("      expected: %s\n      got:      %s\n", part.c_str(), got.c_str());
}

// The exit status of a test.
inline int summary() {
  std::printf("%d failed\n", failures());
  return failures() != 0;
}

// One to four small damages: a flipped bit, a telling character, a byte lost, a slice repeated, a cut end.
inline std::string damaged(std::string text, std::mt19937& random) {
  static const std::string kTelling("{}[]\",:0123456789-+.eEu\\ntf \0\n\x7F\x80\xC3\xED\xFF", 35);
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t left = 1 + below(4); left > 0 && !text.empty(); --left) {
    const size_t place = below(text.size());
    switch (below(6)) {
      case 0:
        text[place] = static_cast<char>(text[place] ^ (1 << below(8)));
        break;
      case 1:
        text[place] = kTelling[below(kTelling.size())];
        break;
      case 2:
        text.insert(place, 1, kTelling[below(kTelling.size())]);
        break;
      case 3:
        text.erase(place, 1 + below(3));
        break;
      case 4:
        text.insert(place, text.substr(below(text.size()), below(40)));
        break;
      default:
        if (below(8) == 0) text.resize(place);
    }
  }
  return text;
}

// A safetensors file whose size field fits its header.
inline std::string safetensors_file(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(uint64_t{header.size()} >> (8 * i) & 0xFF));
  return bytes + header + data;
}
