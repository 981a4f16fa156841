// Shares the parts of one job among threads. Starting a job allocates nothing and, while the workers still spin from
// the previous one, makes no system call.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "allocator.h"

namespace camfit {

class ThreadPool {
 public:
  // part: 0 .. parts - 1; thread: 0 .. threads - 1, distinct among the parts that run at the same moment.
  using Part = void (*)(const void* job, int part, int thread);

  ThreadPool() = default;
  ~ThreadPool() { stop(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Starts threads - 1 workers; the caller of `run` is the last thread. False when the system refuses.
  bool start(int threads, Allocator& allocator);
  void stop();
  int threads() const { return threads_; }

  // Returns when all parts have run. Each thread first takes parts of its own share, an equal range of them, so that
  // what one layer leaves in its cache serves the next; then what is left of the shares of others.
  void run(Part part, const void* job, int parts);

 private:
  struct Worker {
    pthread_t thread;
    ThreadPool* pool;
    int index;
  };
  // Parts of one thread's share that nobody has taken yet; the last is taken first.
  struct alignas(64) Share {
    std::atomic<int> unclaimed{0};
    int begin = 0;
  };
  static void* worker_main(void* worker);
  bool claim_and_run(int thread);
  bool anything_unclaimed() const;
  void serve(int thread);

  Worker* worker_ = nullptr;
  int threads_ = 1;
  int workers_ = 0;  // threads that were started
  int ready_ = 0;  // workers that have begun; under mutex_
  bool spins_ = false;

  // A job's fields are written before any share is raised from 0, and stay until `unfinished_` has fallen to 0.
  Part part_ = nullptr;
  const void* job_ = nullptr;
  Share* shares_ = nullptr;  // of each thread
  alignas(64) std::atomic<int> unfinished_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> caller_waits_{false}, stopping_{false};
  pthread_mutex_t mutex_;
  pthread_cond_t work_, done_;
};

}  // namespace camfit
