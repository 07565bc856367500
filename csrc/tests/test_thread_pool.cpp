// The pool runs every task exactly once, however rounds, pauses and pools follow each other.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "checks.h"
#include "ski_edge/thread_pool.h"

using ski_edge::ThreadPool;

namespace {

// One round: each of `tasks` tasks exactly once, on a thread of the pool, all done when run returns. The
// counts are plain integers on purpose: the pool orders what tasks write before what the caller reads, and
// before what another thread writes in the next round.
bool round(ThreadPool& pool, std::vector<int>& counts, int tasks) {
  std::atomic<bool> known{true};
  pool.run(tasks, [&](int task, int thread) {
    if (task < 0 || task >= tasks || thread < 0 || thread >= pool.threads()) {
      known = false;
    } else {
      ++counts[static_cast<std::size_t>(task)];
    }
  });
  bool once = known;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    once = once && counts[i] == (i < static_cast<std::size_t>(tasks) ? 1 : 0);
    counts[i] = 0;
  }
  return once;
}

void test_rounds() {
  for (int threads = 1; threads <= 4; ++threads) {
    ThreadPool pool(threads);
    expect(pool.threads() == threads, "the pool has the threads asked for");
    std::vector<int> counts(1000, 0);
    bool once = true;
    for (const int tasks : {0, 1, 2, 3, 4, 5, 7, 8, 64, 100, 999, 1000}) {
      once = once && round(pool, counts, tasks);
    }
    // One right after the other: a worker that is late for a round must not take tasks of the next.
    for (int i = 0; i < 500; ++i) once = once && round(pool, counts, i % 9);
    expect(once, ("every task once, " + std::to_string(threads) + " threads").c_str());
  }
}

// A thread's own memory, like an op's scratch: two tasks of one thread never run at once.
void test_scratch() {
  ThreadPool pool(4);
  std::vector<int> scratch(4, 0);
  for (int i = 0; i < 200; ++i) {
    pool.run(17, [&](int, int thread) { ++scratch[static_cast<std::size_t>(thread)]; });
  }
  expect(scratch[0] + scratch[1] + scratch[2] + scratch[3] == 200 * 17, "a thread's scratch is its own");
}

void test_sleep() {
  ThreadPool pool(3);
  std::vector<int> counts(50, 0);
  bool once = true;
  for (int i = 0; i < 20; ++i) {
    once = once && round(pool, counts, 50);
    std::this_thread::sleep_for(std::chrono::milliseconds(i % 2 == 0 ? 5 : 1));  // the spin lasts some 50 us
  }
  // Around the moment they fall asleep, where a wake-up is lost most easily.
  for (int i = 0; i < 200; ++i) {
    once = once && round(pool, counts, 3 + i % 5);
    std::this_thread::sleep_for(std::chrono::microseconds(i));
  }
  expect(once, "workers that slept wake up");
}

void test_lifetimes() {
  bool once = true;
  std::vector<int> counts(10, 0);
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(1 + i % 4);  // i % 3 == 0: it ends before its workers have begun
    if (i % 3 > 0) once = once && round(pool, counts, 10);
    if (i % 3 > 1) std::this_thread::sleep_for(std::chrono::microseconds(300));  // it ends while they sleep
  }
  expect(once, "pools come and go");
}

void test_two_pools() {
  std::atomic<bool> once{true};
  const auto use = [&](int threads) {
    ThreadPool pool(threads);
    std::vector<int> counts(40, 0);
    for (int i = 0; i < 150; ++i) {
      if (!round(pool, counts, 40 - i % 7)) once = false;
    }
  };
  std::thread other(use, 3);
  use(2);
  other.join();
  expect(once, "two pools at once");
}

void test_default_and_bad_input() {
  ThreadPool pool;
  expect(pool.threads() >= 1, "one thread per CPU by default");
  throws([] { ThreadPool(-1); }, "threads must be 0 (one per CPU) to 256, got -1", "negative threads");
  throws([] { ThreadPool(257); }, "threads must be 0 (one per CPU) to 256, got 257", "too many threads");
}

}  // namespace

int main() {
  test_rounds();
  test_scratch();
  test_sleep();
  test_lifetimes();
  test_two_pools();
  test_default_and_bad_input();
  return summary();
}
