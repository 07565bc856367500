// Whole skeleton networks on a CUDA device: clips in, logits out, as engine.h on the CPU. No cuBLAS, no
// cuDNN.
#pragma once

#include <memory>
#include <string>

#include "ski_edge/engine.h"

namespace ski_edge {

// What weights and activations are; sums are float32 always. fp32 multiplies numbers cut into three parts of
// tf32 on tensor cores (sm_80 and later), which loses nothing that float32 holds.
enum class CudaPrecision { fp32, fp16, bf16 };

// Throws BadInput for another name.
CudaPrecision parse_cuda_precision(const std::string& text);

struct CudaOptions {
  int device = 0;  // -1: kernels run on the host, one thread, for tests
  CudaPrecision precision = CudaPrecision::fp16;
};

// A network on one device, with a stream of its own. One caller at a time.
class CudaEngine {
 public:
  // Reads and folds a safetensors file, uploads the weights. Throws BadInput; std::runtime_error where CUDA
  // fails.
  CudaEngine(const std::string& weights, const NetworkSpec& spec, const CudaOptions& options = {});
  ~CudaEngine();
  CudaEngine(CudaEngine&&) noexcept;

  // As Engine::run. The first clips of a size record a CUDA graph; later ones replay it.
  void run(const ClipView& x, float* logits, float* features);

  // The two halves of `run`, for a caller who has other things to do meanwhile. x may change once submit has
  // returned. One clip batch at a time: wait before the next submit.
  void submit(const ClipView& x);
  void wait(float* logits, float* features);

  // Clips in device memory; logits and features (or null) too. Works on the caller's stream (a cudaStream_t,
  // null for the legacy default one) and waits for nothing once a size is known. It sees no numbers: computes
  // empty slots too, and NaN or infinity come out as they may. Calls on several streams run one after the
  // other. Throws BadInput where x is on no device, or on another.
  void run_on_device(const ClipView& x, float* logits, float* features, void* stream);

  // Milliseconds of each of `times` replays of the graph of the last clips, copies included, one after the
  // other.
  void time_replays(int times, float* milliseconds);

  int classes() const;
  int feature_dim() const;
  int joints() const;
  int persons() const;
  // Bytes of device memory that the activations of all recorded sizes take; weights come on top.
  std::size_t bytes() const;

  struct Parts;  // one per precision

 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace ski_edge
