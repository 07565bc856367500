// Threads that wait for work. The caller is one of them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace ski_edge {

// One caller at a time. Between two runs the other threads look for work for a short while, then sleep, so
// that the steps of one network follow each other within a microsecond and an idle engine costs nothing.
class ThreadPool {
 public:
  // threads: with the caller; 0 takes one per CPU this process may use, by its affinity and by the quota of
  // its control groups (containers). Throws BadInput outside 0..256, or where the system does not give so
  // many.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(task, thread) for each task of 0..tasks-1, on whichever thread is free; returns when all are
  // done. `work` must not throw.
  template <class Work>
  void run(int tasks, const Work& work) {
    Job job{tasks, &work,
            [](const void* self, int task, int thread) { (*static_cast<const Work*>(self))(task, thread); }};
    run_job(job);
  }

 private:
  struct Job {
    int tasks = 0;
    const void* work = nullptr;
    void (*call)(const void* work, int task, int thread) = nullptr;
  };
  void stop();
  void run_job(const Job& job);
  void take_tasks(int thread);
  void serve(int thread);

  long process_;  // threads do not survive a fork()
  Job job_;
  std::atomic<int> next_{0};        // first task that nobody has taken
  std::atomic<int> busy_{0};        // workers that have not finished the current job
  std::atomic<unsigned> round_{0};  // counts jobs; workers wait for it to change
  std::atomic<bool> stop_{false};
  std::atomic<int> asleep_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

}  // namespace ski_edge
