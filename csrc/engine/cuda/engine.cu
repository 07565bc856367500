#include "engine/clips.h"
#include "engine/cuda/engine_parts.h"
#include "engine/spec.h"
#include "ski_edge/check.h"
#include "ski_edge/device.h"

namespace ski_edge {

namespace {

constexpr int kHost = -1;

}  // namespace

CudaPrecision parse_cuda_precision(const std::string& text) {
  if (text == "fp32") return CudaPrecision::fp32;
  if (text == "fp16") return CudaPrecision::fp16;
  if (text == "bf16") return CudaPrecision::bf16;
  refuse("precision must be fp32, fp16 or bf16, got '", text, "'");
}

CudaEngine::CudaEngine(const std::string& weights, const NetworkSpec& spec, const CudaOptions& options) {
  if (options.device != kHost) {
    const std::string reason = why_not_cuda(options.device);
    check(reason.empty(), reason);
  }
  checked(spec);
  MakeParts& make = options.precision == CudaPrecision::fp32   ? make_fp32_parts
                    : options.precision == CudaPrecision::fp16 ? make_fp16_parts
                                                               : make_bf16_parts;
  parts_ = make(weights, spec, options.device);
}
CudaEngine::~CudaEngine() = default;
CudaEngine::CudaEngine(CudaEngine&&) noexcept = default;

void CudaEngine::run(const ClipView& x, float* logits, float* features) {
  check_clips(x, parts_->spec);
  if (x.clips == 0) return;
  parts_->submit(x);
  parts_->wait(logits, features);
}
void CudaEngine::submit(const ClipView& x) { parts_->submit(x); }
void CudaEngine::wait(float* logits, float* features) { parts_->wait(logits, features); }
void CudaEngine::run_on_device(const ClipView& x, float* logits, float* features, void* stream) {
  parts_->run_on_device(x, logits, features, static_cast<cudaStream_t>(stream));
}
void CudaEngine::time_replays(int times, float* milliseconds) { parts_->time_replays(times, milliseconds); }
int CudaEngine::classes() const { return parts_->spec.classes; }
int CudaEngine::feature_dim() const { return parts_->feature_dim; }
int CudaEngine::joints() const { return parts_->spec.joints; }
int CudaEngine::persons() const { return parts_->spec.persons; }
std::size_t CudaEngine::bytes() const { return parts_->bytes(); }

}  // namespace ski_edge
