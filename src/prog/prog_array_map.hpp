// SPDX-License-Identifier: Apache-2.0
// PROG_ARRAY: the programs that bpf_tail_call may jump to (maps.md 4.4).
//
// Guarantees
// G1  program() takes no lock. What it gives lives until the read section ends.
// G2  Once an update or erase has returned, no later tail call finds the old program.
#pragma once

#include "prog/program.hpp"

#include <atomic>
#include <memory>

namespace skep {

class ProgArrayMap final : public ProgramMap {
 public:
  /// Errors: ENOMEM (budget).
  static Result<Ref<Map>> make(const MapType& type, MapSpec spec,
                               const MapEnvironment& environment);
  ~ProgArrayMap() override;

  /// The program in slot `index`, or null (out of range, empty). Precondition: inside a read
  /// section.
  const Program* program(std::uint32_t index) const {
    if (index >= spec().max_entries) return nullptr;
    // acquire: pairs with the release in put(); the program was complete before.
    return programs_[index].load(std::memory_order_acquire);
  }

  // Programs cannot reach the slots but by tail calls.
  std::byte* lookup(Slot& slot, const std::byte* key) override;
  Result<void> update(Slot& slot, const std::byte* key, const std::byte* value,
                      std::uint64_t flags) override;
  Result<void> erase(Slot& slot, const std::byte* key) override;

  /// `value` receives the program's id. Errors: ENOENT (empty, out of range).
  Result<void> command_lookup(MapCommand& command, const std::byte* key, std::byte* value,
                              std::uint64_t flags) override;
  /// `value` is a descriptor of the caller. Errors: EINVAL (flags, not a program, another shape
  /// than the map's owner), E2BIG (out of range), EBADF.
  Result<void> command_update(MapCommand& command, const std::byte* key, const std::byte* value,
                              std::uint64_t flags) override;
  /// Errors: E2BIG (out of range), ENOENT (empty).
  Result<void> command_erase(MapCommand& command, const std::byte* key) override;
  /// Empty slots are keys too. Errors: ENOENT (end).
  Result<void> next_key(MapCommand& command, const std::byte* key, std::byte* next) override;
  std::uint64_t memory_bytes() const override;

 protected:
  /// Nobody can change the map any more: a program that names the map it is in must not keep itself
  /// alive.
  void on_last_user() override;

 private:
  ProgArrayMap(const MapType& type, MapSpec spec, const MapEnvironment& environment, Charge charge,
               std::unique_ptr<std::atomic<const Program*>[]> programs);

  /// Replaces what slot `index` holds. False: it was empty.
  bool put(std::uint32_t index, Ref<const Program> program);

  Charge charge_;
  // One reference per slot that is not empty. Replaced by exchange, so writers need no lock between
  // them.
  const std::unique_ptr<std::atomic<const Program*>[]> programs_;
};

}  // namespace skep
