// SPDX-License-Identifier: Apache-2.0
// Answers the system calls of clients: bpf(2) from a runtime's command table, and the few others by
// which programs look at descriptors and at the BPF file system. What is not our business is let
// through to the kernel.
#pragma once

#include "exec/client.hpp"
#include "exec/listener.hpp"
#include "exec/pin_directory.hpp"
#include "syscall/commands.hpp"

namespace skep::exec {

/// Thread: any.
class Service {
 public:
  /// All of these outlive the object. `pins` is null if clients have no file system of their own:
  /// their pins are then kept in the runtime's, where bpf(2) finds them, but not mkdir, ls or rm.
  Service(Syscalls& syscalls, NetNamespace& net_namespace, PinDirectory* pins);

  /// Answers one call. Blocks: as long as the command does.
  void answer(const Listener& listener, ClientThreads& threads, const Call& call) const;

  /// Whether answering can well take much longer than taking the call.
  static bool may_block(const Call& call);

  /// Notices descriptors and pins that clients gave up.
  void reap() const;

 private:
  enum class Reply : std::uint8_t { value, let_through };
  /// Which value, or that the kernel shall do it.
  struct Answer {
    Reply reply = Reply::let_through;
    std::int64_t value = 0;
  };
  using Answered = Result<Answer>;

  void bpf(const Listener& listener, ClientThreads& threads, const Call& call) const;
  Answered others(ClientThreads& threads, const Call& call) const;
  Answered readlink(ClientThreads& threads, const Call& call) const;
  Answered statfs(const Call& call) const;
  Answered fstatfs(ClientThreads& threads, const Call& call) const;
  Answered mount(const Call& call) const;
  Answered perf_event_open(const Call& call) const;

  Syscalls& syscalls_;
  NetNamespace& net_namespace_;
  PinDirectory* const pins_;
  const uid_t user_;  // whom we serve: ourselves. Root could read anybody's memory, so a call must
                      // be asked whose it is
};

}  // namespace skep::exec
