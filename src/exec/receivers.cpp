// SPDX-License-Identifier: Apache-2.0
#include "exec/receivers.hpp"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

namespace skep::exec {
namespace {

/// Gets a thread out of its wait for a call: kernels before 6.11 do not wake it when the last
/// client is gone.
int wake_signal() { return SIGRTMAX - 1; }

void do_nothing(int /*signal*/) {}

/// A call that takes no longer to come was waiting for us.
constexpr std::chrono::nanoseconds at_once{1500};
/// So many of them in a row, and calls queue up.
constexpr unsigned queue_is_there = 8;
/// A thread that waits for so long is not needed if there is another.
constexpr std::chrono::microseconds idle{200};

}  // namespace

Receivers::Receivers(Listener listener, const Service& service)
    : listener_(std::move(listener)),
      service_(service),
      useful_threads_(std::max(1U, std::thread::hardware_concurrency())) {}

Receivers::~Receivers() {
  const std::lock_guard lock(mutex_);
  ASSERT(threads_.empty());
}

Result<void> Receivers::start() {
  struct sigaction action{};
  action.sa_handler = do_nothing;  // no SA_RESTART: the wait shall end
  if (::sigaction(wake_signal(), &action, nullptr) != 0) return Errno{EAGAIN};
  return add_receiver();
}

Result<void> Receivers::add_receiver() {
  const std::lock_guard lock(mutex_);
  // relaxed, here and below: only the count matters, no data is passed by it. It is raised for the
  // thread that will wait, so that nobody lets out another one meanwhile.
  waiting_.fetch_add(1, std::memory_order_relaxed);
  if (passes_ < parked_) {
    ++passes_;
    let_out_.notify_one();
    return ok();
  }
  int code = EAGAIN;
  if (threads_.size() < max_threads) {
    // Signals of the process are the main thread's business.
    sigset_t all, before;
    ::sigfillset(&all);
    ::sigdelset(&all, wake_signal());
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread{};
    code = ::pthread_create(&thread, nullptr, run, this);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (code == 0) threads_.push_back(thread);
  }
  if (code == 0) return ok();
  waiting_.fetch_sub(1, std::memory_order_relaxed);
  return Errno{EAGAIN};
}

void Receivers::park() {
  std::unique_lock lock(mutex_);
  ++parked_;
  let_out_.wait(lock, [&] { return passes_ != 0 || stopping_.load(std::memory_order_relaxed); });
  --parked_;
  if (passes_ != 0) --passes_;
}

void* Receivers::run(void* self) {
  static_cast<Receivers*>(self)->serve();
  return nullptr;
}

void Receivers::serve() {
  using Clock = std::chrono::steady_clock;
  ClientThreads clients;
  unsigned in_a_row = 0;  // calls that were there already when we came for them
  // acquire: pairs with stop(). Whoever comes here has been counted in waiting_.
  while (!stopping_.load(std::memory_order_acquire)) {
    const auto came = Clock::now();
    const Result<Call> call = listener_.receive();
    if (!call) {
      // ENOENT: the client died before we took its call, unless all are gone.
      const int code = call.error().code;
      if ((code != ENOENT && code != EINTR) || (code == ENOENT && listener_.is_abandoned())) return;
      continue;
    }
    const auto waited = Clock::now() - came;
    in_a_row = waited < at_once ? in_a_row + 1 : 0;
    taken_.fetch_add(1, std::memory_order_relaxed);
    const bool was_last = waiting_.fetch_sub(1, std::memory_order_relaxed) == 1;
    const bool may_block = Service::may_block(*call);
    if (was_last && (may_block || in_a_row >= queue_is_there)) {
      in_a_row = 0;
      const bool is_of_use = may_block || busy_.load(std::memory_order_relaxed) < useful_threads_;
      // If there is none, calls wait until we are done.
      if (is_of_use) (void)add_receiver();
    }
    busy_.fetch_add(1, std::memory_order_relaxed);
    service_.answer(listener_, clients, *call);
    busy_.fetch_sub(1, std::memory_order_relaxed);
    // Somebody else waits, and there was no hurry.
    if (waiting_.load(std::memory_order_relaxed) != 0 && (may_block || waited > idle))
      park();
    else
      waiting_.fetch_add(1, std::memory_order_relaxed);
  }
}

void Receivers::tick() {
  const std::uint64_t taken = taken_.load(std::memory_order_relaxed);
  if (waiting_.load(std::memory_order_relaxed) == 0 && taken == taken_at_last_tick_)
    (void)add_receiver();
  taken_at_last_tick_ = taken;
}

bool Receivers::stop(std::chrono::milliseconds patience) {
  // release: pairs with serve().
  stopping_.store(true, std::memory_order_release);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    pthread_t thread{};
    {
      const std::lock_guard lock(mutex_);
      let_out_.notify_all();
      if (threads_.empty()) return true;
      thread = threads_.back();
    }
    // More than once: the signal may come just before the wait begins.
    ::pthread_kill(thread, wake_signal());
    timespec until{};
    ::clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 2'000'000;
    if (until.tv_nsec >= 1'000'000'000) {
      until.tv_nsec -= 1'000'000'000;
      ++until.tv_sec;
    }
    if (::pthread_timedjoin_np(thread, nullptr, &until) == 0) {
      const std::lock_guard lock(mutex_);
      // A thread at work may have started another meanwhile, which stands behind.
      std::erase_if(threads_, [&](pthread_t other) { return ::pthread_equal(thread, other) != 0; });
    } else if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
  }
}

}  // namespace skep::exec
