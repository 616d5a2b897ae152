// SPDX-License-Identifier: Apache-2.0
// One object loaded twice: into a runtime and into the kernel of the host. What is done to one is
// done to the other, and what comes out is compared.
#pragma once

#include "host/host_kernel.hpp"
#include "loader/object_file.hpp"
#include "map/map.hpp"
#include "runtime/world.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {

/// A runtime behind the interface of bpf(2), with as many CPUs as the host may have.
class RuntimeKernel final : public BpfEntry {
 public:
  RuntimeKernel();
  long bpf(unsigned cmd, void* attr, unsigned size) override;
  World& world() { return *world_; }

 private:
  std::unique_ptr<World> world_;
};

/// What BPF_PROG_TEST_RUN gave.
struct TestRun {
  long result = 0;  // 0, or a negative errno: then nothing else counts
  std::uint32_t verdict = 0;
  std::uint32_t bytes_out = 0;
  std::string bytes;
  bool operator==(const TestRun&) const = default;
};
std::string describe(const TestRun& run);

/// Key bytes and value bytes. Per-CPU values are those of all CPUs.
using MapContent = std::map<std::string, std::string>;

struct Global {
  std::string section, variable, value;
};

/// A difference that is right: what it is, and why.
struct AllowedDifference {
  std::string_view object, map;
  std::size_t offset, bytes;  // in the value
  std::string_view reason;
  std::uint32_t first_key = 0, last_key = UINT32_MAX;  // of arrays
};

class TwoKernels {
 public:
  /// Loads the object at `path` into both. Look at the two refusals before anything else.
  TwoKernels(const std::string& path, const std::vector<Global>& globals);

  /// Why the host refuses the object; then this cannot be used.
  const std::string& host_refusal() const { return host_refusal_; }
  /// Why skep refuses it; then this cannot be used, and that is a failure.
  const std::string& skep_refusal() const { return skep_refusal_; }

  /// XDP programs, with those for devmap entries.
  std::vector<std::string> programs() const;

  /// Sets an entry by words in the runtime, and then by the bytes that it became in the host.
  void set_entry(std::string_view map, std::string_view key, std::string_view value);
  /// Makes entry `key` of each devmap the loopback device, which has ifindex 1 in both worlds.
  void set_devices(std::span<const std::uint32_t> keys);

  /// Runs `program` on `packet` in both and compares. Empty if they agree.
  std::string run(std::string_view program, std::string_view packet);

  /// Compares all maps, but for `allowed`. Empty if they agree. Program arrays hold ids, which are
  /// each world's own, and are left out.
  std::string compare_maps(std::span<const AllowedDifference> allowed);

 private:
  struct MapPair {
    std::string name;
    Ref<Map> map;
    int skep_fd, host_fd;
  };

  static TestRun test_run(BpfEntry& kernel, int fd, std::string_view packet);
  static MapContent content(BpfEntry& kernel, int fd, const Map& map);
  static long update(BpfEntry& kernel, int fd, const std::string& key, const std::string& value);

  const std::string name_;
  RuntimeKernel skep_;
  HostKernel host_;
  std::unique_ptr<ObjectFile> skep_file_, host_file_;
  std::vector<MapPair> maps_;
  std::string host_refusal_, skep_refusal_;
};

}  // namespace skep::testing
