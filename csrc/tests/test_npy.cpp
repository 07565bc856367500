// .npy files: values arrive exactly; damaged, foreign and hostile files are one clear line.
#include <cstring>

#include "checks.h"
#include "ski_edge/npy.h"

using ski_edge::BadInput;
using ski_edge::Npy;
using ski_edge::parse_npy;

static std::string file(const std::string& header, const std::string& data, int version = 1) {
  std::string bytes = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return bytes + header + data;
}

static std::string header(const std::string& dtype, const std::string& shape) {
  return "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + shape + ", }   \n";
}

static Npy read(const std::string& dtype, const std::string& shape, const std::string& data,
                int version = 1) {
  return parse_npy(file(header(dtype, shape), data, version), "x.npy");
}

static void refuses(const std::string& bytes, const std::string& part, const char* what) {
  throws([&] { parse_npy(bytes, "x.npy"); }, part, what);
}

static void test_values() {
  const std::string one_half("\x00\x00\x00\x3f", 4), minus_two("\x00\x00\x00\x00\x00\x00\x00\xc0", 8);
  for (int version = 1; version <= 3; ++version)
    expect(read("<f4", "(2,)", one_half + one_half, version).values == std::vector<double>{0.5, 0.5},
           "float32");
  expect(read("<f8", "()", minus_two).values == std::vector<double>{-2}, "float64, no axis");
  expect(read("<i2", "(1, 2)", std::string("\xff\xff\x01\x80", 4)).values == std::vector<double>{-1, -32767},
         "int16 has a sign");
  expect(read("|u1", "(1,)", "\xff").values == std::vector<double>{255}, "uint8 has none");
  expect(read("|i1", "(1,)", "\xff").values == std::vector<double>{-1}, "int8 has");
  expect(read("<i8", "(1,)", std::string(8, '\xff')).values == std::vector<double>{-1}, "int64");
  const Npy empty = read("<f4", "(0, 3)", "");
  expect(empty.values.empty() && empty.shape == std::vector<long>{0, 3}, "no element");
  const std::string other_order = "{\"shape\": (1,), \"fortran_order\": False, \"descr\": \"<f4\"}";
  expect(parse_npy(file(other_order, one_half), "x").values[0] == 0.5, "keys in any order, any quotes");
}

static void test_refusals() {
  const std::string four(4, '\0');
  refuses("", "must be a .npy file", "nothing");
  refuses("PK\x03\x04 an archive", "must be a .npy file", "an .npz");
  refuses(file(header("<f4", "(1,)"), four, 9), "version must be 1, 2 or 3, got 9", "a later version");
  refuses(std::string("\x93NUMPY\x02\0\xff\xff", 10), "ends in its header", "no room for the length");
  refuses(std::string("\x93NUMPY\x02\0\xff\xff\xff\xff", 12), "claims a header of 4294967295",
          "a huge header");
  refuses(file(header("<f4", "(2,)"), four), "do not fit each other", "data cut off");
  refuses(file(header("<f4", "(1,)"), four + four), "do not fit each other", "data left over");
  refuses(file(header("<f4", "(2147483647, 2147483647, 2147483647, 2147483647)"), four), "do not fit",
          "sizes whose product overflows");
  refuses(file(header("<f4", "(99999999999999999999,)"), four), "numpy.save", "a size beyond long");
  refuses(file(header("<f4", "(-1,)"), four), "numpy.save", "a negative size");
  refuses(file(header(">f4", "(1,)"), four), "little-endian", "big-endian");
  refuses(file(header("|O", "(1,)"), four), "got '|O'", "a pickle");
  refuses(file(header("<f2", "(2,)"), four), "got '<f2'", "float16");
  refuses(file(header("<c8", "(1,)"), four + four), "got '<c8'", "complex numbers");
  refuses(file("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", four), "Fortran", "Fortran order");
  for (const char* bad : {"", "{}", "{'descr': '<f4'}", "{'descr': '<f4", "{'shape': (1,), 'shape': (1,)}",
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
                          "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (1"})
    refuses(file(bad, four), "numpy.save", bad);
}

static void test_damage() {
  std::mt19937 random(1);
  const std::string good = file(header("<f4", "(2, 3)"), std::string(24, '\x01'));
  int read = 0;
  for (int i = 0; i < 20000; ++i) {
    try {
      parse_npy(damaged(good, random), "x.npy");
      ++read;
    } catch (const BadInput&) {
    }
  }
  expect(read > 0 && read < 20000, "damaged files are read or refused");
}

int main() {
  test_values();
  test_refusals();
  test_damage();
  return summary();
}
