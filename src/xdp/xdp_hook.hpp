// SPDX-License-Identifier: Apache-2.0
// The native XDP hook of one device: runs the attached program on every frame and does what its
// verdict says. (Behaviour: devmap-xdp.md 3.3.)
#pragma once

#include "cpu/slot.hpp"
#include "net/device.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "rcu/rcu.hpp"
#include "xdp/redirect.hpp"

#include <memory>
#include <span>

namespace skep {

/// Outlives its registration at the device. Only its owner (Xdp) replaces the program, under a lock
/// of its own.
class XdpHook final : public ReceiveHook {
 public:
  XdpHook(CpuSlots& slots, Redirector& redirector, RunTiming timing, Ref<Program> program);

  /// One poll: one section. Frames of the host side are passed on in batches, and before anything
  /// is transmitted.
  void receive(Slot& slot, Device& device, std::span<Buff* const> frames) override;

  /// The program and what it did here.
  struct Attached {
    Attached(Ref<Program> what, const CpuSlots& slots) : program(std::move(what)), figures(slots) {}
    const Ref<Program> program;
    PerSlot<XdpFigures> figures;
  };
  /// What is attached now. `writer` is what the owner's lock protects.
  template <class Writer>
  const Attached& attached(Writer& writer) const {
    return *attached_.peek(writer);
  }
  /// Publishes another program; the one before may run until a grace period has passed. Its figures
  /// are dropped.
  template <class Writer>
  void replace(Ref<Program> program, Writer& writer) {
    rcu::retire(attached_.exchange(std::make_unique<Attached>(std::move(program), slots_), writer));
  }

 private:
  struct Poll;

  CpuSlots& slots_;
  Redirector& redirector_;
  const RunTiming timing_;
  rcu::Ptr<Attached> attached_;  // never null
};

}  // namespace skep
