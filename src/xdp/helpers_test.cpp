// SPDX-License-Identifier: Apache-2.0
// Each helper through test runs, here and on the kernel of this machine (numbers observed on 6.18).
#include "xdp/helpers.hpp"

#include "xdp/test_run_testing.hpp"

#include <gtest/gtest.h>

namespace skep::testing {
namespace {

class HelperTest : public TestRunTest {
 protected:
  /// The helper's result, and the length of the packet that came out (metadata included).
  struct Expected {
    std::int32_t result;
    std::uint32_t bytes;
  };
  void expect(int helper, std::int64_t argument, std::size_t packet_bytes, Expected expected) {
    SCOPED_TRACE(::testing::Message()
                 << "helper " << helper << " by " << argument << " on " << packet_bytes);
    const RunResult result =
        run({.instructions = call_with(helper, argument), .data = numbered(packet_bytes)});
    EXPECT_EQ(result.error, 0);
    EXPECT_EQ(static_cast<std::int32_t>(result.retval), expected.result);
    EXPECT_EQ(result.bytes, expected.bytes);
  }
};

TEST_F(HelperTest, AdjustHead) {
  expect(adjust_head_id, -216, 64, {0, 280});
  expect(adjust_head_id, -217, 64, {-EINVAL, 64});
  expect(adjust_head_id, 50, 64, {0, 14});
  expect(adjust_head_id, 51, 64, {-EINVAL, 64});
  expect(adjust_head_id, 0, 64, {0, 64});
  expect(adjust_head_id, 0x7fffffff, 64, {-EINVAL, 64});
  expect(adjust_head_id, -0x7fffffff, 64, {-EINVAL, 64});
  expect(adjust_head_id, 3506, 9000, {0, 9000 - 3506});
  expect(adjust_head_id, 3507, 9000, {-EINVAL, 9000});
}

TEST_F(HelperTest, AdjustTailOfALinearPacket) {
  expect(adjust_tail_id, 3456, 64, {0, 3520});
  expect(adjust_tail_id, 3457, 64, {-EINVAL, 64});
  expect(adjust_tail_id, -50, 64, {0, 14});
  expect(adjust_tail_id, -51, 64, {-EINVAL, 64});
  expect(adjust_tail_id, 0x7fffffff, 64, {-EINVAL, 64});
  expect(adjust_tail_id, -0x7fffffff - 1, 64, {-EINVAL, 64});
}

TEST_F(HelperTest, AdjustTailOfAFragmentedPacket) {
  expect(adjust_tail_id, 2712, 9000, {0, 11712});
  expect(adjust_tail_id, 2713, 9000, {-EINVAL, 9000});
  expect(adjust_tail_id, 4096, 9001, {-EINVAL, 9001});
  expect(adjust_tail_id, 0, 9000, {0, 9000});
  expect(adjust_tail_id, 10, 9000, {0, 9010});
  expect(adjust_tail_id, -10, 9000, {0, 8990});
  expect(adjust_tail_id, -1384, 9000, {0, 7616});
  expect(adjust_tail_id, -4100, 9000, {0, 4900});
  expect(adjust_tail_id, -5480, 9000, {0, 3520});
  expect(adjust_tail_id, -8200, 9000, {0, 800});
  expect(adjust_tail_id, -8986, 9000, {0, 14});
  expect(adjust_tail_id, -8987, 9000, {-EINVAL, 9000});
  expect(adjust_tail_id, -0x7fffffff, 9000, {-EINVAL, 9000});
  expect(adjust_tail_id, -0x7fffffff - 1, 9000, {0, 9000});
}

TEST_F(HelperTest, GrowthIsZeroFilledEvenWhereBytesWereBefore) {
  const Instructions shrink_and_grow = mov_reg(6, 1) + mov(2, -40) + call(adjust_tail_id) +
                                       mov_reg(1, 6) + call_with(adjust_tail_id, 60);
  for (const std::size_t bytes : {100, 9000}) {
    const RunResult result = run({.instructions = shrink_and_grow, .data = numbered(bytes)});
    EXPECT_EQ(result.retval, 0u);
    EXPECT_EQ(result.bytes, bytes + 20);
  }
}

TEST_F(HelperTest, AdjustMeta) {
  expect(adjust_meta_id, -216, 64, {0, 280});
  expect(adjust_meta_id, -220, 64, {-EINVAL, 64});
  expect(adjust_meta_id, -1, 64, {-EACCES, 64});
  expect(adjust_meta_id, -2, 64, {-EACCES, 64});
  expect(adjust_meta_id, 4, 64, {-EINVAL, 64});
  expect(adjust_meta_id, 0, 64, {0, 64});
  expect(adjust_meta_id, 0x7fffffff, 64, {-EINVAL, 64});
  expect(adjust_meta_id, -8, 9000, {0, 9008});
}

TEST_F(HelperTest, MetadataMovesWithTheHead) {
  // Metadata of 16 bytes with a mark in it, then the head.
  const auto program = [](int head) {
    Instructions p = mov_reg(6, 1) + mov(2, -16) + call(adjust_meta_id) +
                     ldx(uapi::BPF_W, 2, 6, 8) + ldx(uapi::BPF_W, 3, 6, 0) + mov_reg(4, 2) +
                     add(4, 16);
    // The kernel's verifier wants to see that 16 bytes are there.
    p = p + insn(uapi::BPF_JMP | uapi::BPF_JGT | uapi::BPF_X, 4, 3, 2, 0) +
        st(uapi::BPF_W, 2, 0, 0x11223344) + st(uapi::BPF_W, 2, 12, 0x55667788);
    return p + mov_reg(1, 6) + call_with(adjust_head_id, head);
  };
  for (const int head : {-200, -201, -4, -16, 4, 8, 50}) {
    SCOPED_TRACE(head);
    const RunResult result = run({.instructions = program(head), .data = numbered(64)});
    const bool fits = head >= -200;
    EXPECT_EQ(static_cast<std::int32_t>(result.retval), fits ? 0 : -EINVAL);
    EXPECT_EQ(result.bytes, static_cast<std::uint32_t>(80 - (fits ? head : 0)));
    ASSERT_GE(result.data.size(), 16u);
    EXPECT_EQ(result.data[0], std::byte{0x44});
    EXPECT_EQ(result.data[15], std::byte{0x55});
  }
}

TEST_F(HelperTest, BuffLengthCountsFragments) {
  for (const std::size_t bytes : {14, 64, 3520, 3521, 9000, 73152}) {
    const RunResult result =
        run({.instructions = call(get_buff_len_id) + exit_program(), .data = numbered(bytes)});
    EXPECT_EQ(result.retval, bytes);
  }
}

// Loads 16 bytes, changes the first and the last and stores them again.
TEST_F(HelperTest, LoadAndStoreBytesCrossFragments) {
  for (const int offset : {0, 16, 3504, 3510, 3520, 5000, 7606, 7616, 8984, 8985, 9000}) {
    SCOPED_TRACE(offset);
    const Instructions buffer =
        mov_reg(1, 6) + mov(2, offset) + mov_reg(3, 10) + add(3, -16) + mov(4, 16);
    const Instructions program =
        mov_reg(6, 1) + st(uapi::BPF_DW, 10, -16, 0) + st(uapi::BPF_DW, 10, -8, 0) + buffer +
        call(load_bytes_id) + mov_reg(7, 0) + st(uapi::BPF_B, 10, -16, 0x42) +
        st(uapi::BPF_B, 10, -1, 0x43) + buffer + call(store_bytes_id) +
        insn(uapi::BPF_ALU64 | uapi::BPF_ADD | uapi::BPF_X, 0, 7, 0, 0) + exit_program();
    const Bytes packet = numbered(9000);
    const RunResult result = run({.instructions = program, .data = packet});
    const bool inside = offset + 16 <= 9000;
    EXPECT_EQ(static_cast<std::int32_t>(result.retval), inside ? 0 : -2 * EINVAL);
    Bytes expected = packet;
    if (inside) {
      expected[offset] = std::byte{0x42};
      expected[offset + 15] = std::byte{0x43};
    }
    Bytes got = result.data;
    got.resize(9000);
    EXPECT_EQ(got, expected);
  }
}

TEST_F(HelperTest, LoadBytesBoundsItsArguments) {
  const auto load_at = [](std::int64_t offset) {
    Instructions p = mov(2, offset) + mov_reg(3, 10) + add(3, -64) + mov(4, 64);
    for (int at = -64; at < 0; at += 8) p = p + st(uapi::BPF_DW, 10, at, 0);
    return p + call(load_bytes_id) + exit_program();
  };
  const auto result_of = [&](std::int64_t offset, std::size_t bytes) {
    return static_cast<std::int32_t>(
        run({.instructions = load_at(offset), .data = numbered(bytes)}).retval);
  };
  EXPECT_EQ(result_of(65535, 73000), 0);
  EXPECT_EQ(result_of(65536, 73000), -EFAULT);
  EXPECT_EQ(result_of(66000, 73000), -EFAULT);
  EXPECT_EQ(result_of(-1, 73000), -EFAULT);
  EXPECT_EQ(result_of(1, 64), -EINVAL);
  EXPECT_EQ(result_of(0, 64), 0);
}

// The kernel refuses such programs. Source and destination would overlap.
TEST_F(HelperTest, LoadAndStoreBytesTakeNoPacketMemory) {
  for (const int helper : {load_bytes_id, store_bytes_id}) {
    const Instructions program = ldx(uapi::BPF_W, 3, 1, offsetof(uapi::xdp_md, data)) + add(3, 1) +
                                 mov(2, 0) + mov(4, 32) + call(helper) + exit_program();
    const RunResult result = run({.instructions = program, .data = numbered(64)});
    EXPECT_EQ(static_cast<std::int32_t>(result.retval), -EFAULT);
    EXPECT_EQ(result.data, numbered(64));
  }
}

TEST_F(HelperTest, CheckMtu) {
  /// The result in the low half, the number written back above (65536 is loopback's).
  const auto check = [&](std::int64_t ifindex, std::int64_t mtu, std::int64_t difference,
                         std::int64_t flags, bool result) {
    const Instructions program =
        st(uapi::BPF_W, 10, -4, mtu) + mov(2, ifindex) + mov_reg(3, 10) + add(3, -4) +
        mov(4, difference) + mov(5, flags) + call(check_mtu_id) +
        (result ? Instructions{} : ldx(uapi::BPF_W, 0, 10, -4)) + exit_program();
    return static_cast<std::int32_t>(run({.instructions = program, .data = numbered(9000)}).retval);
  };
  struct Case {
    std::int64_t ifindex, mtu, difference, flags;
    std::int32_t result, written;
  };
  constexpr Case cases[] = {
      {0, 0, 0, 0, 0, 65536},
      {1, 0, 0, 0, 0, 65536},
      {1, 0, 0, 1, -EINVAL, 0},
      {1, 7, 0, 4, -EINVAL, 7},
      {999'999, 7, 0, 0, -ENODEV, 7},
      {1, 65536, 0, 0, 0, 65536},
      {1, 65537, 0, 0, 1, 65536},
      {1, 65000, 536, 0, 0, 65536},
      {1, 65000, 537, 0, 1, 65536},
      {1, 65537, -1, 0, 0, 65536},
      // The linear part alone counts: 3520 bytes of 9000.
      {1, 0, 65550 - 3520, 0, 0, 65536},
      {1, 0, 65551 - 3520, 0, 1, 65536},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message()
                 << c.ifindex << ' ' << c.mtu << ' ' << c.difference << ' ' << c.flags);
    EXPECT_EQ(check(c.ifindex, c.mtu, c.difference, c.flags, true), c.result);
    EXPECT_EQ(check(c.ifindex, c.mtu, c.difference, c.flags, false), c.written);
  }
}

TEST_F(HelperTest, RedirectInATestRunOnlyReturns) {
  const auto redirect = [&](std::int64_t ifindex, std::int64_t flags) {
    return run({.instructions =
                    mov(1, ifindex) + mov(2, flags) + call(redirect_id) + exit_program()})
        .retval;
  };
  EXPECT_EQ(redirect(1, 0), uapi::XDP_REDIRECT);
  EXPECT_EQ(redirect(999'999, 0), uapi::XDP_REDIRECT) << "the device is not looked up";
  EXPECT_EQ(redirect(1, 1), uapi::XDP_ABORTED);
}

TEST_F(HelperTest, TheKernelAgreedWhereItWasAsked) {
  expect(adjust_head_id, 1, 64, {0, 63});
  if (compared_ == 0)
    GTEST_SKIP() << "not compared with this machine's kernel: " << refused_because_;
}

TEST_F(HelperTest, TheTableHasWhatXdpProgramsHave) {
  for (const int id : {23, 44, 51, 54, 65, 163, 188, 189, 190}) {
    const Helper* const helper = xdp_type_.helper(static_cast<std::uint32_t>(id));
    ASSERT_NE(helper, nullptr) << id;
    EXPECT_EQ(helper->id, static_cast<std::uint32_t>(id));
    EXPECT_EQ(helper->changes_packet, id == 44 || id == 54 || id == 65);
  }
  EXPECT_NE(xdp_type_.helper(1), nullptr);
  EXPECT_EQ(xdp_type_.helper(26), nullptr) << "skb_load_bytes";
  EXPECT_EQ(xdp_type_.helper(0), nullptr);
}

TEST_F(HelperTest, RedirectMapTakesDevicesOnly) {
  const int array = caller_->open(*make_map(uapi::BPF_MAP_TYPE_ARRAY, 4, 1));
  const auto program = try_load(map_address(1, array) + mov(2, 0) + mov(3, 0) +
                                call(redirect_map_id) + exit_program());
  if (!program) {
    EXPECT_EQ(program.error().code, EINVAL);
    return;
  }
  const TestPort in = add_port("in");
  ASSERT_OK(xdp_->attach(*in.device, *program));
  receive(*in.device, {Bytes(60)});
  EXPECT_EQ(in.drops(DropReason::xdp_fault), 1u);
}

TEST_F(HelperTest, ProgramsReadEntriesButDoNotWriteThem) {
  const TestPort in = add_port("in");
  const Ref<Map> map = devmap(2);
  const int fd = caller_->open(map);
  ASSERT_OK(update(*map, 1, in.ifindex()));
  const auto look_up = [&](int key, const Instructions& then) {
    return st(uapi::BPF_W, 10, -4, key) + map_address(1, fd) + mov_reg(2, 10) + add(2, -4) +
           call(map_lookup_elem) + if_equal(0, 0, return_value(77)) + then + exit_program();
  };
  EXPECT_EQ(run_here({.instructions = look_up(1, ldx(uapi::BPF_W, 0, 0, 0))}).retval, in.ifindex());
  EXPECT_EQ(run_here({.instructions = look_up(0, mov(0, 1))}).retval, 77u);
  const auto writer = try_load(look_up(1, st(uapi::BPF_W, 0, 0, 5)));
  if (writer) {
    ASSERT_OK(xdp_->attach(*in.device, *writer));
    receive(*in.device, {Bytes(60)});
    EXPECT_EQ(in.drops(DropReason::xdp_fault), 1u);
  } else {
    EXPECT_EQ(writer.error().code, EACCES);
  }
  EXPECT_EQ(lookup(*map, 1)->ifindex, in.ifindex());
}

}  // namespace
}  // namespace skep::testing
