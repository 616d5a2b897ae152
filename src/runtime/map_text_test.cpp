// SPDX-License-Identifier: Apache-2.0
#include "runtime/map_text.hpp"

#include "runtime/world.hpp"
#include "uapi/bpf.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>

namespace skep {
namespace {

class MapText : public testing::Test {
 protected:
  MapText() : world_(World::make({.cpus = 2}).value()) {}
  ~MapText() override {
    for (const int fd : fds_) close(fd);
  }

  int make_map(std::uint32_t type, std::uint32_t key, std::uint32_t value, std::uint32_t entries) {
    uapi::map_create_attr attr{};
    attr.map_type = type;
    attr.key_size = key;
    attr.value_size = value;
    attr.max_entries = entries;
    attr.map_name[0] = 'm';
    const auto fd = world_->syscalls.bpf(*world_->caller, uapi::BPF_MAP_CREATE,
                                         reinterpret_cast<std::uint64_t>(&attr), sizeof(attr));
    EXPECT_TRUE(fd);
    fds_.push_back(static_cast<int>(*fd));
    return fds_.back();
  }

  std::string set(int fd, const char* key, const char* value) {
    const auto result = set_map_entry(world_->syscalls, *world_->caller, fd, names(), key, value);
    return result ? "ok" : result.error().message;
  }

  std::string dump(int fd) {
    const auto entries = dump_map(world_->syscalls, *world_->caller, fd, names());
    if (!entries) return entries.error().message;
    std::string out;
    for (const MapEntry& entry : *entries) out += entry.key + ":" + entry.value + " ";
    return out;
  }

  MapNames names() {
    return {.net_namespace = *world_->net_namespace,
            .program_fd = [](std::string_view) { return -1; },
            .program_name = [](std::uint32_t) { return std::string(); }};
  }

  std::unique_ptr<World> world_;
  std::vector<int> fds_;
};

TEST_F(MapText, PlainEntriesAreIntegersOrBytes) {
  const int fd = make_map(uapi::BPF_MAP_TYPE_HASH, 4, 8, 2);
  EXPECT_EQ(set(fd, "7", "100"), "ok");
  EXPECT_EQ(set(fd, "0x2", "1"), "ok");
  EXPECT_EQ(set(fd, "9", "1"), "map m[9]: the map is full (2 entries) (E2BIG)");
  EXPECT_EQ(dump(fd), "2:1 7:100 ");
}

TEST_F(MapText, PerCpuValuesAreSetOnAllCpusAndShownForEach) {
  const int fd = make_map(uapi::BPF_MAP_TYPE_PERCPU_ARRAY, 4, 4, 2);
  EXPECT_EQ(set(fd, "1", "5"), "ok");
  EXPECT_EQ(dump(fd), "0:[0,0] 1:[5,5] ");
  EXPECT_EQ(set(fd, "2", "5"), "map m[2]: the index is beyond the last entry, 1 (E2BIG)");
}

TEST_F(MapText, DevmapsNamePorts) {
  const int fd = make_map(uapi::BPF_MAP_TYPE_DEVMAP, 4, 8, 4);
  EXPECT_EQ(set(fd, "1", "lo"), "ok");
  EXPECT_EQ(set(fd, "2", "{port=lo}"), "ok");
  EXPECT_EQ(dump(fd), "1:lo 2:lo ");
  EXPECT_EQ(set(fd, "0", "lan9"), "map m[0]: there is no port lan9 (there are: none) (EINVAL)");
  EXPECT_EQ(set(fd, "0", "{port=lo,program=egress}"),
            "map m[0]: the object has no loaded program egress (EINVAL)");
  EXPECT_EQ(set(fd, "0", "{device=lo}"),
            "map m[0]: {device=lo} has no field device: give port and program (EINVAL)");
}

TEST_F(MapText, AClosedDescriptorIsNamed) {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(fd);
  EXPECT_EQ(dump(fd), "descriptor " + std::to_string(fd) + " is not a map (EBADF)");
}

}  // namespace
}  // namespace skep
