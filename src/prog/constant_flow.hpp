// SPDX-License-Identifier: Apache-2.0
// Which instructions can run at all, given the constants in them and in frozen read-only maps.
// Loaders leave code behind that only unreachable branches hold (unresolved CO-RE relocations,
// helpers that a kernel lacks); it must not be judged.
//
// Sparse conditional constant propagation (Wegman and Zadeck, 1991) over registers, states kept at
// jump targets only.
#pragma once

#include "map/map.hpp"
#include "prog/instruction.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace skep {

/// What is known about a register.
struct Known {
  enum class Kind : std::uint8_t {
    nothing_yet,  // no path came here so far
    constant,     // `number`
    value,        // address of a direct map value, plus `number` bytes
    frame,        // r10 + `number`
    unknown,
  };
  Kind kind = Kind::unknown;
  std::uint32_t map = 0;  // Kind::value: index of the map
  std::uint64_t number = 0;

  friend bool operator==(const Known&, const Known&) = default;
};

/// A 16-byte load that gives the address of a value.
struct ValueLoad {
  std::uint32_t map;     // index
  std::uint32_t offset;  // into the value
};

class ConstantFlow {
 public:
  using State = std::array<Known, uapi::MAX_BPF_REG>;
  /// Called when an instruction is first found to be reachable, before its effect. An error ends
  /// the walk.
  using Visit = FunctionRef<Result<void>(std::uint32_t pc, const State& before)>;

  /// `value_load(pc)` says what the 16-byte load at `pc` names, nullopt if that is no map value.
  /// All arguments are borrowed and must outlive the object.
  using ValueLoadOf = FunctionRef<std::optional<ValueLoad>(std::uint32_t pc)>;

  ConstantFlow(std::span<const uapi::bpf_insn> raw, std::span<const Instruction> decoded,
               std::span<const Ref<Map>> maps, ValueLoadOf value_load);

  /// Walks from instruction 0, into called subprograms and callbacks. What it must remember is
  /// charged to `budget` meanwhile. Errors: ENOMEM, and those of `visit`.
  Result<void> run(Budget& budget, Visit visit);

  bool reached(std::uint32_t pc) const { return reached_[pc]; }
  /// Reachable instructions; a 16-byte load counts once.
  std::uint32_t reached_count() const { return reached_count_; }

 private:
  static constexpr std::uint32_t no_state = ~0U;

  Result<void> walk(std::uint32_t pc, Visit visit);
  void propagate(std::uint32_t target, const State& state);
  void transfer(std::uint32_t pc, State& state) const;
  std::optional<std::uint64_t> read_frozen(Known base, std::int32_t off, unsigned bytes) const;

  std::span<const uapi::bpf_insn> raw_;
  std::span<const Instruction> decoded_;
  std::span<const Ref<Map>> maps_;
  ValueLoadOf value_load_;
  std::vector<bool> reached_;
  std::uint32_t reached_count_ = 0;
  std::uint32_t target_count_ = 0;
  std::vector<std::uint32_t> state_of_;  // by pc: index into states_, for jump targets
  std::vector<State> states_;
  std::vector<std::uint32_t> pending_;  // jump targets whose state changed
};

}  // namespace skep
