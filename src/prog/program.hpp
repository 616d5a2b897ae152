// SPDX-License-Identifier: Apache-2.0
// A loaded program: checked and resolved instructions, what it holds on to, and how it is run.
#pragma once

#include "btf/btf.hpp"
#include "cpu/slot.hpp"
#include "map/map.hpp"
#include "object/budget.hpp"
#include "object/object.hpp"
#include "prog/program_type.hpp"
#include "result/log.hpp"
#include "result/result.hpp"
#include "sync/locked.hpp"
#include "uapi/bpf.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// Where bpf_trace_printk writes. Thread: any.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  /// One message, without the newline, as program `prog` printed it on `cpu` at `time_ns`
  /// (monotonic).
  virtual void write(std::string_view prog, std::uint32_t cpu, std::uint64_t time_ns,
                     std::string_view text) = 0;
};

/// What a runtime gives to its programs.
struct ProgramEnvironment {
  CpuSlots& slots;
  Budget& budget;
  const ProgramTypes& types;
  TraceSink& trace;
  /// Instructions that one run may execute before it is ended, tail calls and callbacks included.
  std::uint64_t instruction_budget = 1'000'000;
  /// Open BPF_ENABLE_STATS descriptors; run_cnt and run_time_ns count while it is above 0.
  std::atomic<std::uint32_t> stats_users{0};
};

/// Why a checked run was ended. Named after what the program did.
enum class FaultKind : std::uint8_t {
  invalid_read,   // no region the program may touch
  invalid_write,  // the same, or a read-only region
  context_read,   // no such context field, or not with this size
  context_write,
  instruction_budget,  // ran too long
  call_depth,          // more than 8 frames
  helper_argument,     // an argument is not what the helper takes
  fell_off,            // execution left the program
  callback_return,     // a callback returned neither 0 nor 1
  lock,                // a bpf_spin_lock used against its rules
  out_of_memory,       // too many map values in one run for the runtime's byte budget
};

/// What is known about the end of a run that failed.
struct Fault {
  FaultKind kind;
  std::uint32_t pc = 0;       // instruction index in the program as loaded
  std::uint8_t reg = 0;       // the register that held the address or the argument
  std::uint8_t bytes = 0;     // of the access; 0 if none
  std::uint64_t address = 0;  // its value
  std::uint32_t prog_id = 0;  // the program it happened in (after tail calls)
  /// Which region the address lies nearest to: "packet+70 (data_end at 64)", "stack-520", "null", …
  std::string where;

  /// One sentence: `pc 12: read of 4 bytes through r1: packet+70 is outside of the packet (64
  /// bytes)`.
  std::string describe() const;
};

/// A name for tables: "invalid_read".
std::string_view name_of(FaultKind kind);

/// The result of one run.
struct Outcome {
  std::uint64_t value = 0;  // r0; 0 if the run failed
  bool faulted = false;
};

/// Where a subprogram stands in the instructions.
struct Subprogram {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::string name;     // from BTF; empty without
  bool global = false;  // BTF linkage
  std::array<std::uint8_t, uapi::BPF_TAG_SIZE> tag{};
};

/// The rule by which programs share a map that holds or is referenced by programs
/// (devmap-xdp.md 1.6, maps.md 4.4).
struct ProgramShape {
  std::uint32_t type = 0;
  bool jited = false;
  bool has_frags = false;
  std::uint32_t expected_attach_type = 0;
  friend bool operator==(const ProgramShape&, const ProgramShape&) = default;
};

/// What PROG_LOAD asked for, copied from the caller.
struct ProgramSpec {
  ProgramType* type = nullptr;
  std::uint32_t expected_attach_type = 0;
  std::uint32_t flags = 0;
  std::string name;
  std::string license;
  std::vector<uapi::bpf_insn> instructions;
  Ref<Btf> btf;
  std::vector<uapi::bpf_func_info> func_info;
  std::vector<uapi::bpf_line_info> line_info;
  std::uint32_t uid = 0;
};

/// Resolves the pseudo loads of a program being loaded: descriptors and fd_array indexes of its
/// caller.
class MapResolver {
 public:
  virtual ~MapResolver() = default;
  /// Errors: EBADF, EINVAL (not a map).
  virtual Result<Ref<Map>> map_by_fd(int fd) = 0;
  /// Errors: EPROTO (no fd_array), EFAULT, EBADF, EINVAL.
  virtual Result<Ref<Map>> map_by_index(std::uint32_t index) = 0;
};

class Program final : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::prog;

  /// Checks and resolves `spec` (program-load.md 2.6 stages 4-8 and the reserved-field rules of
  /// section 5; without the verifier's proof: the checked interpreter proves each access when it
  /// happens). Words go to `log`. Errors: EINVAL, E2BIG, EACCES, EBADF, EPROTO, EFAULT, ENOMEM,
  /// ENOTSUPP.
  static Result<Ref<Program>> load(ProgramSpec spec, MapResolver& resolver,
                                   ProgramEnvironment& environment, Log& log);

  const ProgramSpec& spec() const { return spec_; }
  ProgramType& type() const { return *spec_.type; }
  ProgramEnvironment& environment() const { return environment_; }
  bool gpl_compatible() const { return gpl_compatible_; }
  bool has_frags() const { return (spec_.flags & uapi::BPF_F_XDP_HAS_FRAGS) != 0; }
  ProgramShape shape() const;
  const std::array<std::uint8_t, uapi::BPF_TAG_SIZE>& tag() const { return tag_; }
  std::uint64_t load_time_ns() const { return load_time_ns_; }
  std::uint32_t verified_insns() const { return verified_insns_; }
  std::span<const Subprogram> subprograms() const { return subprograms_; }
  /// The name people know: the BTF function's if it begins with the 15-character name, else that
  /// name.
  std::string_view full_name() const;

  /// The instructions as object info shows them: map loads with src 1/2 and the map's id.
  std::vector<uapi::bpf_insn> xlated() const;
  /// In order of first use, then bound ones.
  std::vector<Ref<Map>> maps() const;
  /// PROG_BIND_MAP. Adding a map twice is a success without effect.
  void bind_map(Ref<Map> map);
  /// True if `map` may be named by this program's helpers. Data path: no lock.
  bool uses(const Map* map) const;

  /// Runs the program on `context`. Precondition: inside a read section, `slot` owned by this
  /// thread. A failing run is ended, counted and described to the runtime's fault list; it yields
  /// value 0 (ABORTED for XDP).
  Outcome run(Slot& slot, Context& context) const;

  /// The most recent fault of this program (as entry), if any.
  std::optional<Fault> last_fault() const;
  struct Statistics {
    std::uint64_t runs = 0, run_time_ns = 0;  // only while statistics are enabled
    std::uint64_t faults = 0;                 // always
  };
  Statistics statistics() const;

 private:
  friend class ProgramLoader;  // load.cpp
  friend class Interpreter;    // interpreter.cpp
  struct Code;                 // decoded instructions (interpreter.hpp)
  Program(ProgramSpec spec, ProgramEnvironment& environment);
  ~Program() override;

  const ProgramSpec spec_;
  ProgramEnvironment& environment_;
  bool gpl_compatible_ = false;
  std::array<std::uint8_t, uapi::BPF_TAG_SIZE> tag_{};
  std::uint64_t load_time_ns_ = 0;
  std::uint32_t verified_insns_ = 0;
  std::vector<Subprogram> subprograms_;
  std::vector<Ref<Map>> used_maps_;  // immutable after load
  std::unique_ptr<const Code> code_;
  Charge charge_;
  mutable Locked<std::vector<Ref<Map>>, LockRank::map_owner> bound_maps_;
  struct Counters {
    std::atomic<std::uint64_t> runs{0}, run_time_ns{0},
        faults{0};  // written by the slot's owner only
  };
  mutable PerSlot<Counters> counters_;
  mutable Locked<std::optional<Fault>, LockRank::trace> last_fault_;
};

/// A map that holds programs or is tied to those that use it. It remembers the shape of the first
/// program it meets; later ones must match. The base of PROG_ARRAY, DEVMAP and CPUMAP.
class ProgramMap : public Map {
 public:
  /// A program that names this map is being loaded. Errors: EINVAL (another shape).
  virtual Result<void> on_program_load(const Program& program) { return claim(program.shape()); }
  std::optional<ProgramShape> owner() const {
    return owner_.with([](const auto& owner) { return owner; });
  }

 protected:
  using Map::Map;
  /// The shape as this map compares it (DEVMAP leaves the attach type out). Errors: EINVAL.
  Result<void> claim(ProgramShape shape) {
    return owner_.with([&](std::optional<ProgramShape>& owner) -> Result<void> {
      if (!owner) owner = shape;
      if (*owner != shape) return Errno{EINVAL};
      return ok();
    });
  }

 private:
  mutable Locked<std::optional<ProgramShape>, LockRank::map_owner> owner_;
};

/// Registers PROG_ARRAY.
void add_program_map_types(MapTypes& types);

}  // namespace skep
