// SPDX-License-Identifier: Apache-2.0
// The shared library, used through its public headers alone.

#include <linux/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <skep/runtime.hpp>
#include <skep/skep.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>

extern "C" long run_c_example();

namespace {

namespace fs = std::filesystem;

const std::string captures = SKEP_SOURCE_DIR "/captures/";
const std::string forward_object = SKEP_OWN_OBJECTS "/forward.bpf.o";
const std::string counter_object = SKEP_EXAMPLE_OBJECTS "/counter.bpf.o";

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) count += !entry.path().empty();
  return count;
}

bpf_attr array_of(std::uint32_t max_entries) {
  bpf_attr attr{};
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = 4;
  attr.value_size = 8;
  attr.max_entries = max_entries;
  return attr;
}

skep::Runtime make(const skep::RuntimeOptions& options = {}) {
  auto runtime = skep::Runtime::make(options);
  EXPECT_TRUE(runtime.has_value()) << runtime.error().message;
  return std::move(*runtime);
}

template <class T>
T taken(skep::Expected<T> result) {
  EXPECT_TRUE(result.has_value()) << result.error().message << " / " << result.error().hint;
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Frames that a run of `forward` counted in its own variable.
std::uint64_t frames_counted(const skep::Runtime& runtime, const skep::LoadedObject& object) {
  const auto entries = taken(runtime.dump_map(object, "forward.bss"));
  if (entries.size() != 1) return 0;
  constexpr std::string_view before = "{frames=";
  EXPECT_EQ(entries[0].value.substr(0, before.size()), before);
  return std::strtoull(entries[0].value.c_str() + before.size(), nullptr, 10);
}

// The header's example names files in the current directory.
TEST(Library, ExampleOfTheCppHeaderWorks) {
  std::string folder = ::testing::TempDir() + "/skep-library-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const fs::path before = fs::current_path();
  fs::copy_file(forward_object, folder + "/forward.bpf.o");
  fs::copy_file(captures + "client1.pcap", folder + "/in.pcap");
  fs::current_path(folder);
  {
#include "runtime_example.inc"
    ASSERT_TRUE(report.has_value()) << report.error().message;
    EXPECT_EQ(report->frames, 243U);
    ASSERT_EQ(report->ports.size(), 2U);
    EXPECT_EQ(report->ports[0].redirected, 243U);
    EXPECT_EQ(report->ports[1].transmitted, 243U);
  }
  fs::current_path(before);
  fs::remove_all(folder);
}

TEST(Library, ExampleOfTheCHeaderWorksInC) {
  const std::size_t before = open_descriptors();
  EXPECT_GE(run_c_example(), 0);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Library, TwoRuntimesNeverMeet) {
  skep_runtime* const first = skep_runtime_new(nullptr);
  skep_runtime* const second = skep_runtime_new(nullptr);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  bpf_attr create = array_of(1);
  const long fd = skep_bpf(first, BPF_MAP_CREATE, &create, sizeof create);
  ASSERT_GE(fd, 0);

  bpf_attr next{};
  EXPECT_EQ(skep_bpf(first, BPF_MAP_GET_NEXT_ID, &next, sizeof next), 0);
  const std::uint32_t id = next.next_id;
  next = {};
  EXPECT_EQ(skep_bpf(second, BPF_MAP_GET_NEXT_ID, &next, sizeof next), -ENOENT);
  bpf_attr by_id{};
  by_id.map_id = id;
  EXPECT_EQ(skep_bpf(second, BPF_MAP_GET_FD_BY_ID, &by_id, sizeof by_id), -ENOENT);

  // The descriptor is one for its own runtime only.
  std::uint32_t key = 0;
  std::uint64_t value = 7;
  bpf_attr element{};
  element.map_fd = static_cast<std::uint32_t>(fd);
  element.key = reinterpret_cast<std::uintptr_t>(&key);
  element.value = reinterpret_cast<std::uintptr_t>(&value);
  EXPECT_EQ(skep_bpf(first, BPF_MAP_UPDATE_ELEM, &element, sizeof element), 0);
  EXPECT_EQ(skep_bpf(second, BPF_MAP_UPDATE_ELEM, &element, sizeof element), -EINVAL);
  ::close(static_cast<int>(fd));
  skep_runtime_free(first);
  skep_runtime_free(second);
}

TEST(Library, ARuntimeMayEndBeforeItsDescriptors) {
  const std::size_t before = open_descriptors();
  skep_runtime* const runtime = skep_runtime_new(nullptr);
  skep_runtime* const other = skep_runtime_new(nullptr);
  bpf_attr create = array_of(16);
  const long fd = skep_bpf(runtime, BPF_MAP_CREATE, &create, sizeof create);
  ASSERT_GE(fd, 0);
  skep_runtime_free(runtime);
  EXPECT_GE(::fcntl(static_cast<int>(fd), F_GETFD), 0) << "it stays open";

  bpf_attr element{};
  std::uint32_t key = 0;
  std::uint64_t value = 0;
  element.map_fd = static_cast<std::uint32_t>(fd);
  element.key = reinterpret_cast<std::uintptr_t>(&key);
  element.value = reinterpret_cast<std::uintptr_t>(&value);
  EXPECT_EQ(skep_bpf(other, BPF_MAP_LOOKUP_ELEM, &element, sizeof element), -EINVAL);
  EXPECT_EQ(::close(static_cast<int>(fd)), 0);
  skep_runtime_free(other);
  skep_runtime_free(nullptr);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Library, OptionsOutOfRangeAreRefused) {
  skep_runtime_options options{};
  EXPECT_EQ(skep_runtime_new(&options), nullptr) << "the size is missing";
  EXPECT_EQ(errno, EINVAL);
  options.size = sizeof options;
  options.cpus = 257;
  errno = 0;
  EXPECT_EQ(skep_runtime_new(&options), nullptr);
  EXPECT_EQ(errno, EINVAL);
  options.cpus = 256;
  skep_runtime* const runtime = skep_runtime_new(&options);
  EXPECT_NE(runtime, nullptr);
  skep_runtime_free(runtime);

  const auto none = skep::Runtime::make({.cpus = 0});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code, EINVAL);
  const auto small = skep::Runtime::make({.memory_bytes = 1 << 20});
  ASSERT_FALSE(small.has_value());
  EXPECT_EQ(small.error().code, ENOMEM);
  EXPECT_EQ(small.error().message,
            "8192 chunks of packet memory do not fit the budget of 1048576 bytes (ENOMEM)");
}

TEST(Library, BadPointersAreErrorsNotCrashes) {
  skep_runtime* const runtime = skep_runtime_new(nullptr);
  for (const std::uintptr_t address : {std::uintptr_t{8}, ~std::uintptr_t{0}})
    EXPECT_EQ(skep_bpf(runtime, BPF_MAP_CREATE, reinterpret_cast<void*>(address), 72), -EFAULT);
  skep_runtime_free(runtime);
}

TEST(Library, NothingKeepsADescriptor) {
  const std::size_t before = open_descriptors();
  for (int round = 0; round < 3; ++round) {
    skep::Runtime runtime = make({.cpus = 2});
    taken(runtime.add_port({.name = "in", .spec = "pcap:" + captures + "client1.pcap"}));
    taken(runtime.add_port({.name = "out", .spec = "null"}));
    {
      const auto object = taken(runtime.load_object(forward_object, {}));
      taken(runtime.set_map_entry(object, "ports", "0", "out"));
      taken(runtime.attach_xdp("in", object, "forward"));
    }
    // The object is closed; what is attached stays, with its maps.
    const auto report = taken(runtime.run({}));
    EXPECT_EQ(report.ports[1].transmitted, 243U);
    EXPECT_FALSE(runtime.load_object("none.bpf.o", {}).has_value());
    EXPECT_FALSE(
        runtime.load_object(forward_object, {.globals = {{".bss", "none", "1"}}, .programs = {}})
            .has_value());
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Library, ARuntimeCanBeMoved) {
  skep::Runtime first = make();
  taken(first.add_port({.name = "in", .spec = "gen:frames=5"}));
  const auto object = taken(first.load_object(counter_object, {}));
  skep::Runtime second = std::move(first);
  taken(second.attach_xdp("in", object, "count"));
  EXPECT_EQ(taken(second.run({})).ports[0].passed, 5U);
}

TEST(Library, InputIsRepeated) {
  skep::Runtime runtime = make();
  taken(runtime.add_port({.name = "file", .spec = "pcap:" + captures + "client1.pcap"}));
  taken(runtime.add_port({.name = "made", .spec = "gen:flows=4,frames=100"}));
  taken(runtime.add_port({.name = "out", .spec = "null"}));
  const auto object = taken(runtime.load_object(forward_object, {}));
  taken(runtime.set_map_entry(object, "ports", "0", "out"));
  for (const char* const port : {"file", "made"})
    taken(runtime.attach_xdp(port, object, "forward"));

  const auto report = taken(runtime.run({.repeat = 3}));
  EXPECT_EQ(report.frames, 3U * (243 + 100));
  EXPECT_EQ(report.ports[0].received, 3U * 243);
  EXPECT_EQ(report.ports[1].received, 3U * 100);
  EXPECT_EQ(report.ports[2].transmitted, 3U * (243 + 100));
  EXPECT_EQ(report.programs[0].runs, 3U * 243);
  EXPECT_EQ(report.programs[1].runs, 3U * 100);
  EXPECT_EQ(frames_counted(runtime, object), 3U * (243 + 100));
}

// A capture begins when made-up traffic does, whatever year it was taken in: both are played
// together, and the virtual clock only moves as far as they last.
TEST(Library, CapturesAndMadeUpTrafficShareTheVirtualTime) {
  skep::Runtime runtime = make();
  taken(runtime.add_port({.name = "file", .spec = "pcap:" + captures + "client1.pcap"}));
  taken(runtime.add_port({.name = "made", .spec = "gen:flows=2,frames=1000,rate=1k"}));
  const auto object = taken(runtime.load_object(counter_object, {}));
  for (const char* const port : {"file", "made"}) taken(runtime.attach_xdp(port, object, "count"));
  const auto report = taken(runtime.run({}));
  EXPECT_EQ(report.frames, 1243U);
  EXPECT_EQ(report.ports[0].passed, 243U);
  EXPECT_EQ(report.ports[1].passed, 1000U);
  // client1.pcap lasts 1.83 s, the made-up traffic 1 s.
  EXPECT_GT(report.seconds, 1.5);
  EXPECT_LT(report.seconds, 3.0);
}

// Random damage in the type information, the same in every run: each object is taken or refused
// with a sentence. (Damage elsewhere is libelf's and libbpf's to find, see docs/threat-model.md.)
TEST(Library, DamagedTypeInformationIsNoDanger) {
  const std::string path = ::testing::TempDir() + "/skep-damaged-" + std::to_string(::getpid());
  std::mt19937_64 random(11);
  std::size_t taken_count = 0, refused_count = 0;
  const std::string sources[] = {counter_object, SKEP_TEST_OBJECTS "/globals.bpf.o",
                                 SKEP_TEST_OBJECTS "/subprograms.bpf.o"};
  for (const std::string& source : sources) {
    std::ifstream file(source, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(file), {}};
    const std::size_t types = whole.find("\x9f\xeb\x01");
    ASSERT_NE(types, std::string::npos);
    constexpr std::size_t damaged_bytes = 700;  // the header and most types
    for (int round = 0; round < 100; ++round) {
      std::string bytes = whole;
      for (std::size_t changes = 1 + random() % 3; changes != 0; --changes)
        bytes[types + random() % damaged_bytes] = static_cast<char>(random());
      std::ofstream(path, std::ios::binary) << bytes;
      skep::Runtime runtime = make({.packet_chunks = 20});
      const auto object = runtime.load_object(path, {});
      ++(object.has_value() ? taken_count : refused_count);
      if (!object.has_value()) EXPECT_NE(object.error().message, "") << object.error().code;
    }
  }
  ::unlink(path.c_str());
  EXPECT_GT(taken_count, 5U);
  EXPECT_GT(refused_count, 50U);
}

TEST(Library, OptionalProgramsAreLoadedOnRequest) {
  skep::Runtime runtime = make();
  const std::string path = SKEP_TEST_OBJECTS "/faults.bpf.o";
  const auto without = taken(runtime.load_object(path, {}));
  EXPECT_EQ(without.program_fd("ends"), -1);
  const auto with =
      taken(runtime.load_object(path, {.globals = {}, .programs = {"ends", "no_such_program"}}));
  EXPECT_GE(with.program_fd("ends"), 0);
  EXPECT_EQ(with.program_fd("read_null"), -1);
}

}  // namespace
