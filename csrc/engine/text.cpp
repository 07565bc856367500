#include "ski_edge/text.h"

namespace ski_edge {

std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90)) return 0;  // overlong
  if ((lead == 0xED && second > 0x9F) || (lead == 0xF4 && second > 0x8F)) return 0;  // surrogate, too big
  return length;
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (out.size() >= most) return out + "...";
    const unsigned char lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = utf8_length(text.substr(i));
    // U+0080 to U+009F steer terminals, as the ASCII controls do.
    const bool control =
        lead < 0x20 || lead == 0x7F || (lead == 0xC2 && length == 2 && (text[i + 1] & 0x20) == 0);
    if (length == 0 || control) {
      constexpr const char* kHex = "0123456789abcdef";
      out += {'\\', 'x', kHex[lead >> 4], kHex[lead & 15]};
      ++i;
    } else {
      out.append(text.substr(i, length));
      i += length;
    }
  }
  return out;
}

}  // namespace ski_edge
