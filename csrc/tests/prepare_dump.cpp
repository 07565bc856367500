// prepare_dump [BUNDLE SKELETON.npy]...: what `prepare` makes of each, as raw float32 on stdout, one after
// the other. tests/native/test_classify.py compares it with Python's.
#include <cstdio>

#include "ski_edge/bundle.h"
#include "ski_edge/check.h"
#include "ski_edge/npy.h"

int main(int count, char** words) {
  try {
    for (int i = 1; i + 1 < count; i += 2) {
      const ski_edge::Bundle bundle = ski_edge::read_bundle(words[i]);
      const ski_edge::Npy npy = ski_edge::read_npy(words[i + 1]);
      ski_edge::check_shape(npy.shape, bundle.skeleton);
      const std::vector<float> clip =
          ski_edge::prepare(npy.values.data(), npy.shape[0], npy.shape[1], bundle.skeleton);
      std::fwrite(clip.data(), sizeof(float), clip.size(), stdout);
    }
    return std::fflush(stdout) == 0 ? 0 : 2;
  } catch (const ski_edge::BadInput& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
