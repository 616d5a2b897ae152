// SPDX-License-Identifier: Apache-2.0
// One run of a program: what helpers are given. Everything that a helper may touch hangs here;
// nothing is global.
#pragma once

#include "cpu/slot.hpp"
#include "map/map.hpp"
#include "prog/program.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace skep {

/// Lives on the stack of Program::run. Only the thread that owns `slot()` uses it.
class Run {
 public:
  Slot& slot() const { return slot_; }
  /// The hook's own context object; a helper of that hook knows its type.
  Context& context() const { return context_; }
  /// The program running now (after tail calls), and the one that was entered.
  const Program& program() const { return *program_; }
  const Program& entry() const { return *entry_; }
  ProgramEnvironment& environment() const { return entry_->environment(); }

  /// The same for a value of `map`, with the rights that its flags leave to programs. What a helper
  /// returns as Return::map_value_or_null needs no call.
  virtual void grant_value(const Map& map, std::byte* value) = 0;
  /// Shows [begin, begin + bytes) read-only to callbacks, until take_back(). Nests.
  virtual void lend(const std::byte* begin, std::uint64_t bytes) = 0;
  virtual void take_back() = 0;
  /// Takes or gives back the bpf_spin_lock at an address that Arg::spin_lock checked. At most one
  /// is held; ends the run otherwise.
  virtual void lock(std::uint64_t address) = 0;
  virtual void unlock(std::uint64_t address) = 0;
  /// Calls the static subprogram that a PSEUDO_FUNC load named. False if that run was ended (the
  /// helper returns at once; its result does not matter). Used by bpf_loop and for_each.
  virtual bool call_back(std::uint64_t callback, std::uint64_t r1, std::uint64_t r2,
                         std::uint64_t r3, std::uint64_t r4, std::uint64_t& result) = 0;
  /// Asks for a tail call to `target` once the helper returns. The target is kept by the read
  /// section. False if the limit of 33 is reached.
  virtual bool tail_call(const Program& target) = 0;
  /// Checked access for helpers whose arguments do not fit Arg (format strings): null if not
  /// readable.
  virtual const std::byte* readable(std::uint64_t address, std::uint64_t bytes) = 0;

 protected:
  Run(Slot& slot, Context& context, const Program& program)
      : slot_(slot), context_(context), program_(&program), entry_(&program) {}
  ~Run() = default;
  Slot& slot_;
  Context& context_;
  const Program* program_;
  const Program* const entry_;
};

/// The helpers that every program type has (map operations, clocks, random, printk, tail call,
/// loops), or null.
const Helper* base_helper(std::uint32_t id);

}  // namespace skep
