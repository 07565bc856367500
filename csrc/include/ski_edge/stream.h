// ST-GCN frame by frame (continual inference, Hedegaard et al. 2023): a frame in, logits of the window that
// ends with it out, at the cost of one frame instead of the whole window.
//
// What is computed is the network of CoST-GCN* : the weights of an ST-GCN, temporal convolutions without
// padding and without stride, residuals taken at the middle of each convolution's frames, and a mean over the
// last frames instead of the whole clip. A block's output for a frame never changes afterwards, so nothing is
// computed twice; the logits equal those of the same definition on a whole clip. They are not those of the
// padded, strided ST-GCN with the same weights, which pads both ends of every window and would have to start
// anew with each frame; weights are fine-tuned to the unpadded definition (the paper's loses nothing by
// that).
#pragma once

#include <memory>
#include <string>

#include "ski_edge/engine.h"

namespace ski_edge {

class Stream {
 public:
  // window: frames of a prediction, all told, at least receptive_field(); 300 gives CoST-GCN*'s mean over
  // 220. Throws BadInput: only stgcn runs frame by frame (see why_not_stream), in float32.
  Stream(const std::string& weights, const NetworkSpec& spec, int window, const EngineOptions& options = {});
  ~Stream();
  Stream(Stream&&) noexcept;

  // frame: one preprocessed frame, ClipView with one clip and one frame. logits [classes], features
  // [feature_dim] or null: of the last `window` frames, written and true once as many were seen; else false,
  // and nothing is written.
  bool step(const ClipView& frame, float* logits, float* features);

  // Forget all frames.
  void reset();

  int window() const;
  int receptive_field() const;  // frames that one output of the trunk sees: 81
  int classes() const;
  int feature_dim() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Empty when this model runs frame by frame, else one line that says why not.
std::string why_not_stream(const std::string& model);

}  // namespace ski_edge
