// SPDX-License-Identifier: Apache-2.0
// A key/value table with two faces. The program face works on raw value pointers on a CPU slot,
// inside a read section; it is what helpers call and what the JIT will inline. The command face
// works on copies for all CPUs and translates descriptors, ids and ifindexes in the caller's name;
// it never sets LRU reference bits.
#pragma once

#include "btf/btf.hpp"
#include "btf/record.hpp"
#include "cpu/slot.hpp"
#include "object/budget.hpp"
#include "object/caller.hpp"
#include "object/object.hpp"
#include "result/result.hpp"
#include "uapi/bpf.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace skep {

class Map;
struct MapType;

/// `n` rounded up to a multiple of 8: strides of values, alignment of everything handed to
/// programs.
constexpr std::uint64_t round_up_8(std::uint64_t n) { return (n + 7) & ~std::uint64_t{7}; }

/// What MAP_CREATE asked for, after the checks that all types share. Immutable once the map exists.
struct MapSpec {
  std::uint32_t type = 0;         // bpf_map_type
  std::uint32_t key_bytes = 0;    // as given
  std::uint32_t value_bytes = 0;  // as given: neither rounded nor multiplied by CPUs
  std::uint32_t max_entries = 0;
  std::uint32_t flags = 0;  // as reported: without RDONLY, WRONLY, TOKEN_FD
  std::uint64_t map_extra = 0;
  std::optional<std::uint32_t> numa_node;  // set if NUMA_NODE was given with a real node
  std::string name;
  // Type information; all three unset without BTF.
  Ref<Btf> btf;
  std::uint32_t btf_key_type_id = 0;
  std::uint32_t btf_value_type_id = 0;
  Record record;  // special fields of the value; empty without BTF
};

/// What a runtime gives to its maps.
struct MapEnvironment {
  CpuSlots& slots;
  Budget& budget;
  Random& random;  // seeds of hash tables; guarded by the command path: creation is serialised by
                   // the caller
};

/// What a command brings along: a control slot and the caller in whose name it translates.
struct MapCommand {
  Slot& slot;
  Caller& caller;
};

/// Borrowed callable; lives as long as the call it is passed to.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& callable)
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

/// One batch lookup on a map whose cursor is a bucket number (the hash family).
struct BucketBatch {
  std::uint32_t cursor;      // in: bucket to start from; out: bucket to continue from
  std::uint32_t max_items;   // room in the caller's arrays
  bool erase;                // lookup-and-delete
  std::uint64_t elem_flags;  // 0 or F_LOCK, already checked
  // Called once per bucket with `count` keys and values, side by side; the elements are already
  // gone if `erase`. Errors: EFAULT (from the caller's memory); the batch stops.
  FunctionRef<Result<void>(std::span<const std::byte> keys, std::span<const std::byte> values,
                           std::uint32_t count)>
      deliver;
};

/// A map. Thread: any, as the face says.
class Map : public Object {
 public:
  static constexpr ObjectKind object_kind = ObjectKind::map;

  const MapSpec& spec() const { return spec_; }
  const MapType& type() const { return type_; }
  /// Number of possible CPUs: copies of a per-CPU value.
  std::uint32_t cpus() const { return cpus_; }

  // ---- program face. Precondition: inside a read section, on a slot that the caller owns. Never
  // blocks for long. ----

  /// The value for `key`, or nullptr. For per-CPU types that of the slot's CPU. Valid until the
  /// read section ends; its memory then stays an element of this map. May be raced on: touch it
  /// with racy_* only.
  virtual std::byte* lookup(Slot& slot, const std::byte* key) = 0;
  /// Errors: as spec maps.md 2.4 and 4.2, in that order (EINVAL, E2BIG, EEXIST, ENOENT, ENOMEM).
  virtual Result<void> update(Slot& slot, const std::byte* key, const std::byte* value,
                              std::uint64_t flags) = 0;
  /// Errors: ENOENT, or what the type says.
  virtual Result<void> erase(Slot& slot, const std::byte* key) = 0;
  /// The value of CPU `cpu`, or nullptr (missing, cpu not possible, not a per-CPU type).
  virtual std::byte* lookup_percpu(Slot& slot, const std::byte* key, std::uint32_t cpu);
  /// Calls `visit(key, value)` per element until it returns false; gives the number of calls.
  /// Errors: ENOTSUPP (type cannot be walked).
  virtual Result<std::uint64_t> for_each(
      Slot& slot, FunctionRef<bool(const std::byte* key, std::byte* value)> visit);
  /// Base address of the single element of an array, for direct value loads. Errors: as maps.md 4.3
  /// (EINVAL type without support or offset outside, ENOTSUPP more than one element).
  virtual Result<std::byte*> direct_value(std::uint32_t offset);

  // ---- command face. Precondition: the generic checks of maps.md 1.5 passed. Keys are key_bytes
  // long, values command_value_bytes(). Enters read sections itself. ----

  /// Bytes of a value as commands transfer it (maps.md 1.5.1).
  virtual std::size_t command_value_bytes() const { return spec_.value_bytes; }
  /// Errors: ENOENT and the type's own. `flags` is 0 or F_LOCK (already known to have a lock).
  virtual Result<void> command_lookup(MapCommand& command, const std::byte* key, std::byte* value,
                                      std::uint64_t flags) = 0;
  virtual Result<void> command_update(MapCommand& command, const std::byte* key,
                                      const std::byte* value, std::uint64_t flags) = 0;
  virtual Result<void> command_erase(MapCommand& command, const std::byte* key) = 0;
  /// Errors: ENOTSUPP (type), ENOENT.
  virtual Result<void> command_lookup_and_erase(MapCommand& command, const std::byte* key,
                                                std::byte* value, std::uint64_t flags);
  /// The key after `key`, or the first if `key` is null or unknown to the map. Errors: ENOENT
  /// (end).
  virtual Result<void> next_key(MapCommand& command, const std::byte* key, std::byte* next) = 0;
  /// Errors: ENOSPC (first bucket larger than max_items), ENOENT (end reached; items may have been
  /// delivered), EFAULT. Returns the number of items delivered through `delivered` in every case.
  /// Only types with batch.buckets.
  virtual Result<void> batch_buckets(MapCommand& command, BucketBatch& batch,
                                     std::uint32_t& delivered);

  /// Shared memory of a mmapable array: a memfd that the map owns. Errors: ENOTSUPP (no such
  /// memory).
  virtual Result<int> memory_fd() const;
  /// The figure that fdinfo shows as `memlock` (maps.md 2.11, 4.5).
  virtual std::uint64_t memory_bytes() const = 0;

  // ---- freezing (maps.md 1.7): commands may no longer write, programs still may. ----

  /// Announces a write by a command. Errors: EPERM (frozen). Balance with end_write().
  Result<void> begin_write();
  void end_write();
  /// Errors: EPERM (already frozen), EBUSY (a write is in progress).
  Result<void> freeze();
  bool frozen() const;

 protected:
  Map(const MapType& type, MapSpec spec, const MapEnvironment& environment)
      : Object(object_kind), type_(type), spec_(std::move(spec)), cpus_(environment.slots.cpus()) {}

  /// The map was frozen just now. Called once.
  virtual void on_freeze() {}

 private:
  const MapType& type_;
  const MapSpec spec_;
  const std::uint32_t cpus_;
  // Bit 31: frozen. Low bits: command writes in progress.
  std::atomic<std::uint32_t> write_state_{0};
};

/// Ends an announced write.
class [[nodiscard]] WriteGuard {
 public:
  explicit WriteGuard(Map& map) : map_(&map) {}
  WriteGuard(WriteGuard&& other) noexcept : map_(std::exchange(other.map_, nullptr)) {}
  WriteGuard& operator=(WriteGuard&&) = delete;
  ~WriteGuard() {
    if (map_ != nullptr) map_->end_write();
  }

 private:
  Map* map_;
};

/// A map type as data: what commands need to know before a map exists. The rooms that own a type
/// register it.
struct MapType {
  std::uint32_t number;  // bpf_map_type
  const char* name;      // lower case, as the kernel's tools print it: "hash", "percpu_array"
  std::optional<Capability>
      capability;                 // needed besides "unprivileged allowed"; maps.md 1.2 row 13
  bool check_before_permissions;  // row 9 (true) or only with the allocation (false)
  struct {
    bool lookup = false, lookup_and_delete = false, update = false, erase = false;
    bool buckets = false;  // lookups walk buckets (hash family), else keys
  } batch;
  bool holds_programs = false;  // derives from ProgramMap (prog/): has an owner
  bool direct_value = false;    // programs may load value addresses
  bool lookup_and_delete = false;
  bool spin_lock = false;      // values may hold a bpf_spin_lock
  bool btf = true;             // false: any BTF id is ENOTSUPP
  bool needs_btf_key = false;  // with BTF, a void key is refused before the value is looked at

  /// Errors: what maps.md 2.1, 4.1, devmap-xdp.md 1.2 say, in that order.
  Result<void> (*check)(const MapSpec& spec, const Caller& caller);
  /// The type's own rules for key and value types (maps.md 1.4 step 7); `spec.btf` is set. Errors:
  /// EINVAL.
  Result<void> (*check_btf)(const MapSpec& spec);
  /// Errors: E2BIG, ENOMEM.
  Result<Ref<Map>> (*make)(const MapType& type, MapSpec spec, const MapEnvironment& environment);
};

/// The map types of a runtime. Filled while the runtime is built, then read-only.
class MapTypes {
 public:
  void add(const MapType& type) { types_.push_back(&type); }
  const MapType* find(std::uint32_t number) const {
    for (const MapType* type : types_)
      if (type->number == number) return type;
    return nullptr;
  }

 private:
  std::vector<const MapType*> types_;
};

/// Registers ARRAY, PERCPU_ARRAY and HASH.
void add_memory_map_types(MapTypes& types);

}  // namespace skep
