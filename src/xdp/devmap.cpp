// SPDX-License-Identifier: Apache-2.0
#include "xdp/devmap.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

namespace skep {
namespace {

// What fdinfo shows on Linux 6.18 (x86-64): a map object, a pointer per slot or bucket, an entry
// each (observed).
constexpr std::uint64_t linux_map_bytes = 344;
constexpr std::uint64_t linux_entry_bytes = 64;

std::uint32_t load_key(const std::byte* key) {
  std::uint32_t value;
  std::memcpy(&value, key, sizeof(value));
  return value;
}

void store_key(std::byte* key, std::uint32_t value) { std::memcpy(key, &value, sizeof(value)); }

}  // namespace

Result<void> Devmap::check(const MapSpec& spec, const Caller& /*caller*/) {
  constexpr std::uint32_t flags = uapi::BPF_F_NUMA_NODE | uapi::BPF_F_RDONLY | uapi::BPF_F_WRONLY;
  if (spec.max_entries == 0 || spec.key_bytes != 4) return Errno{EINVAL};
  if (spec.value_bytes != 4 && spec.value_bytes != 8) return Errno{EINVAL};
  if ((spec.flags & ~flags) != 0) return Errno{EINVAL};
  // The number of buckets is rounded up to a power of two that must fit 32 bits.
  if (spec.type == uapi::BPF_MAP_TYPE_DEVMAP_HASH && spec.max_entries > 1U << 31)
    return Errno{EINVAL};
  return ok();
}

Result<Ref<Map>> Devmap::make(const MapType& type, MapSpec spec,
                              const MapEnvironment& environment) {
  spec.flags &= ~(uapi::BPF_F_RDONLY | uapi::BPF_F_WRONLY);
  spec.flags |= uapi::BPF_F_RDONLY_PROG;
  const std::uint64_t heads = type.number == uapi::BPF_MAP_TYPE_DEVMAP_HASH
                                  ? std::bit_ceil(std::uint64_t{spec.max_entries})
                                  : spec.max_entries;
  Charge charge =
      TRY(environment.budget.charge(sizeof(Devmap) + heads * sizeof(std::atomic<DevmapEntry*>)));
  // Zero bytes are null pointers; the pages of a large map appear when they are first used.
  Heads head(static_cast<std::atomic<DevmapEntry*>*>(
      std::calloc(heads, sizeof(std::atomic<DevmapEntry*>))));
  if (head == nullptr) return Errno{ENOMEM};
  auto* const map = new (std::nothrow)
      Devmap(type, std::move(spec), environment, std::move(head), heads, std::move(charge));
  if (map == nullptr) return Errno{ENOMEM};
  return Ref<Map>(Ref<Devmap>::adopt(map));
}

Devmap::Devmap(const MapType& type, MapSpec spec, const MapEnvironment& environment, Heads head,
               std::uint64_t heads, Charge charge)
    : ProgramMap(type, std::move(spec), environment),
      budget_(environment.budget),
      head_(std::move(head)),
      heads_(heads),
      charge_(std::move(charge)) {}

// Runs after a grace period and with no lock held: nobody reads, and the device lists may be
// locked.
Devmap::~Devmap() {
  const auto listening =
      writer_.with([](Writer& writer) { return std::exchange(writer.listening, {}); });
  for (const auto& known : listening) known->net_namespace->remove_listener(*this);
  writer_.with([&](Writer& writer) {
    for (std::uint64_t i = 0; writer.count != 0; ++i) {
      // relaxed: the object died after a grace period.
      DevmapEntry* entry = head_[i].load(std::memory_order_relaxed);
      while (entry != nullptr) {
        DevmapEntry* const next = entry->next.load(std::memory_order_relaxed);
        delete entry;
        entry = next;
        --writer.count;
      }
    }
  });
}

const DevmapEntry* Devmap::find(std::uint32_t key, const rcu::ReadGuard& /*proof*/) const {
  if (!is_hash() && key >= heads_) return nullptr;
  // acquire, here and along the chain: pairs with publish(); the entry was complete before.
  const DevmapEntry* entry = bucket(key).load(std::memory_order_acquire);
  while (entry != nullptr && entry->key != key) entry = entry->next.load(std::memory_order_acquire);
  return entry;
}

std::byte* Devmap::lookup(Slot& /*slot*/, const std::byte* key) {
  const rcu::ReadGuard guard;  // nests in the caller's section
  const DevmapEntry* const entry = find(load_key(key), guard);
  if (entry == nullptr) return nullptr;
  // The map is read-only to programs, so nobody writes through this.
  return const_cast<std::byte*>(reinterpret_cast<const std::byte*>(&entry->value));
}

Result<void> Devmap::update(Slot& /*slot*/, const std::byte* /*key*/, const std::byte* /*value*/,
                            std::uint64_t /*flags*/) {
  return Errno{EACCES};
}

Result<void> Devmap::erase(Slot& /*slot*/, const std::byte* /*key*/) { return Errno{EACCES}; }

Result<void> Devmap::command_lookup(MapCommand& /*command*/, const std::byte* key, std::byte* value,
                                    std::uint64_t flags) {
  if (flags != 0) return Errno{EINVAL};
  const rcu::ReadGuard guard;
  const DevmapEntry* const entry = find(load_key(key), guard);
  if (entry == nullptr) return Errno{ENOENT};
  std::memcpy(value, &entry->value, spec().value_bytes);
  return ok();
}

Result<void> Devmap::command_update(MapCommand& command, const std::byte* key,
                                    const std::byte* value, std::uint64_t flags) {
  const std::uint32_t index = load_key(key);
  uapi::bpf_devmap_val wanted{};
  std::memcpy(&wanted, value, spec().value_bytes);

  if (flags > uapi::BPF_EXIST) return Errno{EINVAL};
  if (is_hash()) {
    if (wanted.ifindex == 0) return Errno{EINVAL};
    if (flags == uapi::BPF_NOEXIST) {
      // Before the checks of the entry. Looked at again when it is put in.
      const rcu::ReadGuard guard;
      if (find(index, guard) != nullptr) return Errno{EEXIST};
    }
  } else {
    if (index >= heads_) return Errno{E2BIG};
    if (flags == uapi::BPF_NOEXIST) return Errno{EEXIST};  // slots exist from the start
    if (wanted.ifindex == 0) {
      if (wanted.bpf_prog > 0) return Errno{EINVAL};
      return command_erase(command, key);
    }
  }

  std::unique_ptr<DevmapEntry> entry = TRY(make_entry(command, index, wanted));
  const Ref<Device> device = entry->device;
  listen_in(device->net_namespace());
  TRY(publish(std::move(entry), flags));

  // G3: the device may have been unlisted since make_entry() found it, and its removal told us
  // before publish(). If it is still listed now, its removal will tell us later.
  const auto listed = device->net_namespace().device(device->ifindex());
  if (!listed || listed->get() != device.get()) {
    on_device_gone(*device);
    return Errno{EINVAL};
  }
  return ok();
}

Result<std::unique_ptr<DevmapEntry>> Devmap::make_entry(MapCommand& command, std::uint32_t key,
                                                        const uapi::bpf_devmap_val& value) {
  Charge charge = TRY(budget_.charge(sizeof(DevmapEntry)));
  std::unique_ptr<DevmapEntry> entry(new (std::nothrow) DevmapEntry);
  if (entry == nullptr) return Errno{ENOMEM};
  entry->charge = std::move(charge);
  entry->key = key;
  entry->value.ifindex = value.ifindex;

  auto device = command.caller.net_namespace().device(value.ifindex);
  if (!device) return Errno{EINVAL};
  entry->device = std::move(device).take();

  if (value.bpf_prog > 0) {  // 0 and negative: no program
    auto object = command.caller.object(value.bpf_prog, ObjectKind::prog);
    if (!object) return Errno{EINVAL};  // EBADF is not handed on
    Ref<Program> program = ref_cast<Program>(std::move(object).take());
    ProgramShape shape = program->shape();
    if (shape.type != uapi::BPF_PROG_TYPE_XDP || shape.expected_attach_type != uapi::BPF_XDP_DEVMAP)
      return Errno{EINVAL};
    shape.expected_attach_type = 0;  // not part of the rule here: plain programs name the map too
    TRY(claim(shape));
    entry->value.bpf_prog = static_cast<std::int32_t>(program->id());
    entry->program = std::move(program);
  }
  return entry;
}

std::atomic<DevmapEntry*>& Devmap::link_of(std::uint32_t key) {
  std::atomic<DevmapEntry*>* link = &bucket(key);
  // relaxed: only writers change links, and they exclude each other.
  for (DevmapEntry* entry = link->load(std::memory_order_relaxed);
       entry != nullptr && entry->key != key; entry = link->load(std::memory_order_relaxed))
    link = &entry->next;
  return *link;
}

Result<void> Devmap::publish(std::unique_ptr<DevmapEntry> entry, std::uint64_t flags) {
  return writer_.with([&](Writer& writer) -> Result<void> {
    std::atomic<DevmapEntry*>& link = link_of(entry->key);
    // relaxed: as in link_of().
    DevmapEntry* const old = link.load(std::memory_order_relaxed);
    if (!is_hash()) {
      // release: pairs with the acquires of readers; the entry is complete.
      link.store(entry.release(), std::memory_order_release);
      writer.count += old == nullptr ? 1 : 0;
      if (old != nullptr) rcu::retire(old, [](void* p) { delete static_cast<DevmapEntry*>(p); });
      return ok();
    }
    if (old != nullptr && flags == uapi::BPF_NOEXIST) return Errno{EEXIST};
    if (old == nullptr && writer.count >= spec().max_entries) return Errno{E2BIG};
    if (old != nullptr) unlink(writer, link);
    std::atomic<DevmapEntry*>& head = bucket(entry->key);
    // relaxed: the entry is still private, and only writers change heads.
    entry->next.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
    // release: as above.
    head.store(entry.release(), std::memory_order_release);
    ++writer.count;
    return ok();
  });
}

void Devmap::unlink(Writer& writer, std::atomic<DevmapEntry*>& link) {
  // relaxed: only writers change links. The entry keeps its own `next` for readers that stand on
  // it.
  DevmapEntry* const entry = link.load(std::memory_order_relaxed);
  // release: the next entry was published by another writer; readers get it through us now.
  link.store(entry->next.load(std::memory_order_relaxed), std::memory_order_release);
  --writer.count;
  rcu::retire(entry, [](void* p) { delete static_cast<DevmapEntry*>(p); });
}

Result<void> Devmap::command_erase(MapCommand& /*command*/, const std::byte* key) {
  const std::uint32_t index = load_key(key);
  if (!is_hash() && index >= heads_) return Errno{EINVAL};
  return writer_.with([&](Writer& writer) -> Result<void> {
    std::atomic<DevmapEntry*>& link = link_of(index);
    if (link.load(std::memory_order_relaxed) != nullptr) {  // relaxed: as in link_of()
      unlink(writer, link);
    } else if (is_hash()) {
      return Errno{ENOENT};
    }
    return ok();
  });
}

Result<void> Devmap::next_key(MapCommand& /*command*/, const std::byte* key, std::byte* next) {
  if (!is_hash()) {
    // Empty slots are enumerated too.
    const std::uint32_t index = key == nullptr ? ~0U : load_key(key);
    if (index >= heads_) {
      store_key(next, 0);
      return ok();
    }
    if (index == heads_ - 1) return Errno{ENOENT};
    store_key(next, index + 1);
    return ok();
  }
  const rcu::ReadGuard guard;
  std::uint64_t from = 0;
  if (key != nullptr) {
    if (const DevmapEntry* const entry = find(load_key(key), guard); entry != nullptr) {
      // acquire, here and below: pairs with publish().
      const DevmapEntry* const follower = entry->next.load(std::memory_order_acquire);
      if (follower != nullptr) {
        store_key(next, follower->key);
        return ok();
      }
      from = (entry->key & (heads_ - 1)) + 1;
    }
  }
  for (std::uint64_t i = from; i < heads_; ++i) {
    if (const DevmapEntry* const entry = head_[i].load(std::memory_order_acquire);
        entry != nullptr) {
      store_key(next, entry->key);
      return ok();
    }
  }
  return Errno{ENOENT};
}

std::uint64_t Devmap::memory_bytes() const {
  const std::uint64_t entries =
      writer_.with([](const Writer& writer) { return std::uint64_t{writer.count}; });
  return linux_map_bytes + heads_ * sizeof(void*) + entries * linux_entry_bytes;
}

Result<void> Devmap::on_program_load(const Program& program) {
  if (is_hash()) return ok();
  ProgramShape shape = program.shape();
  shape.expected_attach_type = 0;
  return claim(shape);
}

// The namespace's lock ranks below ours: we register outside of ours, and who comes second waits
// until that is done.
void Devmap::listen_in(NetNamespace& net_namespace) {
  bool is_new = false;
  Listening& listening = writer_.with([&](Writer& writer) -> Listening& {
    for (const auto& known : writer.listening)
      if (known->net_namespace.get() == &net_namespace) return *known;
    is_new = true;
    writer.listening.push_back(std::make_unique<Listening>());
    writer.listening.back()->net_namespace = Ref<NetNamespace>::share(net_namespace);
    return *writer.listening.back();
  });
  if (is_new) {
    net_namespace.add_listener(*this);
    // release: pairs with wait(); whoever sees it is registered.
    listening.registered.store(true, std::memory_order_release);
    listening.registered.notify_all();
  } else {
    listening.registered.wait(false, std::memory_order_acquire);
  }
}

void Devmap::on_device_gone(Device& device) {
  writer_.with([&](Writer& writer) {
    std::uint32_t unseen = writer.count;
    for (std::uint64_t i = 0; unseen != 0; ++i) {
      std::atomic<DevmapEntry*>* link = &head_[i];
      // relaxed: as in link_of().
      while (DevmapEntry* const entry = link->load(std::memory_order_relaxed)) {
        --unseen;
        if (entry->device.get() == &device) {
          unlink(writer, *link);
        } else {
          link = &entry->next;
        }
      }
    }
  });
}

void add_xdp_map_types(MapTypes& types) {
  static constexpr MapType devmap = {
      .number = uapi::BPF_MAP_TYPE_DEVMAP,
      .name = "devmap",
      .capability = Capability::net_admin,
      .check_before_permissions = true,
      .batch = {},
      .holds_programs = true,
      .btf = false,
      .check = Devmap::check,
      .check_btf = [](const MapSpec&) -> Result<void> { return Errno{ENOTSUPP}; },
      .make = Devmap::make,
  };
  static constexpr MapType devmap_hash = [] {
    MapType type = devmap;
    type.number = uapi::BPF_MAP_TYPE_DEVMAP_HASH;
    type.name = "devmap_hash";
    return type;
  }();
  types.add(devmap);
  types.add(devmap_hash);
}

}  // namespace skep
