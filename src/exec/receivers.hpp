// SPDX-License-Identifier: Apache-2.0
// The threads that serve one listener. Each takes a call, answers it and takes the next.
//
// The kernel wakes every thread that waits for a call, whoever gets it; so usually one waits and
// the others are parked. Another is let out
//   - before a command that may take long,
//   - when calls queue up, as far as there are CPUs,
//   - when a call that should be short is not (tick()): a client can make the copying of its memory
//     take as long as it likes.
// So a call that blocks stops nobody for long, and calls of many clients are served in parallel.
#pragma once

#include "exec/listener.hpp"
#include "exec/service.hpp"
#include "result/result.hpp"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace skep::exec {

class Receivers {
 public:
  /// Bound of the threads; more calls than that wait for their turn.
  static constexpr std::size_t max_threads = 256;

  /// `service` outlives the object.
  Receivers(Listener listener, const Service& service);
  /// Stopped before.
  ~Receivers();

  /// Errors: EAGAIN (no thread can be started).
  Result<void> start();

  const Listener& listener() const { return listener_; }

  /// To be called now and then, from one thread: notices calls that take too long.
  void tick();

  /// Ends the threads once they have answered what they are working on; calls that wait are not
  /// taken any more. False if one was still at work after `patience`; the object must then be left
  /// alone for the rest of the process. Blocks.
  [[nodiscard]] bool stop(std::chrono::milliseconds patience);

 private:
  static void* run(void* self);
  void serve();
  /// Lets one more thread wait for calls. Errors: EAGAIN (that was the last).
  Result<void> add_receiver();
  /// Waits until add_receiver() lets this thread out.
  void park();

  const Listener listener_;
  const Service& service_;
  const std::uint32_t useful_threads_;  // more do not answer short calls any sooner
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint32_t> waiting_{0};  // threads that wait for a call, or are about to
  std::atomic<std::uint32_t> busy_{0};     // threads that answer one
  std::atomic<std::uint64_t> taken_{0};    // calls so far
  std::uint64_t taken_at_last_tick_ = 0;   // tick() only

  std::mutex mutex_;  // a leaf
  std::condition_variable let_out_;
  // Guarded by mutex_.
  std::vector<pthread_t> threads_;
  std::uint32_t parked_ = 0;
  std::uint32_t passes_ = 0;  // parked threads that may go
};

}  // namespace skep::exec
