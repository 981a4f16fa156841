// The thread pool: every part runs exactly once, no thread runs two parts at a time, and jobs never mix.
#include "thread_pool.h"

#include <unistd.h>

#include <atomic>
#include <vector>

#include "checks.h"

namespace {

struct Job {
  std::atomic<int> runs[64];
  std::atomic<int> in_thread[8];
  int parts, threads;
  bool slow;
};

void run_part(const void* argument, int part, int thread) {
  Job& job = *const_cast<Job*>(static_cast<const Job*>(argument));
  CHECK(part >= 0 && part < job.parts, "part %d of %d", part, job.parts);
  CHECK(thread >= 0 && thread < job.threads, "thread %d of %d", thread, job.threads);
  CHECK(job.in_thread[thread].fetch_add(1) == 0, "thread %d runs two parts", thread);
  if (job.slow && part % 2) usleep(200);
  job.runs[part].fetch_add(1);
  job.in_thread[thread].fetch_sub(1);
}

void test(int threads, int jobs, bool slow) {
  camfit::Allocator allocator(1 << 20);
  camfit::ThreadPool pool;
  CHECK(pool.start(threads, allocator), "start");
  CHECK(pool.threads() == threads, "%d", pool.threads());
  Job job{};
  job.threads = threads;
  job.slow = slow;
  for (int round = 0; round < jobs; ++round) {
    job.parts = round % 64;
    for (std::atomic<int>& runs : job.runs) runs = 0;
    if (round % 97 == 0) usleep(500);  // now and then, long enough for the workers to fall asleep
    pool.run(run_part, &job, job.parts);
    for (int part = 0; part < 64; ++part) {
      CHECK(job.runs[part] == (part < job.parts ? 1 : 0), "round %d, part %d: %d runs", round, part,
            job.runs[part].load());
    }
  }
  pool.stop();
  pool.stop();  // a second time does nothing
}

}  // namespace

int main() {
  for (int threads = 1; threads <= 5; ++threads) {
    test(threads, 5000, false);
    test(threads, 130, true);
  }
  return camfit_test::failures ? 1 : 0;
}
