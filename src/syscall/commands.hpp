// SPDX-License-Identifier: Apache-2.0
// bpf(2): one entry for all commands of one runtime, the ids and pins they work on, and the
// descriptors they hand out.
//
// Commands that Linux knows and skep does not (attaching, links, queries, iterators, tokens) answer
// as a kernel without them does: EINVAL. Links can still be listed: there are none.
#pragma once

#include "map/map.hpp"
#include "object/budget.hpp"
#include "object/caller.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "prog/program_type.hpp"
#include "result/result.hpp"
#include "sync/locked.hpp"
#include "syscall/descriptors.hpp"
#include "syscall/pins.hpp"

#include <cstdint>

namespace skep {

/// Thread: any. Outlives every object that its commands made, wherever references to them are kept:
/// it holds their ids.
class Syscalls {
 public:
  /// All of these outlive the object.
  Syscalls(const MapTypes& map_types, const ProgramTypes& program_types, CpuSlots& slots,
           const MapEnvironment& map_environment, ProgramEnvironment& program_environment,
           Budget& budget)
      : map_types_(map_types),
        program_types_(program_types),
        slots_(slots),
        map_environment_(map_environment),
        program_environment_(program_environment),
        budget_(budget) {}

  /// One bpf(2) call in the name of `caller`: `attr_address` is in its memory, descriptors are its
  /// own. Errors: those of the command; before it, in this order: E2BIG (`bytes` above 4096),
  /// EFAULT, E2BIG (bytes that no command has are not zero), EINVAL (unknown command), EINVAL
  /// (bytes after the command's last field are not zero). Blocks: on locks of the objects
  /// concerned; PROG_TEST_RUN also for a CPU slot.
  Result<std::uint64_t> bpf(Caller& caller, std::uint32_t number, std::uint64_t attr_address,
                            std::uint32_t bytes);

  /// Notices descriptors that were closed: objects without users empty themselves, objects without
  /// references go. Commands that could tell the difference do this first; the data path learns of
  /// it when the runtime calls this.
  void reap() { descriptors_.reap(); }

  /// Removes all pins and forgets all descriptors, so that nothing outside keeps an object. Before
  /// the end of a runtime, while everything that objects need to die still stands.
  void release_objects() {
    pins_.clear();
    descriptors_.clear();
  }

  Pins& pins() { return pins_; }
  DescriptorTable& descriptors() { return descriptors_; }
  IdTable& map_ids() { return map_ids_; }
  IdTable& prog_ids() { return prog_ids_; }
  IdTable& btf_ids() { return btf_ids_; }

  // For the handlers.
  const MapTypes& map_types() const { return map_types_; }
  const ProgramTypes& program_types() const { return program_types_; }
  CpuSlots& slots() { return slots_; }
  ProgramEnvironment& program_environment() { return program_environment_; }
  Budget& budget() { return budget_; }
  /// Makes a map with the runtime's environment; one at a time. Errors: the type's.
  Result<Ref<Map>> make_map(const MapType& type, MapSpec spec);

 private:
  struct Creation {};

  const MapTypes& map_types_;
  const ProgramTypes& program_types_;
  CpuSlots& slots_;
  const MapEnvironment& map_environment_;
  ProgramEnvironment& program_environment_;
  Budget& budget_;
  // The ids come first: what the pins and descriptors let go of withdraws its id.
  IdTable map_ids_, prog_ids_, btf_ids_;
  Pins pins_;
  DescriptorTable descriptors_;
  Locked<Creation, LockRank::map_creation> creation_;
};

/// The result as bpf(2) returns it: a value, or the errno turned negative. The only place where
/// that happens.
constexpr long skep_result(const Result<std::uint64_t>& result) {
  return result ? static_cast<long>(*result) : -static_cast<long>(result.error().code);
}

}  // namespace skep
