// SPDX-License-Identifier: Apache-2.0
// A small world for programs under test: a runtime's parts, a program type with a packet, and
// loading from text.
#pragma once

#include "prog/assembler_test_support.hpp"
#include "prog/program.hpp"
#include "prog/run.hpp"
#include "prog/socket_filter.hpp"
#include "rcu/rcu.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skep::testing {

/// Like xdp_md: packet start at 0, end at 4 (both read with 4 bytes, giving whole addresses); a
/// number that can be read and written at 16.
class TestContext final : public Context {
 public:
  explicit TestContext(std::vector<std::byte> packet = std::vector<std::byte>(64))
      : packet_bytes_(std::move(packet)) {
    window_ = {packet_bytes_.data(), packet_bytes_.data() + packet_bytes_.size()};
  }
  std::optional<std::uint64_t> load(std::uint32_t offset, std::uint32_t bytes) const override {
    if (bytes != 4) return std::nullopt;
    if (offset == 0) return reinterpret_cast<std::uint64_t>(window_.begin);
    if (offset == 4) return reinterpret_cast<std::uint64_t>(window_.end);
    if (offset == 16) return mark;
    return std::nullopt;
  }
  bool store(std::uint32_t offset, std::uint32_t bytes, std::uint64_t value) override {
    if (offset != 16 || bytes != 4) return false;
    mark = static_cast<std::uint32_t>(value);
    return true;
  }
  Window packet() const override { return window_; }
  /// Cuts `bytes` off the front.
  void shrink(std::uint64_t bytes) { window_.begin += bytes; }
  std::byte* data() { return window_.begin; }

  std::uint32_t mark = 0;

 private:
  std::vector<std::byte> packet_bytes_;
  Window window_;
};

/// Type 6 with the base helpers, and 44: shrink(ctx, bytes), 51: fill(memory, size), 54:
/// read_u32(pointer to u32).
class TestProgramType final : public ProgramType {
 public:
  TestProgramType() : ProgramType(uapi::BPF_PROG_TYPE_XDP, "xdp") {}
  std::uint32_t context_bytes() const override { return 24; }
  const Helper* helper(std::uint32_t id) const override;
  bool allows_packet_loads() const override { return packet_loads; }

  bool packet_loads = false;
};

class TraceLines final : public TraceSink {
 public:
  void write(std::string_view prog, std::uint32_t /*cpu*/, std::uint64_t /*time_ns*/,
             std::string_view text) override {
    lines.push_back(std::string(prog) + ": " + std::string(text));
  }
  std::vector<std::string> lines;
};

/// Maps by descriptor; descriptor n is also index n of the fd_array.
class TestResolver final : public MapResolver {
 public:
  Result<Ref<Map>> map_by_fd(int fd) override {
    const auto found = maps.find(fd);
    if (found == maps.end()) return Errno{EBADF};
    return found->second;
  }
  Result<Ref<Map>> map_by_index(std::uint32_t index) override {
    if (!has_fd_array) return Errno{EPROTO};
    return map_by_fd(static_cast<int>(index));
  }
  std::map<int, Ref<Map>> maps;
  bool has_fd_array = false;
};

class ProgramTest : public ::testing::Test {
 protected:
  ProgramTest() {
    types_.add(type_);
    types_.add(socket_filter_);
    add_memory_map_types(map_types_);
    add_program_map_types(map_types_);
  }
  ~ProgramTest() override {
    resolver_.maps.clear();
    rcu::barrier();
    EXPECT_EQ(budget_.used_bytes(), 0U) << "a program or map outlived its last reference";
  }

  /// Makes a map and gives it the descriptor `fd`.
  Map& make_map(int fd, std::uint32_t type, std::uint32_t key_bytes, std::uint32_t value_bytes,
                std::uint32_t max_entries, std::uint32_t flags = 0, Record record = {}) {
    const MapType& map_type = *map_types_.find(type);
    MapSpec spec{.type = type,
                 .key_bytes = key_bytes,
                 .value_bytes = value_bytes,
                 .max_entries = max_entries,
                 .flags = flags,
                 .name = "map" + std::to_string(fd),
                 .record = record};
    Result<Ref<Map>> map = map_type.make(map_type, std::move(spec), {slots_, budget_, random_});
    EXPECT_OK(map);
    Map& made = **map;
    resolver_.maps[fd] = std::move(*map);
    return made;
  }

  Result<Ref<Program>> load(ProgramSpec spec) {
    Log log(log_level_);
    Result<Ref<Program>> program = Program::load(std::move(spec), resolver_, environment_, log);
    log_text_ = log.text();
    return program;
  }
  ProgramSpec spec_of(std::string_view text) {
    Assembled assembled = assemble(text);
    EXPECT_EQ(assembled.error, "");
    return {.type = &type_,
            .name = "test",
            .license = "GPL",
            .instructions = std::move(assembled.instructions)};
  }
  Result<Ref<Program>> load(std::string_view text) { return load(spec_of(text)); }

  /// Loads, with one static function per subprogram so that callbacks are accepted.
  Result<Ref<Program>> load_with_functions(std::string_view text, std::size_t functions);

  Outcome run(const Program& program, Context& context) {
    const SlotGuard slot = slots_.enter(0);
    const rcu::ReadGuard guard;
    return program.run(*slot, context);
  }
  Outcome run(const Program& program) {
    TestContext context;
    return run(program, context);
  }
  /// Loads and runs; the value of a run without fault.
  std::uint64_t value_of(std::string_view text) {
    Result<Ref<Program>> program = load(text);
    EXPECT_OK(program) << log_text_ << text;
    if (!program) return ~0ULL;
    const Outcome outcome = run(**program);
    if (outcome.faulted) ADD_FAILURE() << (*program)->last_fault()->describe() << "\n" << text;
    return outcome.value;
  }
  /// Loads and runs; the fault that ended the run.
  Fault fault_of(std::string_view text) {
    Result<Ref<Program>> program = load(text);
    EXPECT_OK(program) << log_text_ << text;
    if (!program) return {};
    return fault_of(**program);
  }
  Fault fault_of(const Program& program) {
    const Outcome outcome = run(program);
    EXPECT_TRUE(outcome.faulted);
    EXPECT_EQ(outcome.value, 0U);
    return program.last_fault().value_or(Fault{});
  }

  VirtualClock clock_;
  CpuSlots slots_{2, clock_, 1};
  Budget budget_{256U << 20};
  Random random_{1, 0};
  TestProgramType type_;
  SocketFilterType socket_filter_;
  ProgramTypes types_;
  MapTypes map_types_;
  TraceLines trace_;
  ProgramEnvironment environment_{
      .slots = slots_, .budget = budget_, .types = types_, .trace = trace_};
  TestResolver resolver_;
  std::uint32_t log_level_ = Log::errors;
  std::string log_text_;
};

/// BTF with one FUNC per item of `globals` (false: static), all `int f(void)`. Type ids start at 3;
/// strings: offset 1 is "f0", and so on.
Ref<Btf> functions_btf(Budget& budget, const std::vector<bool>& globals);

}  // namespace skep::testing
