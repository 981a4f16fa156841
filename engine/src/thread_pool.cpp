#include "thread_pool.h"

#include <time.h>
#include <unistd.h>

#include <new>

namespace camfit {
namespace {

// Long enough to bridge the layers between two that are shared, short enough not to be felt.
constexpr uint64_t kSpinNanoseconds = 100000;
constexpr size_t kStackBytes = 512 << 10;

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint64_t now_in_nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

// Waits a little for `ready`. Returns whether it came true.
template <class Ready>
bool spin(bool allowed, const Ready& ready) {
  if (!allowed) return ready();
  const uint64_t end = now_in_nanoseconds() + kSpinNanoseconds;
  do {
    for (int i = 0; i < 32; ++i) {  // a pause lasts 10 to 50 nanoseconds, as does a look at the clock
      if (ready()) return true;
      pause_briefly();
    }
  } while (now_in_nanoseconds() < end);
  return ready();
}

}  // namespace

bool ThreadPool::start(int threads, Allocator& allocator) {
  if (threads <= 1) return true;
  shares_ = allocator.take<Share>(uint64_t(threads));
  worker_ = shares_ ? allocator.take<Worker>(uint64_t(threads - 1)) : nullptr;
  if (!worker_) return false;
  for (int i = 0; i < threads; ++i) new (&shares_[i]) Share();
  threads_ = threads;
  // Spinning for the other thread only delays it when there is one processor.
  spins_ = sysconf(_SC_NPROCESSORS_ONLN) > 1;
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
  threads_ = 1;
}

bool ThreadPool::claim_and_run(int thread) {
  for (int i = 0; i < threads_; ++i) {
    Share& share = shares_[(thread + i) % threads_];
    int left = share.unclaimed.load(std::memory_order_acquire);
    while (left > 0) {
      if (!share.unclaimed.compare_exchange_weak(left, left - 1)) continue;
      part_(job_, share.begin + left - 1, thread);
      if (unfinished_.fetch_sub(1) == 1 && caller_waits_.load()) {
        pthread_mutex_lock(&mutex_);
        pthread_cond_signal(&done_);
        pthread_mutex_unlock(&mutex_);
      }
      return true;
    }
  }
  return false;
}

bool ThreadPool::anything_unclaimed() const {
  for (int i = 0; i < threads_; ++i) {
    if (shares_[i].unclaimed.load() > 0) return true;
  }
  return false;
}

void ThreadPool::serve(int thread) {
  const auto wanted = [this] { return anything_unclaimed() || stopping_.load(); };
  while (!stopping_.load()) {
    if (claim_and_run(thread) || spin(spins_, wanted)) continue;
    // `sleeping_` rises before the shares are looked at, the caller does the reverse: one of them sees the other.
    pthread_mutex_lock(&mutex_);
    sleeping_.fetch_add(1);
    while (!wanted()) pthread_cond_wait(&work_, &mutex_);
    sleeping_.fetch_sub(1);
    pthread_mutex_unlock(&mutex_);
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
  for (int i = 0; i < threads_; ++i) {
    const int begin = parts * i / threads_, end = parts * (i + 1) / threads_;
    shares_[i].begin = begin;
    shares_[i].unclaimed.store(end - begin);
  }
  if (sleeping_.load() > 0) {
    pthread_mutex_lock(&mutex_);
    pthread_cond_broadcast(&work_);
    pthread_mutex_unlock(&mutex_);
  }
  while (claim_and_run(0)) {
  }
  if (spin(spins_, [this] { return unfinished_.load(std::memory_order_acquire) == 0; })) return;
  caller_waits_.store(true);
  pthread_mutex_lock(&mutex_);
  while (unfinished_.load() != 0) pthread_cond_wait(&done_, &mutex_);
  pthread_mutex_unlock(&mutex_);
  caller_waits_.store(false);
}

}  // namespace camfit
