#include "ski_edge/thread_pool.h"

#include <algorithm>
#include <system_error>

#include "dispatch/cpus.h"
#include "ski_edge/check.h"
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace ski_edge {

namespace {

// How often a thread looks for work before it sleeps: some 50 us, longer than any serial part of a network.
constexpr int kLooks = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

long this_process() {
#if defined(__unix__) || defined(__APPLE__)
  return getpid();
#else
  return 0;
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : process_(this_process()) {
  check(threads >= 0 && threads <= 256, "threads must be 0 (one per CPU) to 256, got ", threads);
  const int count = threads > 0 ? threads : std::min(usable_cpus(), 256);
  workers_.reserve(static_cast<std::size_t>(count - 1));
  try {
    for (int thread = 1; thread < count; ++thread) {
      workers_.emplace_back([this, thread] { serve(thread); });
    }
  } catch (const std::system_error& error) {  // a limit of the system, or no memory for a stack
    stop();
    refuse("the system gave ", workers_.size() + 1, " of ", count, " threads (", error.what(),
           "); ask for fewer");
  }
}

ThreadPool::~ThreadPool() {
  if (process_ == this_process()) {
    stop();
  } else {
    for (std::thread& worker : workers_) worker.detach();  // there is nobody to wait for
  }
}

void ThreadPool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_job(const Job& job) {
  if (workers_.empty() || job.tasks <= 1) {
    for (int task = 0; task < job.tasks; ++task) job.call(job.work, task, 0);
    return;
  }
  check(process_ == this_process(),
        "threads do not survive a fork(); open the bundle in the process that runs it");
  job_ = job;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  round_.fetch_add(1);
  // A worker counts itself asleep before it looks at the round for the last time, under the mutex: either it
  // sees the new round, or it is seen here.
  if (asleep_.load() > 0) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_.notify_all();
  }
  take_tasks(0);
  for (int looks = 0; busy_.load(std::memory_order_acquire) > 0; ++looks) {
    if (looks < kLooks) {
      pause();
    } else {
      std::this_thread::yield();  // more threads than CPUs: let the one that is late run
    }
  }
}

void ThreadPool::take_tasks(int thread) {
  for (;;) {
    const int task = next_.fetch_add(1, std::memory_order_relaxed);
    if (task >= job_.tasks) return;
    job_.call(job_.work, task, thread);
  }
}

void ThreadPool::serve(int thread) {
  unsigned seen = 0;
  for (;;) {
    int looks = 0;
    while (round_.load(std::memory_order_acquire) == seen && !stop_.load(std::memory_order_relaxed)) {
      if (++looks < kLooks) {
        pause();
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.fetch_add(1);
      wake_.wait(lock, [&] { return round_.load() != seen || stop_.load(); });
      asleep_.fetch_sub(1);
    }
    if (stop_.load()) return;
    seen = round_.load(std::memory_order_acquire);
    take_tasks(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace ski_edge
