#include "thread_pool.h"

#include <new>
#include <unistd.h>

namespace camfit {
namespace {

// Long enough to bridge the gap between two layers, short enough not to be felt: some 20 to 50 microseconds.
constexpr int kSpins = 1000;
constexpr size_t kStackBytes = 512 << 10;

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

bool ThreadPool::start(int threads, Allocator& allocator) {
  if (threads <= 1) return true;
  worker_ = allocator.take<Worker>(uint64_t(threads - 1));
  if (!worker_) return false;
  // Spinning for the other thread only delays it when there is one processor.
  spins_ = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? kSpins : 0;
  pthread_mutex_init(&mutex_, nullptr);
  pthread_cond_init(&work_, nullptr);
  pthread_cond_init(&done_, nullptr);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  bool started = true;
  for (int i = 0; i < threads - 1 && started; ++i) {
    Worker* worker = new (&worker_[i]) Worker{pthread_t(), this, i + 1};
    started = pthread_create(&worker->thread, &attributes, worker_main, worker) == 0;
    if (started) ++workers_;
  }
  pthread_attr_destroy(&attributes);
  // Whatever a new thread allocates before its first instruction belongs to the load, so wait for it.
  pthread_mutex_lock(&mutex_);
  while (ready_ < workers_) pthread_cond_wait(&done_, &mutex_);
  pthread_mutex_unlock(&mutex_);
  if (!started) stop();
  return started;
}

void ThreadPool::stop() {
  if (!worker_) return;
  stopping_.store(true);
  pthread_mutex_lock(&mutex_);
  pthread_cond_broadcast(&work_);
  pthread_mutex_unlock(&mutex_);
  for (int i = 0; i < workers_; ++i) pthread_join(worker_[i].thread, nullptr);
  pthread_cond_destroy(&done_);
  pthread_cond_destroy(&work_);
  pthread_mutex_destroy(&mutex_);
  worker_ = nullptr;  // its memory is the allocator's
  workers_ = ready_ = 0;
}

bool ThreadPool::claim_and_run(int thread) {
  int left = unclaimed_.load(std::memory_order_acquire);
  while (left > 0) {
    if (!unclaimed_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    part_(job_, left - 1, thread);
    if (unfinished_.fetch_sub(1) == 1 && caller_waits_.load()) {
      pthread_mutex_lock(&mutex_);
      pthread_cond_signal(&done_);
      pthread_mutex_unlock(&mutex_);
    }
    return true;
  }
  return false;
}

void ThreadPool::serve(int thread) {
  int idle = 0;
  while (!stopping_.load(std::memory_order_acquire)) {
    if (claim_and_run(thread)) {
      idle = 0;
    } else if (idle < spins_) {
      ++idle;
      pause_briefly();
    } else {
      // `sleeping_` rises before `unclaimed_` is looked at, the caller does the reverse: one of them sees the other.
      pthread_mutex_lock(&mutex_);
      sleeping_.fetch_add(1);
      while (unclaimed_.load() == 0 && !stopping_.load()) pthread_cond_wait(&work_, &mutex_);
      sleeping_.fetch_sub(1);
      pthread_mutex_unlock(&mutex_);
      idle = 0;
    }
  }
}

void* ThreadPool::worker_main(void* argument) {
  const Worker* worker = static_cast<const Worker*>(argument);
  ThreadPool* pool = worker->pool;
  pthread_mutex_lock(&pool->mutex_);
  ++pool->ready_;
  pthread_cond_signal(&pool->done_);
  pthread_mutex_unlock(&pool->mutex_);
  pool->serve(worker->index);
  return nullptr;
}

void ThreadPool::run(Part part, const void* job, int parts) {
  if (workers_ == 0 || parts <= 1) {
    for (int i = parts - 1; i >= 0; --i) part(job, i, 0);
    return;
  }
  part_ = part;
  job_ = job;
  unfinished_.store(parts);
  unclaimed_.store(parts);
  if (sleeping_.load() > 0) {
    pthread_mutex_lock(&mutex_);
    pthread_cond_broadcast(&work_);
    pthread_mutex_unlock(&mutex_);
  }
  while (claim_and_run(0)) {
  }
  for (int i = 0; i < spins_ && unfinished_.load(std::memory_order_acquire) != 0; ++i) pause_briefly();
  if (unfinished_.load() == 0) return;
  caller_waits_.store(true);
  pthread_mutex_lock(&mutex_);
  while (unfinished_.load() != 0) pthread_cond_wait(&done_, &mutex_);
  pthread_mutex_unlock(&mutex_);
  caller_waits_.store(false);
}

}  // namespace camfit
