// SPDX-License-Identifier: Apache-2.0
// The helpers that need no hook.
#include "prog/format.hpp"
#include "prog/host_bpf_test_support.hpp"
#include "prog/program_test_support.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace skep::testing {
namespace {

using namespace uapi;

class Helpers : public ProgramTest {
 protected:
  /// Puts `bytes` at the start of the value of array map `fd`, which programs reach as `map FD +0`.
  void put(int fd, std::string_view bytes) {
    std::byte* value = *resolver_.maps[fd]->direct_value(0);
    std::memcpy(value, bytes.data(), bytes.size());
  }
  std::string get(int fd, std::size_t offset, std::size_t bytes) {
    const std::byte* value = *resolver_.maps[fd]->direct_value(0);
    return std::string(reinterpret_cast<const char*>(value) + offset, bytes);
  }
};

std::uint64_t failed(int code) { return static_cast<std::uint64_t>(-std::int64_t{code}); }

TEST_F(Helpers, MapUpdateLookupDelete) {
  make_map(3, BPF_MAP_TYPE_HASH, 4, 8, 2);
  const auto program = [](std::string_view flags, std::string_view rest) {
    return "*(u32 *)(r10 - 4) = 7; *(u64 *)(r10 - 16) = 99; r6 = r10; r6 += -4\n"
           "r1 = map 3; r2 = r6; r3 = r10; r3 += -16; r4 = " +
           std::string(flags) + "; call 2\n" + std::string(rest);
  };
  EXPECT_EQ(value_of(program("2", "exit")), failed(ENOENT));
  EXPECT_EQ(value_of(program("0", "exit")), 0U);
  EXPECT_EQ(value_of(program("1", "exit")), failed(EEXIST));
  EXPECT_EQ(value_of(program("99", "exit")), failed(EINVAL));
  EXPECT_EQ(value_of(program("0", "r1 = map 3; r2 = r6; call 1; r0 = *(u64 *)(r0 + 0); exit")),
            99U);
  EXPECT_EQ(value_of(program("0", "r1 = map 3; r2 = r6; call 3; exit")), 0U);
  EXPECT_EQ(value_of("*(u32 *)(r10 - 4) = 7; r1 = map 3; r2 = r10; r2 += -4; call 3; exit"),
            failed(ENOENT));
}

TEST_F(Helpers, PerCpuValues) {
  make_map(3, BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 1);
  constexpr std::string_view key = "*(u32 *)(r10 - 4) = 0; r1 = map 3; r2 = r10; r2 += -4;";
  EXPECT_EQ(value_of(std::string(key) + "call 1; *(u64 *)(r0 + 0) = 5; r0 = 0; exit"), 0U);
  EXPECT_EQ(value_of(std::string(key) + "r3 = 0; call 195; r0 = *(u64 *)(r0 + 0); exit"), 5U);
  EXPECT_EQ(value_of(std::string(key) + "r3 = 1; call 195; r0 = *(u64 *)(r0 + 0); exit"), 0U);
  EXPECT_EQ(value_of(std::string(key) + "r3 = 2; call 195; exit"), 0U);
}

TEST_F(Helpers, ClocksFollowTheRuntime) {
  clock_.advance_to(5'000'000'000);
  EXPECT_EQ(value_of("call 5; exit"), clock_.monotonic_ns());
  EXPECT_EQ(value_of("call 125; exit"), clock_.boottime_ns());
  EXPECT_EQ(value_of("call 160; exit"), clock_.monotonic_ns());
  EXPECT_EQ(value_of("call 208; exit"), clock_.tai_ns());
  EXPECT_EQ(value_of("call 118; exit"), clock_.monotonic_ns() / 4'000'000);
}

TEST_F(Helpers, PlaceAndRandomNumbers) {
  EXPECT_EQ(value_of("call 8; exit"), 0U);
  EXPECT_EQ(value_of("call 42; exit"), 0U);
  const std::uint64_t first = value_of("call 7; exit");
  const std::uint64_t second = value_of("call 7; exit");
  EXPECT_NE(first, second);
  EXPECT_LE(first, 0xffff'ffffU);
  // The same seed gives the same numbers.
  CpuSlots again(2, clock_, 1);
  const SlotGuard slot = again.enter(0);
  EXPECT_EQ(slot->random().next_u32(), first);
}

TEST_F(Helpers, TracePrintk) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 64, 1);
  const auto print = [&](std::string_view format, std::string_view arguments) {
    put(3, std::string(format) + '\0');
    return value_of("r1 = map 3 +0; r2 = " + std::to_string(format.size() + 1) + "\n" +
                    std::string(arguments) + "\ncall 6; exit");
  };
  EXPECT_EQ(print("hello\n", "r3 = 0; r4 = 0; r5 = 0"), 6U);
  EXPECT_EQ(print("%d %u %x", "r3 = -1; r4 = -1; r5 = 255"), 16U);
  EXPECT_EQ(print("%lld %llx %%", "r3 = -1; r4 = -1; r5 = 0"), 21U);
  EXPECT_EQ(print("%5d|%-5d|%05d", "r3 = 42; r4 = 42; r5 = -42"), 17U);
  EXPECT_EQ(print("%c%c%c", "r3 = 97; r4 = 98; r5 = 99"), 3U);
  EXPECT_EQ(
      print("%pI4 %pi4", "*(u32 *)(r10 - 4) = 0x0100a8c0; r3 = r10; r3 += -4; r4 = r3; r5 = 0"),
      27U);
  EXPECT_EQ(
      print("%pI6 %pi6",
            "*(u64 *)(r10 - 16) = 1; *(u64 *)(r10 - 8) = 2; r3 = r10; r3 += -16; r4 = r3; r5 = 0"),
      72U);
  EXPECT_EQ(print("[%s]", "*(u32 *)(r10 - 4) = 0x00636261; r3 = r10; r3 += -4; r4 = 0; r5 = 0"),
            5U);
  EXPECT_EQ(print("[%s] %pI4", "r3 = 5; r4 = 6; r5 = 0"), 10U);  // addresses that are none
  EXPECT_EQ(trace_.lines,
            (std::vector<std::string>{
                "test: hello",
                "test: -1 4294967295 ff",
                "test: -1 ffffffffffffffff %",
                "test:    42|42   |-0042",
                "test: abc",
                "test: 192.168.0.1 192.168.000.001",
                "test: 0100:0000:0000:0000:0200:0000:0000:0000 01000000000000000200000000000000",
                "test: [abc]",
                "test: [] 0.0.0.0",
            }));
  trace_.lines.clear();
  for (const std::string_view bad :
       {"%q", "%", "%l", "%pI5", "%pZ", "%d %d %d %d", "\x01", "\xff", "%f", "%ld%"})
    EXPECT_EQ(print(bad, "r3 = 0; r4 = 0; r5 = 0"), failed(EINVAL)) << bad;
  // No NUL inside the size given.
  put(3, "abcd");
  EXPECT_EQ(value_of("r1 = map 3 +0; r2 = 4; r3 = 0; r4 = 0; r5 = 0; call 6; exit"),
            failed(EINVAL));
  EXPECT_EQ(trace_.lines.size(), 0U);
}

TEST_F(Helpers, FormatsAreBounded) {
  // A format may be as long as a map value, but what a run takes for its text is no such memory.
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 1U << 20, 1);
  put(3, std::string(70'000, 'a'));
  EXPECT_EQ(value_of("r1 = map 3 +0; r2 = 80000; r3 = 0; r4 = 0; r5 = 0; call 6; exit"),
            failed(EINVAL));
  EXPECT_EQ(value_of("r1 = 0; r2 = 0; r3 = map 3 +0; r4 = 0; r5 = 0; call 165; exit"),
            failed(EINVAL));
  put(3, std::string(1000, 'a') + '\0');
  EXPECT_EQ(value_of("r1 = map 3 +0; r2 = 80000; r3 = 0; r4 = 0; r5 = 0; call 6; exit"), 1000U);
  EXPECT_EQ(value_of("r1 = 0; r2 = 0; r3 = map 3 +0; r4 = 0; r5 = 0; call 165; exit"), 1001U);
}

TEST_F(Helpers, TraceVprintk) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 64, 1);
  put(3, std::string("%d %d %d %d\0", 12));
  const auto program = [](std::string_view size) {
    return "*(u64 *)(r10 - 8) = 4; *(u64 *)(r10 - 16) = 3; *(u64 *)(r10 - 24) = 2; *(u64 *)(r10 - "
           "32) = 1\n"
           "r1 = map 3 +0; r2 = 12; r3 = r10; r3 += -32; r4 = " +
           std::string(size) + "; call 177; exit";
  };
  EXPECT_EQ(value_of(program("32")), 7U);
  EXPECT_EQ(trace_.lines.back(), "test: 1 2 3 4");
  EXPECT_EQ(value_of(program("24")), failed(EINVAL));  // too few
  EXPECT_EQ(value_of(program("12")), failed(EINVAL));  // not a multiple of 8
}

TEST_F(Helpers, Snprintf) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 64, 1);
  put(3, std::string("n=%d\0", 5));
  const auto program = [](std::string_view room) {
    return "*(u64 *)(r10 - 8) = 1234; *(u64 *)(r10 - 16) = -1\n"
           "r1 = r10; r1 += -16; r2 = " +
           std::string(room) +
           "; r3 = map 3 +0; r4 = r10; r4 += -8; r5 = 8; call 165; r6 = r0\n"
           "r0 = *(u64 *)(r10 - 16); r0 <<= 8; r0 |= r6; exit";
  };
  EXPECT_EQ(value_of(program("7")) & 0xff, 7U);
  EXPECT_EQ(value_of(program("4")),
            0xffffff00313d6e07U);  // "n=1" and its NUL; the rest is untouched
}

TEST_F(Helpers, Strncmp) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 64, 1);
  put(3, std::string("abc\0abd\0abc", 11));
  const auto compare = [&](int a, int size, int b) {
    return static_cast<std::int64_t>(value_of("r1 = map 3 +" + std::to_string(a) +
                                              "; r2 = " + std::to_string(size) + "; r3 = map 3 +" +
                                              std::to_string(b) + "; call 182; exit"));
  };
  EXPECT_LT(compare(0, 4, 4), 0);
  EXPECT_GT(compare(4, 4, 0), 0);
  EXPECT_EQ(compare(0, 2, 4), 0);
  EXPECT_EQ(compare(0, 4, 8), 0);
}

TEST_F(Helpers, NumbersFromText) {
  make_map(3, BPF_MAP_TYPE_ARRAY, 4, 64, 1);
  const auto parse = [&](std::string_view text, int helper, int flags) {
    put(3, std::string(text) + std::string(64 - text.size(), '\0'));
    const std::string size = std::to_string(text.size());
    const std::string call = "r1 = map 3 +0; r2 = " + size + "; r3 = " + std::to_string(flags) +
                             "; r4 = r10; r4 += -8; call " + std::to_string(helper) + ";";
    const std::uint64_t used = value_of(call + "exit");
    return std::pair(used, value_of(call + "r0 = *(u64 *)(r10 - 8); exit"));
  };
  using Answer = std::pair<std::uint64_t, std::uint64_t>;
  EXPECT_EQ(parse("123", 105, 0), Answer(3, 123));
  EXPECT_EQ(parse("  -12x", 105, 10), Answer(5, failed(12)));
  EXPECT_EQ(parse("0x1f", 105, 0), Answer(4, 0x1f));
  EXPECT_EQ(parse("0x1f", 106, 16), Answer(4, 0x1f));
  EXPECT_EQ(parse("017", 106, 0), Answer(3, 15));
  EXPECT_EQ(parse("18446744073709551615", 106, 10), Answer(20, ~0ULL));
  EXPECT_EQ(parse("-9223372036854775808", 105, 10), Answer(20, 1ULL << 63));
  EXPECT_EQ(parse("18446744073709551616", 106, 10).first, failed(ERANGE));
  EXPECT_EQ(parse("9223372036854775808", 105, 10).first, failed(ERANGE));
  EXPECT_EQ(parse("-1", 106, 10).first, failed(EINVAL));
  EXPECT_EQ(parse("x", 105, 10).first, failed(EINVAL));
  EXPECT_EQ(parse("1", 105, 7).first, failed(EINVAL));
  EXPECT_EQ(parse("1", 105, 64).first, failed(EINVAL));
}

struct Checksum {
  std::uint32_t from_bytes, to_bytes, seed;
};

std::string csum_program(const Checksum& c) {
  std::string program;
  for (int n = 0; n < 16; ++n)
    program +=
        "*(u32 *)(r10 - " + std::to_string(64 - 4 * n) + ") = " +
        std::to_string(static_cast<std::int32_t>(0x9e3779b9U * static_cast<unsigned>(n + 1))) +
        "\n";
  const auto side = [](const char* reg, const char* size, std::uint32_t bytes, int at) {
    if (bytes == 0) return std::string(reg) + " = 0; " + size + " = 0\n";
    return std::string(reg) + " = r10; " + reg + " += -" + std::to_string(at) + "; " + size +
           " = " + std::to_string(bytes) + "\n";
  };
  program += side("r1", "r2", c.from_bytes, 64) + side("r3", "r4", c.to_bytes, 32);
  return program + "w5 = " + std::to_string(static_cast<std::int32_t>(c.seed)) + "\ncall 28\nexit";
}

TEST_F(Helpers, ChecksumDifference) {
  EXPECT_EQ(value_of("*(u32 *)(r10 - 4) = 0x00010002; r1 = 0; r2 = 0; r3 = r10; r3 += -4; r4 = 4; "
                     "r5 = 3; call 28; exit"),
            6U);
  if (const auto reason = host_refusal()) GTEST_SKIP() << *reason;
  for (const Checksum& c : {Checksum{4, 0, 0},
                            {0, 4, 0},
                            {16, 16, 0},
                            {32, 12, 0xffff},
                            {12, 32, 0xffffffff},
                            {32, 32, 0x12345678},
                            {4, 4, 0x8000ffff},
                            {1, 0, 0},
                            {0, 3, 7},
                            {7, 30, 0xfffe},
                            {31, 2, 0x10000}}) {
    const std::string program = csum_program(c);
    std::string log;
    const int fd = host_load(assemble(program).instructions, BPF_PROG_TYPE_XDP, &log);
    ASSERT_GE(fd, 0) << log;
    const auto expected = host_run(fd);
    ::close(fd);
    EXPECT_EQ(static_cast<std::uint32_t>(value_of(program)), expected) << program;
  }
}

TEST_F(Helpers, LoopLimits) {
  const auto program = [&](std::string_view rounds, std::string_view flags) {
    Result<Ref<Program>> loaded = load_with_functions(
        "r1 = " + std::string(rounds) + "; r2 = func f; r3 = 0; r4 = " + std::string(flags) +
            "; call 181; exit; f: r0 = 0; exit",
        2);
    EXPECT_OK(loaded) << log_text_;
    return run(**loaded).value;
  };
  EXPECT_EQ(program("0", "0"), 0U);
  EXPECT_EQ(program("100", "0"), 100U);
  EXPECT_EQ(program("8388609", "0"), failed(E2BIG));
  EXPECT_EQ(program("1", "1"), failed(EINVAL));
}

TEST_F(Helpers, UnknownIdsHaveNoHelper) {
  EXPECT_EQ(base_helper(0), nullptr);
  EXPECT_EQ(base_helper(4), nullptr);
  EXPECT_EQ(base_helper(211), nullptr);
  EXPECT_EQ(base_helper(~0U), nullptr);
  for (std::uint32_t id = 0; id < 212; ++id)
    if (const Helper* helper = base_helper(id)) EXPECT_EQ(helper->id, id);
}

}  // namespace
}  // namespace skep::testing
