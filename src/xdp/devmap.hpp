// SPDX-License-Identifier: Apache-2.0
// DEVMAP and DEVMAP_HASH: maps from a u32 to a device that frames are redirected to, with a program
// to run on the way out if wanted. (Linux: kernel/bpf/devmap.c; behaviour: devmap-xdp.md 1.)
//
// Guarantees
// G1  Readers take no lock; an entry that one of them found stays whole, with its device and
// program, until its read
//     section ends.
// G2  An array slot changes in one step. In the hash a reader may briefly miss a key that is being
// replaced.
// G3  Once NetNamespace::remove_device() returned, no entry points to that device,
// whatever updates raced with it.
#pragma once

#include "map/map.hpp"
#include "net/device.hpp"
#include "object/budget.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "rcu/rcu.hpp"
#include "sync/locked.hpp"
#include "uapi/bpf.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace skep {

/// A target. Immutable once published, but for `next`.
struct DevmapEntry {
  uapi::bpf_devmap_val value{};  // what programs and commands read; `bpf_prog` is the program's id
  std::uint32_t key = 0;
  Ref<Device> device;
  Ref<Program> program;                     // expected attach type DEVMAP; may be null
  std::atomic<DevmapEntry*> next{nullptr};  // hash: the rest of the bucket
  Charge charge;
};

/// Both types: an array has one entry per slot, a hash chains of them.
class Devmap final : public ProgramMap, private DeviceListener {
 public:
  /// Errors: as MapType::check; DEVMAP_HASH also EINVAL for more than 2^31 entries.
  static Result<void> check(const MapSpec& spec, const Caller& caller);
  /// Errors: ENOMEM.
  static Result<Ref<Map>> make(const MapType& type, MapSpec spec,
                               const MapEnvironment& environment);

  bool is_hash() const { return spec().type == uapi::BPF_MAP_TYPE_DEVMAP_HASH; }

  /// The target under `key`, or null. Data path. Valid until the read section ends.
  const DevmapEntry* find(std::uint32_t key, const rcu::ReadGuard& proof) const;
  /// All targets: slots in order, or buckets in order and each from its newest entry. Stops when
  /// `visit` gives false. Data path. Bounded by max_entries (array) or the entries there are
  /// (hash).
  template <class Visit>
  void for_each_target(const rcu::ReadGuard& /*proof*/, Visit&& visit) const {
    for (std::uint64_t i = 0; i < heads_; ++i) {
      // acquire: pairs with publish(); the entry was complete before.
      for (const DevmapEntry* entry = head_[i].load(std::memory_order_acquire); entry != nullptr;
           entry = entry->next.load(std::memory_order_acquire)) {
        if (!visit(*entry)) return;
      }
    }
  }

  std::byte* lookup(Slot& slot, const std::byte* key) override;
  /// Errors: EACCES (programs may not write here).
  Result<void> update(Slot& slot, const std::byte* key, const std::byte* value,
                      std::uint64_t flags) override;
  Result<void> erase(Slot& slot, const std::byte* key) override;

  Result<void> command_lookup(MapCommand& command, const std::byte* key, std::byte* value,
                              std::uint64_t flags) override;
  /// Errors: EINVAL (flags, device, program), E2BIG (key or full), EEXIST, ENOMEM. Source:
  /// devmap-xdp.md 1.3.
  Result<void> command_update(MapCommand& command, const std::byte* key, const std::byte* value,
                              std::uint64_t flags) override;
  Result<void> command_erase(MapCommand& command, const std::byte* key) override;
  Result<void> next_key(MapCommand& command, const std::byte* key, std::byte* next) override;
  std::uint64_t memory_bytes() const override;

  /// A program that names an array remembers itself as its owner; one that names a hash does not.
  Result<void> on_program_load(const Program& program) override;

 private:
  struct FreeArray {
    void operator()(std::atomic<DevmapEntry*>* array) const { std::free(array); }
  };
  using Heads = std::unique_ptr<std::atomic<DevmapEntry*>[], FreeArray>;
  /// A namespace whose devices are, or were, in the map.
  struct Listening {
    Ref<NetNamespace> net_namespace;
    std::atomic<bool> registered{false};
  };
  /// What only writers touch.
  struct Writer {
    std::uint32_t count = 0;  // entries in the map
    std::vector<std::unique_ptr<Listening>> listening;
  };

  Devmap(const MapType& type, MapSpec spec, const MapEnvironment& environment, Heads head,
         std::uint64_t heads, Charge charge);
  ~Devmap() override;

  std::atomic<DevmapEntry*>& bucket(std::uint32_t key) const {
    return head_[is_hash() ? key & (heads_ - 1) : key];
  }
  Result<std::unique_ptr<DevmapEntry>> make_entry(MapCommand& command, std::uint32_t key,
                                                  const uapi::bpf_devmap_val& value);
  /// Puts `entry` in; EEXIST and E2BIG as the type says.
  Result<void> publish(std::unique_ptr<DevmapEntry> entry, std::uint64_t flags);
  /// Takes the entry that `link` points to out; readers may still be on it.
  void unlink(Writer& writer, std::atomic<DevmapEntry*>& link);
  /// The link that points to the entry of `key`, or to null at the bucket's end.
  std::atomic<DevmapEntry*>& link_of(std::uint32_t key);
  /// Returns once removals of devices of `net_namespace` are told to us. Blocks: briefly.
  void listen_in(NetNamespace& net_namespace);
  void on_device_gone(Device& device) override;

  Budget& budget_;
  const Heads head_;           // array: a slot each; hash: a bucket each
  const std::uint64_t heads_;  // hash: a power of two
  Charge charge_;
  mutable Locked<Writer, LockRank::map_writers> writer_;
};

/// Registers DEVMAP and DEVMAP_HASH.
void add_xdp_map_types(MapTypes& types);

}  // namespace skep
