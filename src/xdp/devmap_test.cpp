// SPDX-License-Identifier: Apache-2.0
#include "xdp/devmap.hpp"

#include "xdp/xdp_testing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace skep::testing {
namespace {

class DevmapTest : public XdpTest {
 protected:
  std::vector<std::uint32_t> keys(Map& map) {
    std::vector<std::uint32_t> keys;
    for (auto key = next_key(map, std::nullopt); key; key = next_key(map, *key))
      keys.push_back(*key);
    return keys;
  }
};

constexpr std::uint32_t both_types[] = {uapi::BPF_MAP_TYPE_DEVMAP, uapi::BPF_MAP_TYPE_DEVMAP_HASH};

TEST_F(DevmapTest, CreateChecksSizesAndFlags) {
  for (const std::uint32_t type : both_types) {
    EXPECT_OK(make_map(type, 4, 2));
    EXPECT_OK(make_map(type, 8, 2));
    EXPECT_OK(make_map(type, 4, 2, uapi::BPF_F_RDONLY));
    EXPECT_OK(make_map(type, 4, 2, uapi::BPF_F_NUMA_NODE));
    EXPECT_ERRNO(make_map(type, 4, 0), EINVAL);
    EXPECT_ERRNO(make_map(type, 6, 2), EINVAL);
    EXPECT_ERRNO(make_map(type, 0, 2), EINVAL);
    EXPECT_ERRNO(make_map(type, 4, 2, 0, 8), EINVAL);
    for (const std::uint32_t flag :
         {uapi::BPF_F_NO_PREALLOC, uapi::BPF_F_RDONLY_PROG, uapi::BPF_F_WRONLY_PROG,
          uapi::BPF_F_MMAPABLE, uapi::BPF_F_INNER_MAP})
      EXPECT_ERRNO(make_map(type, 4, 2, flag), EINVAL) << flag;
  }
  EXPECT_ERRNO(make_map(uapi::BPF_MAP_TYPE_DEVMAP_HASH, 4, (1U << 31) + 1), EINVAL);
  EXPECT_ERRNO(make_map(uapi::BPF_MAP_TYPE_DEVMAP_HASH, 4, 1U << 31), ENOMEM) << "past the budget";
  EXPECT_ERRNO(make_map(uapi::BPF_MAP_TYPE_DEVMAP, 4, (1U << 31) + 1), ENOMEM);
}

TEST_F(DevmapTest, TypesSayWhatTheCommandsMustKnow) {
  for (const std::uint32_t number : both_types) {
    const MapType& type = *map_types_.find(number);
    EXPECT_EQ(type.capability, Capability::net_admin);
    EXPECT_TRUE(type.check_before_permissions);
    EXPECT_TRUE(type.holds_programs);
    EXPECT_FALSE(type.btf);
    EXPECT_FALSE(type.batch.lookup || type.batch.update || type.batch.erase);
    EXPECT_FALSE(type.lookup_and_delete || type.spin_lock || type.direct_value);
    EXPECT_ERRNO(type.check_btf({}), ENOTSUPP);
  }
  EXPECT_STREQ(map_types_.find(uapi::BPF_MAP_TYPE_DEVMAP)->name, "devmap");
  EXPECT_STREQ(map_types_.find(uapi::BPF_MAP_TYPE_DEVMAP_HASH)->name, "devmap_hash");
}

TEST_F(DevmapTest, FlagsShowThatProgramsMayOnlyRead) {
  auto map = make_map(uapi::BPF_MAP_TYPE_DEVMAP, 4, 2, uapi::BPF_F_WRONLY);
  ASSERT_OK(map);
  EXPECT_EQ((*map)->spec().flags, uapi::BPF_F_RDONLY_PROG);
}

TEST_F(DevmapTest, ArrayUpdateChecksInOrder) {
  const TestPort a = add_port("a");
  const Ref<Map> map = devmap(4);
  EXPECT_ERRNO(update(*map, 9, 999, 0, 3), EINVAL) << "flags come first";
  EXPECT_ERRNO(update(*map, 4, 999, 0, uapi::BPF_NOEXIST), E2BIG) << "then the key";
  EXPECT_ERRNO(update(*map, 0, 999, 0, uapi::BPF_NOEXIST), EEXIST) << "even for an empty slot";
  EXPECT_ERRNO(update(*map, 0, 0, 5), EINVAL) << "a program needs a device";
  EXPECT_ERRNO(update(*map, 0, 999), EINVAL) << "no such device";
  EXPECT_OK(update(*map, 0, a.ifindex(), 0, uapi::BPF_EXIST)) << "creates";
  EXPECT_OK(update(*map, 0, 0, -1)) << "clears";
  EXPECT_ERRNO(lookup(*map, 0), ENOENT);
  EXPECT_OK(update(*map, 0, 0)) << "clearing an empty slot";
  EXPECT_OK(update(*map, 0, a.ifindex(), -1)) << "-1 means no program";
}

TEST_F(DevmapTest, HashUpdateChecksInOrder) {
  const TestPort a = add_port("a");
  const Ref<Map> map = devmap_hash(3);
  EXPECT_ERRNO(update(*map, 1, a.ifindex(), 0, 3), EINVAL);
  EXPECT_ERRNO(update(*map, 1, 0), EINVAL) << "no clearing here";
  EXPECT_OK(update(*map, 1, a.ifindex(), 0, uapi::BPF_NOEXIST));
  EXPECT_ERRNO(update(*map, 1, 999, 0, uapi::BPF_NOEXIST), EEXIST) << "before the device";
  EXPECT_ERRNO(update(*map, 1, 999), EINVAL);
  EXPECT_OK(update(*map, 77, a.ifindex(), 0, uapi::BPF_EXIST)) << "creates";
  EXPECT_OK(update(*map, 0xffffffff, a.ifindex()));
  EXPECT_ERRNO(update(*map, 5, a.ifindex()), E2BIG) << "3 elements, though 4 buckets";
  EXPECT_ERRNO(update(*map, 5, 999), EINVAL) << "the device is looked at before the count";
  EXPECT_OK(update(*map, 77, a.ifindex())) << "replacing needs no room";
}

TEST_F(DevmapTest, OnlyDevmapProgramsGoIntoEntries) {
  const TestPort a = add_port("a");
  const Ref<Map> map = devmap(2);
  const int map_fd = caller_->open(map);
  const Ref<Program> right = load_egress(return_value(uapi::XDP_PASS));
  const int plain_fd = caller_->open(load(return_value(2)));
  const int xdp_fd = caller_->open(load(return_value(2), uapi::BPF_XDP));
  const int cpumap_fd = caller_->open(load(return_value(2), uapi::BPF_XDP_CPUMAP));
  const int right_fd = caller_->open(right);
  for (const int fd : {map_fd, plain_fd, xdp_fd, cpumap_fd, 500})
    EXPECT_ERRNO(update(*map, 0, a.ifindex(), fd), EINVAL) << fd;
  EXPECT_ERRNO(lookup(*map, 0), ENOENT);

  ASSERT_OK(update(*map, 0, a.ifindex(), right_fd));
  caller_->close(right_fd);
  auto value = lookup(*map, 0);
  ASSERT_OK(value);
  EXPECT_EQ(value->ifindex, a.ifindex());
  EXPECT_EQ(value->bpf_prog, static_cast<std::int32_t>(right->id()))
      << "the id, not the descriptor";

  ASSERT_OK(update(*map, 0, a.ifindex()));
  EXPECT_EQ(lookup(*map, 0)->bpf_prog, 0) << "replacing drops the program";
}

TEST_F(DevmapTest, FourByteValuesHaveNoProgram) {
  const TestPort a = add_port("a");
  const Ref<Map> map = devmap(2, 4);
  ASSERT_OK(update(*map, 1, a.ifindex(), 12345));
  auto value = lookup(*map, 1);
  ASSERT_OK(value);
  EXPECT_EQ(value->ifindex, a.ifindex());
  EXPECT_EQ(value->bpf_prog, 0x55555555) << "only 4 bytes are written";
}

TEST_F(DevmapTest, DeletingAndLookingUp) {
  const TestPort a = add_port("a");
  const Ref<Map> array = devmap(2), hash = devmap_hash(2);
  EXPECT_ERRNO(erase(*array, 2), EINVAL);
  EXPECT_OK(erase(*array, 1)) << "an empty slot";
  EXPECT_ERRNO(lookup(*array, 2), ENOENT);
  EXPECT_ERRNO(erase(*hash, 1), ENOENT);
  ASSERT_OK(update(*array, 1, a.ifindex()));
  ASSERT_OK(update(*hash, 1, a.ifindex()));
  for (const Ref<Map>& map : {array, hash}) {
    EXPECT_OK(lookup(*map, 1));
    EXPECT_OK(erase(*map, 1));
    EXPECT_ERRNO(lookup(*map, 1), ENOENT);
  }
  const SlotGuard slot = slots_.enter_control();
  MapCommand command{*slot, *caller_};
  std::byte key[4]{}, value[8]{};
  EXPECT_ERRNO(array->command_lookup(command, key, value, 1), EINVAL);
  EXPECT_ERRNO(array->command_lookup_and_erase(command, key, value, 0), ENOTSUPP);
  EXPECT_ERRNO(array->update(*slot, key, value, 0), EACCES);
  EXPECT_ERRNO(array->erase(*slot, key), EACCES);
}

TEST_F(DevmapTest, ArrayKeysAreEnumeratedEvenIfEmpty) {
  const Ref<Map> map = devmap(3);
  EXPECT_EQ(keys(*map), (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(*next_key(*map, 7), 0u);
  EXPECT_ERRNO(next_key(*map, 2), ENOENT);
}

// Observed on 6.18: no mixing, newest first, a replaced key moves to the front of its bucket.
TEST_F(DevmapTest, HashOrderIsByBucketAndNewestFirst) {
  const TestPort a = add_port("a");
  const Ref<Map> map = devmap_hash(5);
  EXPECT_ERRNO(next_key(*map, std::nullopt), ENOENT);
  for (const std::uint32_t key : {1, 9, 3, 17, 7}) ASSERT_OK(update(*map, key, a.ifindex()));
  EXPECT_EQ(keys(*map), (std::vector<std::uint32_t>{17, 9, 1, 3, 7}));
  ASSERT_OK(update(*map, 9, a.ifindex()));
  EXPECT_EQ(keys(*map), (std::vector<std::uint32_t>{9, 17, 1, 3, 7}));
  EXPECT_EQ(*next_key(*map, 4), 9u) << "an unknown key starts over";
}

TEST_F(DevmapTest, TheFirstProgramOwnsAnArray) {
  const TestPort a = add_port("a");
  const Ref<Map> map = devmap(2);
  const int fd = caller_->open(map);
  const int egress = caller_->open(load_egress(return_value(2)));
  const int frags = caller_->open(load_egress(return_value(2), uapi::BPF_F_XDP_HAS_FRAGS));
  ASSERT_OK(update(*map, 0, a.ifindex(), egress));
  EXPECT_ERRNO(update(*map, 1, a.ifindex(), frags), EINVAL);
  ASSERT_OK(erase(*map, 0));
  EXPECT_ERRNO(update(*map, 1, a.ifindex(), frags), EINVAL) << "the owner outlives its entry";

  const Instructions names_the_map = map_address(1, fd) + return_value(2);
  EXPECT_OK(try_load(names_the_map)) << "the attach type is not compared";
  EXPECT_ERRNO(try_load(names_the_map, 0, uapi::BPF_F_XDP_HAS_FRAGS), EINVAL);
}

TEST_F(DevmapTest, NamingAnArrayMakesAnOwnerNamingAHashDoesNot) {
  const TestPort a = add_port("a");
  const int egress = caller_->open(load_egress(return_value(2)));
  const Ref<Map> array = devmap(2), hash = devmap_hash(2);
  for (const Ref<Map>& map : {array, hash})
    load(map_address(1, caller_->open(map)) + return_value(2), 0, uapi::BPF_F_XDP_HAS_FRAGS);
  EXPECT_ERRNO(update(*array, 0, a.ifindex(), egress), EINVAL);
  EXPECT_OK(update(*hash, 0, a.ifindex(), egress));
}

TEST_F(DevmapTest, ARefusedProgramDoesNotBecomeTheOwner) {
  const TestPort a = add_port("a");
  const Ref<Map> map = devmap(2);
  const int plain = caller_->open(load(return_value(2), 0, uapi::BPF_F_XDP_HAS_FRAGS));
  const int egress = caller_->open(load_egress(return_value(2)));
  EXPECT_ERRNO(update(*map, 0, a.ifindex(), plain), EINVAL);
  EXPECT_OK(update(*map, 0, a.ifindex(), egress));
}

TEST_F(DevmapTest, DevicesAreThoseOfTheCallersNamespace) {
  const TestPort here = add_port("here");
  const Ref<NetNamespace> other = make_object<NetNamespace>(slots_);
  add_port_in(*other, "b");
  const TestPort there = add_port_in(*other, "c");
  const Ref<Map> map = devmap(4);
  ASSERT_OK(update(*map, 0, here.ifindex()));
  EXPECT_ERRNO(update(*map, 1, there.ifindex()), EINVAL);
  caller_->move_to(other);
  EXPECT_OK(update(*map, 1, there.ifindex()));

  const rcu::ReadGuard guard;
  const auto& devices = static_cast<Devmap&>(*map);
  EXPECT_EQ(devices.find(0, guard)->device.get(), here.device.get());
  EXPECT_EQ(devices.find(1, guard)->device.get(), there.device.get());
  caller_->move_to(net_namespace_);
}

TEST_F(DevmapTest, RemovedDevicesLeaveAllMaps) {
  const TestPort a = add_port("a"), b = add_port("b");
  const Ref<Map> array = devmap(4), hash = devmap_hash(4);
  for (const Ref<Map>& map : {array, hash}) {
    ASSERT_OK(update(*map, 0, a.ifindex()));
    ASSERT_OK(update(*map, 1, b.ifindex()));
    ASSERT_OK(update(*map, 2, a.ifindex()));
  }
  ASSERT_OK(net_namespace_->remove_device(a.ifindex()));
  for (const Ref<Map>& map : {array, hash}) {
    EXPECT_ERRNO(lookup(*map, 0), ENOENT);
    EXPECT_EQ(lookup(*map, 1)->ifindex, b.ifindex());
    EXPECT_ERRNO(lookup(*map, 2), ENOENT);
    EXPECT_ERRNO(update(*map, 0, a.ifindex()), EINVAL);
  }
  EXPECT_EQ(keys(*hash), std::vector<std::uint32_t>{1});
}

// A program on the way out that names its own map keeps it, and the map keeps the program and the
// namespace: only the end of the devices breaks that up.
TEST_F(DevmapTest, AProgramInAnEntryOfItsOwnMapGoesWithTheDevices) {
  for (const bool hashed : {false, true}) {
    auto net_namespace = make_object<NetNamespace>(slots_);
    const TestPort port = add_port_in(*net_namespace, "eth0");
    caller_->move_to(net_namespace);
    std::uint32_t map_id = 0, program_id = 0;
    {
      const Ref<Map> map = hashed ? devmap_hash(4) : devmap(4);
      const int map_fd = caller_->open(map);
      const Ref<Program> program = load_egress(map_address(1, map_fd) + return_value(2));
      const int program_fd = caller_->open(program);
      ASSERT_OK(update(*map, 0, port.ifindex(), program_fd));
      map_id = map->id();
      program_id = program->id();
      caller_->close(map_fd);
      caller_->close(program_fd);
    }
    caller_->move_to(net_namespace_);
    rcu::barrier();
    EXPECT_OK(map_ids_.find(map_id));

    net_namespace->remove_all_devices();
    net_namespace = nullptr;
    rcu::barrier();
    EXPECT_ERRNO(map_ids_.find(map_id), ENOENT);
    EXPECT_ERRNO(program_ids_.find(program_id), ENOENT);
  }
}

TEST_F(DevmapTest, EntriesAreChargedAndGivenBack) {
  const TestPort a = add_port("a");
  rcu::barrier();
  const std::uint64_t before = budget_.used_bytes();
  {
    const Ref<Map> map = devmap_hash(8);
    const std::uint64_t empty = budget_.used_bytes();
    EXPECT_GT(empty, before);
    for (std::uint32_t key = 0; key < 8; ++key) ASSERT_OK(update(*map, key, a.ifindex()));
    EXPECT_GT(budget_.used_bytes(), empty);
    ASSERT_OK(update(*map, 0, a.ifindex()));
  }
  rcu::barrier();
  EXPECT_EQ(budget_.used_bytes(), before);

  const Ref<Map> map = devmap(1);
  const Charge rest = *budget_.charge(budget_.limit_bytes() - budget_.used_bytes());
  EXPECT_ERRNO(update(*map, 0, a.ifindex()), ENOMEM);
}

// Figures of fdinfo observed on 6.18.
TEST_F(DevmapTest, MemoryFigureIsTheKernels) {
  const TestPort a = add_port("a");
  const Ref<Map> array = devmap(5), hash = devmap_hash(5);
  EXPECT_EQ(array->memory_bytes(), 384u);
  EXPECT_EQ(hash->memory_bytes(), 408u);
  for (const Ref<Map>& map : {array, hash}) {
    ASSERT_OK(update(*map, 0, a.ifindex()));
    ASSERT_OK(update(*map, 0, a.ifindex()));
  }
  EXPECT_EQ(array->memory_bytes(), 448u);
  EXPECT_EQ(hash->memory_bytes(), 472u);
}

// G1: readers always see whole entries while a writer replaces and deletes them; the sanitizers
// judge the rest.
TEST_F(DevmapTest, ReadersSeeWholeEntriesWhileWritersChangeThem) {
  const TestPort a = add_port("a"), b = add_port("b");
  const int program = caller_->open(load_egress(return_value(2)));
  for (const bool hashed : {false, true}) {
    const Ref<Map> map = hashed ? devmap_hash(4) : devmap(4);
    const auto& targets = static_cast<Devmap&>(*map);
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> found{0};
    std::jthread reader([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const rcu::ReadGuard guard;
        for (std::uint32_t key = 0; key < 4; ++key) {
          const DevmapEntry* const entry = targets.find(key, guard);
          if (entry == nullptr) continue;
          EXPECT_EQ(entry->key, key);
          EXPECT_EQ(entry->value.ifindex, entry->device->ifindex());
          EXPECT_EQ(entry->program.get() != nullptr, entry->value.bpf_prog != 0);
          found.fetch_add(1, std::memory_order_relaxed);
        }
      }
    });
    for (std::uint32_t round = 0; round < 2'000 || found.load() == 0; ++round) {
      const std::uint32_t key = round % 4;
      if (round % 7 == 0) {
        (void)erase(*map, key);
      } else {
        EXPECT_OK(update(*map, key, round % 2 == 0 ? a.ifindex() : b.ifindex(),
                         round % 3 == 0 ? program : 0));
      }
    }
    stop = true;
  }
}

// G3, at its narrowest: the device goes away after an update found it and before the entry is put
// in.
TEST_F(DevmapTest, ADeviceThatGoesAwayDuringAnUpdateIsNotPutIn) {
  const TestPort other = add_port("other");
  const int program = caller_->open(load_egress(return_value(2)));
  for (const bool hashed : {false, true}) {
    for (const bool listening : {false, true}) {
      const TestPort doomed = add_port("doomed");
      const Ref<Map> map = hashed ? devmap_hash(4) : devmap(4);
      if (listening) ASSERT_OK(update(*map, 3, other.ifindex()));
      caller_->interrupt_with([&] { ASSERT_OK(net_namespace_->remove_device(doomed.ifindex())); });
      EXPECT_ERRNO(update(*map, 0, doomed.ifindex(), program), EINVAL);
      EXPECT_ERRNO(lookup(*map, 0), ENOENT);
      if (listening) EXPECT_OK(lookup(*map, 3));
    }
  }
}

// G3: whatever updates race with a removal, nothing points to the device afterwards.
TEST_F(DevmapTest, UpdatesThatRaceWithARemovalLeaveNothingBehind) {
  for (int round = 0; round < 50; ++round) {
    const TestPort doomed = add_port("doomed" + std::to_string(round));
    const Ref<Map> map = round % 2 == 0 ? devmap(4) : devmap_hash(4);
    std::jthread updater([&] {
      for (std::uint32_t key = 0; update(*map, key % 4, doomed.ifindex()); ++key) {
      }
    });
    ASSERT_OK(net_namespace_->remove_device(doomed.ifindex()));
    updater.join();
    for (std::uint32_t key = 0; key < 4; ++key) EXPECT_ERRNO(lookup(*map, key), ENOENT);
  }
}

}  // namespace
}  // namespace skep::testing
