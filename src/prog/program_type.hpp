// SPDX-License-Identifier: Apache-2.0
// What a hook contributes to programs: context, helpers, load rules, test run. prog/ declares the
// interface; xdp/, tc/ and others implement it and runtime/ registers them.
#pragma once

#include "map/map.hpp"
#include "object/caller.hpp"
#include "result/result.hpp"
#include "uapi/bpf.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace skep {

class Program;
class Run;

/// The context of one run as a program sees it: fields at fixed offsets, translated at run time,
/// and the packet bytes that direct access may touch. Implemented by each hook.
class Context {
 public:
  /// Value of the field at `offset` read with `bytes` bytes; nullopt if the program may not read
  /// that.
  virtual std::optional<std::uint64_t> load(std::uint32_t offset, std::uint32_t bytes) const = 0;
  /// False if the program may not write that.
  virtual bool store(std::uint32_t offset, std::uint32_t bytes, std::uint64_t value) = 0;

  /// The bytes [begin, end) that loads and stores may touch: from metadata to the end of the linear
  /// part. Empty if none.
  struct Window {
    std::byte* begin = nullptr;
    std::byte* end = nullptr;
  };
  virtual Window packet() const = 0;

 protected:
  ~Context() = default;
};

/// What an argument of a helper must be. The checked interpreter tests it at the call, the verifier
/// before.
enum class Arg : std::uint8_t {
  none,
  anything,          // any number
  context,           // the context pointer itself
  map,               // a map of the program, of a type in Helper::maps
  map_key,           // key_bytes readable bytes of the map given before
  map_value,         // value_bytes readable bytes of the map given before
  memory,            // readable bytes; the next argument is their number
  memory_or_null,    // the same, or null with size 0
  memory_out,        // writable bytes; the next argument is their number
  memory_inout_4,    // a readable and writable u32
  memory_out_8,      // a writable u64
  size,              // number of bytes of the argument before: > 0
  size_or_zero,      // the same, 0 allowed
  spin_lock,         // address of a bpf_spin_lock inside a value
  callback,          // a static subprogram
  callback_context,  // handed to the callback unseen: any number
};

/// What a helper gives back.
enum class Return : std::uint8_t {
  number,
  nothing,            // r0 is unreadable afterwards
  map_value_or_null,  // address of value_bytes bytes of the map given as first argument
};

/// A set of map types, for Helper::maps.
using MapTypeSet = std::uint64_t;
constexpr MapTypeSet map_type_bit(std::uint32_t type) { return MapTypeSet{1} << type; }
template <class... Types>
constexpr MapTypeSet map_types(Types... types) {
  return (MapTypeSet{0} | ... | map_type_bit(types));
}

/// A helper as data. `function` runs on the slot of `run`, inside its read section; arguments were
/// checked.
struct Helper {
  std::uint32_t id;
  const char* name;  // "map_lookup_elem", without bpf_
  Return returns;
  std::array<Arg, 5> arguments;
  std::uint64_t (*function)(Run& run, std::uint64_t r1, std::uint64_t r2, std::uint64_t r3,
                            std::uint64_t r4, std::uint64_t r5);
  MapTypeSet maps = 0;  // types that Arg::map accepts
  bool gpl_only = false;
  bool changes_packet = false;  // packet pointers read before the call are dead afterwards
};

/// A program type. One instance per runtime; outlives all programs.
class ProgramType {
 public:
  ProgramType(std::uint32_t number, std::string_view name) : number_(number), name_(name) {}
  virtual ~ProgramType() = default;

  std::uint32_t number() const { return number_; }
  /// As the kernel's tools print it: "xdp", "sched_cls".
  std::string_view name() const { return name_; }

  /// Besides CAP_BPF. program-load.md 2.1 row 7.
  virtual bool needs_net_admin() const { return true; }
  virtual bool needs_perfmon() const { return false; }
  /// Bytes of the context struct that loads may address.
  virtual std::uint32_t context_bytes() const = 0;
  /// The helper `id` for this type, or null.
  virtual const Helper* helper(std::uint32_t id) const = 0;
  /// May `attach_type` be loaded? program-load.md 2.3. Errors: EINVAL.
  virtual Result<void> check_attach_type(std::uint32_t /*attach_type*/) const { return ok(); }
  /// LD_ABS and LD_IND.
  virtual bool allows_packet_loads() const { return false; }

  /// BPF_PROG_TEST_RUN. `attr` is in and out; `write_back` says whether the out fields go to the
  /// caller (also on ENOSPC). Errors: ENOTSUPP (no runner), and what program-load.md 9 and
  /// devmap-xdp.md 4 say.
  virtual Result<void> test_run(Caller& caller, Program& program, uapi::prog_test_run_attr& attr,
                                bool& write_back) {
    (void)caller, (void)program, (void)attr, (void)write_back;
    return Errno{ENOTSUPP};
  }

 private:
  const std::uint32_t number_;
  const std::string_view name_;
};

/// The program types of a runtime. Filled while the runtime is built, then read-only.
class ProgramTypes {
 public:
  void add(ProgramType& type) { types_.push_back(&type); }
  ProgramType* find(std::uint32_t number) const {
    for (ProgramType* type : types_)
      if (type->number() == number) return type;
    return nullptr;
  }
  /// Every helper of any type by id: tells "unknown" from "not for this type". Null if no type has
  /// it.
  const Helper* find_helper(std::uint32_t id) const {
    for (const ProgramType* type : types_)
      if (const Helper* helper = type->helper(id)) return helper;
    return nullptr;
  }

 private:
  std::vector<ProgramType*> types_;
};

}  // namespace skep
