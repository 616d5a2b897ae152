// SPDX-License-Identifier: Apache-2.0
// The redirect path: what helpers note, the step that consumes it, and the bulk queues that carry
// frames to their targets. (Linux: net/core/filter.c, kernel/bpf/devmap.c; behaviour:
// devmap-xdp.md 2.)
//
// A section is one poll of one device on one slot, inside a read section: begin_section(), then a
// redirect() for each frame with that verdict, then flush(). Everything here is per-packet code: no
// locks, no allocation.
#pragma once

#include "cpu/slot.hpp"
#include "net/device.hpp"
#include "net/drop_reason.hpp"
#include "net/packet.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "rcu/rcu.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace skep {

class Devmap;
struct DevmapEntry;

/// What the redirect helpers noted last. Zero at the start of a section; redirect() takes kind, map
/// and flags out of it and leaves index and target, as Linux does: what programs can see of that is
/// the specification.
struct RedirectInfo {
  enum class Kind : std::uint8_t { none, plain, devmap };

  std::uint64_t index = 0;              // ifindex (plain) or key
  const DevmapEntry* target = nullptr;  // devmap; null is possible only with a broadcast
  const Devmap* broadcast = nullptr;    // set: to all of this map
  Kind kind = Kind::none;
  bool exclude_ingress = false;  // only with a broadcast
};

/// What one program did, for reports. Written by the slot's owner.
struct XdpFigures {
  enum Verdict : std::uint8_t { aborted, drop, pass, tx, redirect, invalid, verdicts_ };

  std::uint64_t runs = 0;
  std::uint64_t faults = 0;   // ended by the checked interpreter; counted as aborted too
  std::uint64_t time_ns = 0;  // whole batches; only where runs are timed
  std::array<std::uint64_t, verdicts_> verdicts{};

  void add(const XdpFigures& other);
};

/// Whether runs are timed. A run with the virtual clock must not see the machine's.
enum class RunTiming : std::uint8_t { off, on };

/// The redirect state of one runtime: per slot the bulk queues in use.
class Redirector {
 public:
  static constexpr std::size_t bulk_max_frames = 16;
  /// Targets with a queue in one section. A section that needs more flushes what it has (Differs:
  /// Linux has a queue per device, so there a section may touch any number of devices before it
  /// flushes).
  static constexpr std::size_t max_queues = 256;

  Redirector(CpuSlots& slots, RunTiming timing);
  ~Redirector();

  /// A clean redirect info for the section that begins on `slot`.
  RedirectInfo& begin_section(Slot& slot);

  /// The redirect step: queues `frame`, received on `ingress`, where `info` says. A reason: it was
  /// not queued and stays the caller's. Clones may have been queued even then (broadcast).
  std::optional<DropReason> redirect(Slot& slot, const rcu::ReadGuard& guard, Device& ingress,
                                     Buff* frame, RedirectInfo& info);

  /// Transmits all that is queued, the device touched last first. Must be called before the section
  /// ends.
  void flush(Slot& slot);

  /// What programs of devmap entries did, by program id. Consistent only while no slot is in use.
  struct EgressReport {
    std::uint32_t prog_id;
    std::string prog;
    XdpFigures figures;
  };
  std::vector<EgressReport> egress_report() const;

 private:
  struct BulkQueue;
  struct SlotState;

  std::optional<DropReason> enqueue(Slot& slot, Device& ingress, Device& target,
                                    const Program* program, Buff* frame);
  std::optional<DropReason> broadcast(Slot& slot, const rcu::ReadGuard& guard, Device& ingress,
                                      const Devmap& map, bool exclude_ingress, Buff* frame);
  void append(Slot& slot, Device& ingress, Device& target, const Program* program, Buff* frame);
  BulkQueue& queue_of(Slot& slot, Device& target);
  void transmit(Slot& slot, BulkQueue& queue, bool flush);
  std::size_t run_egress(Slot& slot, BulkQueue& queue);

  const RunTiming timing_;
  PerSlot<std::unique_ptr<SlotState>> slots_;
};

}  // namespace skep
