// Where kernels run: a CUDA device, or the host, which runs the same text block by block. The host is slow
// and there for tests: everything but the order of threads can be checked without a GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/block.h"

namespace ski_edge::cuda {

// A CUDA call that failed; not the caller's fault, so no BadInput.
inline void expect_success(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA failed while ") + doing + ": " + cudaGetErrorString(status));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocks)
    run_kernel(const __grid_constant__ typename Kernel::Args args) {
  extern __shared__ __align__(16) char memory[];
  const Block block{static_cast<int>(threadIdx.x), static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y),
                    static_cast<int>(blockIdx.z)};
  Kernel::run(block, args, memory);
}

class Machine {
 public:
  // device -1: the host.
  explicit Machine(int device) : device_(device) {
    if (host()) return;
    expect_success(cudaSetDevice(device), "choosing the device");
    cudaDeviceProp properties;
    expect_success(cudaGetDeviceProperties(&properties, device), "reading the device's properties");
    starts_early_ = properties.major >= 9;
    most_shared_ = properties.sharedMemPerBlockOptin;
    multiprocessors_ = properties.multiProcessorCount;
    expect_success(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  }
  Machine(const Machine&) = delete;
  ~Machine() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  bool host() const { return device_ < 0; }
  int device() const { return device_; }
  cudaStream_t stream() const { return stream_; }
  int multiprocessors() const { return multiprocessors_; }

  // Zeros.
  std::shared_ptr<void> memory(std::size_t bytes) const {
    bytes = bytes + 256;  // a tile's loads may look past the last row
    if (host()) return std::shared_ptr<void>(std::calloc(bytes, 1), [](void* p) { std::free(p); });
    void* p = nullptr;
    expect_success(cudaMalloc(&p, bytes), "allocating device memory");
    const std::shared_ptr<void> owner(p, [](void* each) { cudaFree(each); });
    expect_success(cudaMemsetAsync(p, 0, bytes, stream_), "clearing device memory");
    return owner;
  }
  template <class T>
  std::shared_ptr<T> upload(const std::vector<T>& from) const {
    const std::shared_ptr<void> to = memory(from.size() * sizeof(T));
    copy(to.get(), from.data(), from.size() * sizeof(T));
    wait();
    return std::static_pointer_cast<T>(to);
  }
  void copy(void* to, const void* from, std::size_t bytes) const {
    if (host()) {
      std::memcpy(to, from, bytes);
    } else {
      expect_success(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "copying");
    }
  }
  void wait() const {
    if (!host()) expect_success(cudaStreamSynchronize(stream_), "waiting for the device");
  }

  // On the machine's stream, or another one. early: the kernel before lets it start before it has ended.
  template <class Kernel>
  void launch(const typename Kernel::Args& args, cudaStream_t stream = nullptr, bool early = false) const {
    const Grid grid = Kernel::grid(args);
    const std::size_t shared = Kernel::shared_bytes(args);
    if (host()) {
      run_on_host<Kernel>(args, grid, shared);
      return;
    }
    if (shared > most_shared_) {
      throw std::runtime_error("this device has " + std::to_string(most_shared_) +
                               " bytes of shared memory per block; a layer of this network needs " +
                               std::to_string(shared));
    }
    if (shared > 48 * 1024) {
      expect_success(cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          static_cast<int>(shared)),
                     "asking for shared memory");
    }
    const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                      static_cast<unsigned>(grid.z));
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks, config.blockDim = dim3(Kernel::kThreads);
    config.dynamicSmemBytes = shared, config.stream = stream != nullptr ? stream : stream_;
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute, config.numAttrs = early && starts_early_ ? 1 : 0;
    expect_success(cudaLaunchKernelEx(&config, run_kernel<Kernel>, args), "starting a kernel");
  }

 private:
  template <class Kernel>
  static void run_on_host(const typename Kernel::Args& args, const Grid& grid, std::size_t shared) {
    std::vector<char> memory(shared + 16);
    char* const aligned = memory.data() + (16 - reinterpret_cast<std::size_t>(memory.data()) % 16) % 16;
    for (int z = 0; z < grid.z; ++z)
      for (int y = 0; y < grid.y; ++y)
        for (int x = 0; x < grid.x; ++x) {
          std::memset(aligned, 0xFF, shared);  // NaN: shared memory holds what the last block left
          Kernel::run(Block{0, x, y, z}, args, aligned);
        }
  }

  int device_;
  cudaStream_t stream_ = nullptr;
  bool starts_early_ = false;
  std::size_t most_shared_ = 0;
  int multiprocessors_ = 1;
};

}  // namespace ski_edge::cuda
