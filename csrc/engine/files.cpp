#include "engine/files.h"

#include <filesystem>
#include <fstream>
#include <new>

#include "ski_edge/check.h"

namespace ski_edge {

std::string read_file(const std::string& path, const std::string& what, std::uintmax_t most) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  check(std::filesystem::exists(status), what, " ", path, " does not exist; check the path");
  check(std::filesystem::is_regular_file(status), what, " ", path,
        " must be a file, it is a folder or a device");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  check(!error, what, " ", path, ": its size cannot be read (", error.message(), ")");
  check(size <= most, what, " ", path, " has ", std::to_string(size), " bytes, at most ",
        std::to_string(most), " are read; is it the right file?");
  std::ifstream file(path, std::ios::binary);
  check(file.is_open(), what, " ", path, " cannot be opened; check its permissions");
  std::string bytes;
  try {
    bytes.resize(static_cast<std::size_t>(size));
  } catch (const std::bad_alloc&) {
    refuse(what, " ", path, ": its ", std::to_string(size), " bytes do not fit into memory");
  }
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  check(static_cast<std::uintmax_t>(file.gcount()) == size, what, " ", path, " could be read only in part, ",
        std::to_string(file.gcount()), " of ", std::to_string(size),
        " bytes; is another process writing it?");
  return bytes;
}

}  // namespace ski_edge
