// SPDX-License-Identifier: Apache-2.0
// Test runs, here and on the kernel of this machine (numbers observed on 6.18).
#include "xdp/test_run.hpp"

#include "xdp/test_run_testing.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace skep::testing {
namespace {

using uapi::XDP_ABORTED, uapi::XDP_DROP, uapi::XDP_PASS, uapi::XDP_REDIRECT, uapi::XDP_TX;
using Bulks = std::vector<Diary::Bulk>;
constexpr std::uint32_t live_flag = uapi::BPF_F_TEST_XDP_LIVE_FRAMES;

Bytes context(uapi::xdp_md md, std::size_t bytes = sizeof(uapi::xdp_md)) {
  Bytes context(std::max(bytes, sizeof(md)));
  std::memcpy(context.data(), &md, sizeof(md));
  context.resize(bytes);
  return context;
}

class XdpTestRunTest : public TestRunTest {
 protected:
  static Instructions pass() { return return_value(XDP_PASS); }
  int error_of(const RunRequest& request) { return run(request).error; }
  /// Frames of a live run are dropped, so that the kernel of this machine may do it too.
  RunResult live_drop(RunRequest request) {
    request.instructions = return_value(XDP_DROP);
    request.flags = live_flag;
    request.wants_data = false;
    return run(request);
  }
};

// ---- normal mode
// ---------------------------------------------------------------------------------------------------

TEST_F(XdpTestRunTest, TheReturnValueComesBackUnchanged) {
  for (const std::int64_t value : {0, 1, 2, 3, 4, 5, 99, -5}) {
    const RunResult result = run({.instructions = return_value(value), .data = numbered(64)});
    EXPECT_EQ(result.error, 0);
    EXPECT_EQ(result.retval, static_cast<std::uint32_t>(value));
    EXPECT_EQ(result.bytes, 64u);
    EXPECT_EQ(result.data, numbered(64));
  }
}

TEST_F(XdpTestRunTest, Sizes) {
  struct Case {
    std::uint32_t bytes;
    int error;
  };
  for (const std::uint32_t flags : {0U, uapi::BPF_F_XDP_HAS_FRAGS}) {
    for (const Case c : {Case{1, EINVAL},
                         {13, EINVAL},
                         {14, 0},
                         {3520, 0},
                         {3521, 0},
                         {73152, 0},
                         {73153, ENOMEM},
                         {77248, ENOMEM}}) {
      const RunResult result =
          run({.instructions = pass(), .data = numbered(c.bytes), .load_flags = flags});
      EXPECT_EQ(result.error, c.error) << c.bytes;
      if (c.error == 0) {
        EXPECT_EQ(result.bytes, c.bytes);
        EXPECT_EQ(result.retval, XDP_PASS);
      }
    }
  }
}

TEST_F(XdpTestRunTest, PacketsMustBeReadable) {
  EXPECT_EQ(error_of({.instructions = pass(), .data_bytes = 64, .null_data = true}), EFAULT);
  EXPECT_EQ(error_of({.instructions = pass(), .data = {}, .null_data = true}), EINVAL);
}

TEST_F(XdpTestRunTest, FlagsAndBatch) {
  EXPECT_EQ(error_of({.instructions = pass(), .flags = 1}), EINVAL);
  EXPECT_EQ(error_of({.instructions = pass(), .flags = 4}), EINVAL);
  EXPECT_EQ(error_of({.instructions = pass(), .batch = 1}), EINVAL);
  EXPECT_EQ(
      error_of({.instructions = pass(), .wants_data = false, .flags = live_flag, .batch = 257}),
      E2BIG);
}

TEST_F(XdpTestRunTest, ProgramsForMapEntriesHaveNoTestRun) {
  EXPECT_EQ(error_of({.instructions = pass(), .attach_type = uapi::BPF_XDP_DEVMAP}), EINVAL);
  EXPECT_EQ(error_of({.instructions = pass(), .attach_type = uapi::BPF_XDP_CPUMAP}), EINVAL);
  EXPECT_EQ(error_of({.instructions = pass(), .attach_type = uapi::BPF_XDP}), 0);
}

TEST_F(XdpTestRunTest, RepeatedRunsShareTheBuffer) {
  const RunResult result =
      run({.instructions = call_with(adjust_head_id, -4), .data = numbered(64), .repeat = 3});
  EXPECT_EQ(result.bytes, 76u);
  EXPECT_EQ(
      run({.instructions = call_with(adjust_head_id, -4), .data = numbered(64), .repeat = 0}).bytes,
      68u);
}

TEST_F(XdpTestRunTest, RunsAsOftenAsAsked) {
  const Ref<Map> map = *make_map(uapi::BPF_MAP_TYPE_ARRAY, 8, 1);
  const Instructions count = st(uapi::BPF_W, 10, -4, 0) + map_address(1, caller_->open(map)) +
                             mov_reg(2, 10) + add(2, -4) + call(map_lookup_elem) +
                             if_equal(0, 0, return_value(0)) + ldx(uapi::BPF_DW, 1, 0, 0) +
                             add(1, 1) + stx(uapi::BPF_DW, 0, 0, 1) + return_value(XDP_PASS);
  EXPECT_EQ(run_here({.instructions = count, .repeat = 1000}).error, 0);
  const SlotGuard slot = slots_.enter_control();
  MapCommand command{*slot, *caller_};
  const std::uint32_t key = 0;
  std::uint64_t value = 0;
  ASSERT_OK(map->command_lookup(command, reinterpret_cast<const std::byte*>(&key),
                                reinterpret_cast<std::byte*>(&value), 0));
  EXPECT_EQ(value, 1000u);
}

TEST_F(XdpTestRunTest, OutputIsCutToTheLimit) {
  const RunResult cut = run({.instructions = pass(), .data = numbered(64), .limit = 10});
  EXPECT_EQ(cut.error, ENOSPC);
  EXPECT_EQ(cut.retval, XDP_PASS);
  EXPECT_EQ(cut.bytes, 64u);
  EXPECT_EQ(cut.data, numbered(10));
  const RunResult blind = run({.instructions = pass(), .wants_data = false, .limit = 10});
  EXPECT_EQ(blind.error, ENOSPC);
  EXPECT_EQ(blind.bytes, 64u);
  EXPECT_EQ(run({.instructions = pass(), .wants_data = false}).bytes, 64u);
  EXPECT_EQ(run({.instructions = pass(), .limit = 64}).error, 0);
}

// Quirk: of a fragmented packet the linear part is cut, and without room for that nothing is
// written.
TEST_F(XdpTestRunTest, OutputOfFragmentedPacketsIsCutInTheLinearPart) {
  const Bytes packet = numbered(9000);
  const RunResult untouched = run({.instructions = pass(), .data = packet, .limit = 5000});
  EXPECT_EQ(untouched.error, ENOSPC);
  EXPECT_EQ(untouched.retval, RunResult::untouched);
  EXPECT_EQ(untouched.bytes, 5000u);
  const RunResult cut = run({.instructions = pass(), .data = packet, .limit = 6000});
  EXPECT_EQ(cut.error, ENOSPC);
  EXPECT_EQ(cut.bytes, 9000u);
  EXPECT_EQ(cut.retval, XDP_PASS);
  ASSERT_GE(cut.data.size(), 520u);
  EXPECT_TRUE(std::equal(cut.data.begin(), cut.data.begin() + 520, packet.begin()));
  for (const std::uint32_t limit : {5479U, 5480U, 5481U, 8999U, 9000U})
    run({.instructions = pass(), .data = packet, .limit = limit});
  run({.instructions = pass(), .data = packet, .wants_data = false, .limit = 100});
}

TEST_F(XdpTestRunTest, GrowingIntoALimit) {
  const RunResult result =
      run({.instructions = mov(2, 128) + call(adjust_tail_id) + return_value(XDP_TX),
           .data = numbered(64),
           .limit = 128});
  EXPECT_EQ(result.error, ENOSPC);
  EXPECT_EQ(result.retval, XDP_TX);
  EXPECT_EQ(result.bytes, 192u);
  for (std::size_t i = 64; i < result.data.size(); ++i) EXPECT_EQ(result.data[i], std::byte{0});
  EXPECT_EQ(result.data.size(), 128u);
}

// ---- context
// -------------------------------------------------------------------------------------------------------

TEST_F(XdpTestRunTest, ContextAndItsSizeComeTogether) {
  Ref<Program> program = load(pass());
  for (int which = 0; which < 4; ++which) {
    Bytes data(64);
    uapi::prog_test_run_attr attr{};
    attr.data_in = reinterpret_cast<std::uintptr_t>(data.data());
    attr.data_size_in = 64;
    if (which == 0) attr.ctx_size_in = 24;
    if (which == 1) attr.ctx_in = attr.data_in;
    if (which == 2) attr.ctx_size_out = 24;
    if (which == 3) attr.ctx_out = attr.data_in;
    bool write_back = true;
    EXPECT_ERRNO(xdp_type_.test_run(*caller_, *program, attr, write_back), EINVAL);
    EXPECT_FALSE(write_back);
  }
}

TEST_F(XdpTestRunTest, ContextSizes) {
  const uapi::xdp_md plain{.data_end = 64};
  for (const std::size_t bytes : {4, 8, 24, 25, 4096})
    EXPECT_EQ(error_of({.instructions = pass(), .context = context(plain, bytes)}), 0) << bytes;
  EXPECT_EQ(error_of({.instructions = pass(), .context = context(plain, 4097)}), E2BIG);
  Bytes tail = context(plain, 25);
  tail.back() = std::byte{1};
  EXPECT_EQ(error_of({.instructions = pass(), .context = tail}), E2BIG);
}

// As the kernel's own context_test_run goes, and around it.
TEST_F(XdpTestRunTest, ContextFieldsAreChecked) {
  struct Case {
    uapi::xdp_md md;
    int error;
  };
  const Case cases[] = {
      {{.data = 0, .data_end = 64}, 0},
      {{.data = 1, .data_end = 64}, EINVAL},
      {{.data = 4, .data_end = 64}, 0},
      {{.data = 48, .data_end = 64}, 0},
      {{.data = 52, .data_end = 64}, EINVAL},  // less than 14 bytes of packet
      {{.data = 256, .data_end = 64}, EINVAL},
      {{.data = 0, .data_end = 65}, EINVAL},
      {{.data = 0, .data_end = 60}, 0},
      {{.data = 8, .data_end = 4}, EINVAL},
      {{.data = 0, .data_end = 64, .data_meta = 4}, EINVAL},
      {{.data_end = 64, .egress_ifindex = 1}, EINVAL},
      {{.data_end = 64, .rx_queue_index = 1}, EINVAL},
      {{.data_end = 64, .ingress_ifindex = 1}, 0},
      {{.data_end = 64, .ingress_ifindex = 1, .rx_queue_index = 1}, EINVAL},
      {{.data_end = 64, .ingress_ifindex = 999'999}, ENODEV},
      {{.data_end = 64, .ingress_ifindex = 999'999, .egress_ifindex = 1}, EINVAL},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message()
                 << c.md.data << ' ' << c.md.data_end << ' ' << c.md.ingress_ifindex);
    EXPECT_EQ(error_of({.instructions = pass(),
                        .data = numbered(64),
                        .context = context(c.md),
                        .context_out_bytes = 24}),
              c.error);
  }
}

TEST_F(XdpTestRunTest, MetadataLimits) {
  for (const std::uint32_t meta : {4U, 216U, 220U, 252U, 256U}) {
    const RunResult result = run({.instructions = pass(),
                                  .data = numbered(400),
                                  .context = context({.data = meta, .data_end = 400}),
                                  .context_out_bytes = 24});
    EXPECT_EQ(result.error, meta <= 216 ? 0 : EINVAL);
  }
  const auto with_meta = [&](std::uint32_t bytes) {
    return run({.instructions = call(get_buff_len_id) + exit_program(),
                .data = numbered(bytes),
                .context = context({.data = 100, .data_end = bytes}),
                .context_out_bytes = 24});
  };
  EXPECT_EQ(with_meta(3620).retval, 3520u);
  EXPECT_EQ(with_meta(3621).retval, 3521u);
}

TEST_F(XdpTestRunTest, ContextOutDescribesTheLinearPart) {
  const RunResult result =
      run({.instructions = mov(2, 4) + call(adjust_meta_id) + return_value(XDP_PASS),
           .data = numbered(64),
           .context = context({.data = 4, .data_end = 64, .ingress_ifindex = 1}),
           .context_out_bytes = 24});
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.bytes, 60u);
  EXPECT_EQ(result.context, context({.data = 0, .data_end = 60, .ingress_ifindex = 1}));
  EXPECT_EQ(result.context_bytes, 24u);

  const RunResult grown =
      run({.instructions = mov(2, -8) + call(adjust_meta_id) + return_value(XDP_PASS),
           .data = numbered(9000),
           .context = context({.data = 4, .data_end = 9000}),
           .context_out_bytes = 24});
  EXPECT_EQ(grown.bytes, 9008u);
  EXPECT_EQ(grown.context, context({.data = 12, .data_end = 3532}));
}

TEST_F(XdpTestRunTest, ContextOutMayBeCut) {
  const RunResult cut =
      run({.instructions = pass(), .context = context({.data_end = 64}), .context_out_bytes = 8});
  EXPECT_EQ(cut.error, ENOSPC);
  EXPECT_EQ(cut.context, context({.data_end = 64}, 8));
  EXPECT_EQ(cut.retval, XDP_PASS);
  run({.instructions = pass(), .context = context({.data_end = 64}), .context_out_bytes = 100});
  run({.instructions = pass(),
       .context = context({.data_end = 64}),
       .context_out_bytes = 24,
       .limit = 10});
}

// Quirk: a context that is only asked for has data_end 0, so all bytes become fragments.
TEST_F(XdpTestRunTest, OnlyAskingForAContextMakesAllBytesFragments) {
  const RunResult result =
      run({.instructions = ldx(uapi::BPF_W, 2, 1, 4) + ldx(uapi::BPF_W, 0, 1, 0) +
                           insn(uapi::BPF_JMP | uapi::BPF_JNE | uapi::BPF_X, 0, 2, 2, 0) +
                           return_value(42) + return_value(43),
           .data = numbered(64),
           .context_out_bytes = 24});
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.retval, 42u);
  EXPECT_EQ(result.bytes, 64u);
  EXPECT_EQ(result.data, numbered(64));
  EXPECT_EQ(result.context, context({}));
}

TEST_F(XdpTestRunTest, APartOfThePacketMayBeFragments) {
  const RunResult result = run({.instructions = call(get_buff_len_id) + exit_program(),
                                .data = numbered(64),
                                .context = context({.data_end = 60}),
                                .context_out_bytes = 24});
  EXPECT_EQ(result.retval, 64u);
  EXPECT_EQ(result.context, context({.data_end = 60}));
}

TEST_F(XdpTestRunTest, TheDefaultIngressIsLoopback) {
  EXPECT_EQ(run({.instructions = ldx(uapi::BPF_W, 0, 1, 12) + exit_program()}).retval, 1u);
  EXPECT_EQ(run({.instructions = ldx(uapi::BPF_W, 0, 1, 16) + exit_program()}).retval, 0u);
}

TEST_F(XdpTestRunTest, OnlyPacketMemoryLimitsUs) {
  std::vector<Buff*> taken;
  {
    const SlotGuard slot = slots_.enter_control();
    while (Buff* const frame = packets_->take(*slot)) taken.push_back(frame);
  }
  EXPECT_EQ(run_here({.instructions = pass()}).error, ENOMEM);
  EXPECT_EQ(run_here({.instructions = pass(), .wants_data = false, .flags = live_flag}).error,
            ENOMEM);
  {
    const SlotGuard slot = slots_.enter_control();
    packets_->give_back(*slot, taken.back());
    taken.pop_back();
  }
  EXPECT_EQ(run_here({.instructions = pass(), .data = numbered(9000)}).error, ENOMEM)
      << "no fragment";
  const SlotGuard slot = slots_.enter_control();
  for (Buff* const frame : taken) packets_->give_back(*slot, frame);
}

TEST_F(XdpTestRunTest, OutputMustBeWritable) {
  const Ref<Program> program = load(pass());
  Bytes data(64);
  uapi::prog_test_run_attr attr{};
  attr.data_in = reinterpret_cast<std::uintptr_t>(data.data());
  attr.data_size_in = 64;
  attr.data_out = 8;
  bool write_back = true;
  EXPECT_ERRNO(xdp_type_.test_run(*caller_, *program, attr, write_back), EFAULT);
  EXPECT_FALSE(write_back);
}

TEST_F(XdpTestRunTest, TheKernelAgreedWhereItWasAsked) {
  EXPECT_EQ(run({.instructions = pass()}).retval, XDP_PASS);
  if (compared_ == 0)
    GTEST_SKIP() << "not compared with this machine's kernel: " << refused_because_;
}

// ---- live frames
// -----------------------------------------------------------------------------------------------------

class LiveRunTest : public XdpTestRunTest {
 protected:
  RunRequest from(const TestPort& port, Instructions instructions, std::uint32_t repeat = 1,
                  std::uint32_t batch = 0, Bytes data = numbered(64)) {
    const auto bytes = static_cast<std::uint32_t>(data.size());
    return {.instructions = std::move(instructions),
            .data = std::move(data),
            .context = context({.data_end = bytes, .ingress_ifindex = port.ifindex()}),
            .wants_data = false,
            .repeat = repeat,
            .flags = live_flag,
            .batch = batch};
  }
  Instructions redirect_to(const TestPort& port) {
    return mov(1, port.ifindex()) + mov(2, 0) + call(redirect_id) + exit_program();
  }
  TestPort in_ = add_port("in"), a_ = add_port("a");
};

TEST_F(LiveRunTest, Sizes) {
  EXPECT_EQ(live_drop({.data = numbered(13)}).error, EINVAL);
  EXPECT_EQ(live_drop({.data = numbered(14)}).error, 0);
  EXPECT_EQ(live_drop({.data = numbered(3408)}).error, 0);
  EXPECT_EQ(live_drop({.data = numbered(3409)}).error, EINVAL);
  const auto with_meta = [&](std::uint32_t bytes) {
    const RunResult result =
        live_drop({.data = numbered(bytes), .context = context({.data = 8, .data_end = bytes})});
    if (result.error == 0) EXPECT_EQ(result.bytes, bytes);
    return result.error;
  };
  EXPECT_EQ(with_meta(3416), 0);
  EXPECT_EQ(with_meta(3417), EINVAL);
  EXPECT_EQ(live_drop({.context = context({.data_end = 60})}).error, EINVAL);
}

TEST_F(LiveRunTest, WhatComesBackBesidesPackets) {
  const RunResult result = live_drop({.data = numbered(64), .repeat = 100});
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.retval, 0u);
  EXPECT_EQ(result.bytes, 64u);
  EXPECT_EQ(live_drop({.data = numbered(64), .limit = 10}).error, ENOSPC);
  EXPECT_EQ(live_drop({.data = numbered(64), .limit = 64, .batch = 256}).error, 0);
}

TEST_F(LiveRunTest, NothingComesBackOfALiveRun) {
  const auto with_context = context({.data_end = 64});
  EXPECT_EQ(error_of({.instructions = pass(), .context = with_context, .flags = live_flag}),
            EINVAL);
  EXPECT_EQ(error_of({.instructions = pass(),
                      .context_out_bytes = 24,
                      .wants_data = false,
                      .flags = live_flag}),
            EINVAL);
  // Quirk: without a context the packet comes back as it went in.
  const RunResult copy =
      run_here({.instructions = mov(2, -4) + call(adjust_head_id) + return_value(XDP_DROP),
                .data = numbered(64),
                .flags = live_flag});
  EXPECT_EQ(copy.error, 0);
  EXPECT_EQ(copy.data, numbered(64));
  EXPECT_EQ(copy.bytes, 64u);
  EXPECT_EQ(copy.retval, 0u);
}

// Observed: 40 frames in batches of 64 leave as 16, 16, 8; in batches of 10 as four tens.
TEST_F(LiveRunTest, RedirectedFramesLeaveInBulks) {
  EXPECT_EQ(run_here(from(in_, redirect_to(a_), 40)).error, 0);
  EXPECT_EQ(diary_.transmitted, (Bulks{{"a", 16, false}, {"a", 16, false}, {"a", 8, true}}));
  diary_.transmitted.clear();
  EXPECT_EQ(run_here(from(in_, redirect_to(a_), 40, 10)).error, 0);
  EXPECT_EQ(diary_.transmitted, (Bulks(4, {"a", 10, true})));
  EXPECT_EQ(a_.port->sent.size(), 80u);
  EXPECT_EQ(a_.port->sent[79], numbered(64));
}

TEST_F(LiveRunTest, PassedFramesGoToTheHostSideAfterTheFlush) {
  const Ref<Map> map = devmap(1);
  // The first byte says what to do.
  EXPECT_EQ(run_here(from(in_, obedient(caller_->open(map)), 100, 0, order(XDP_PASS))).error, 0);
  EXPECT_EQ(diary_.passed, (Bulks{{"in", 64, false}, {"in", 36, false}}));
  EXPECT_EQ(in_.device->counters().passed, 100u);
}

TEST_F(LiveRunTest, TxIsARedirectToTheIngressDevice) {
  EXPECT_EQ(run_here(from(in_, return_value(XDP_TX), 20)).error, 0);
  EXPECT_EQ(diary_.transmitted, (Bulks{{"in", 16, false}, {"in", 4, true}}));
  // Without a context that is loopback, which cannot transmit.
  EXPECT_EQ(run_here({.instructions = return_value(XDP_TX),
                      .wants_data = false,
                      .repeat = 5,
                      .flags = live_flag})
                .error,
            0);
  const DeviceCounters counters = (*net_namespace_->device(1))->counters();
  EXPECT_EQ(counters.drops[static_cast<std::size_t>(DropReason::redirect_unsupported)], 5u);
}

TEST_F(LiveRunTest, OtherVerdictsDrop) {
  for (const std::int64_t verdict : {0, 1, 5, 99})
    EXPECT_EQ(run_here(from(in_, return_value(verdict), 10)).error, 0);
  EXPECT_EQ(in_.drops(DropReason::xdp_aborted), 10u);
  EXPECT_EQ(in_.drops(DropReason::xdp_drop), 10u);
  EXPECT_EQ(in_.drops(DropReason::xdp_invalid_verdict), 20u);
}

TEST_F(LiveRunTest, RedirectFailuresDoNotEndTheRun) {
  a_.device->set_up(false);
  EXPECT_EQ(run_here(from(in_, redirect_to(a_), 100)).error, 0);
  EXPECT_EQ(in_.drops(DropReason::redirect_target_down), 100u);
}

// Pages of dropped frames come back with their bounds restored, not their content.
TEST_F(LiveRunTest, DroppedFramesAreUsedAgainAsTheyAre) {
  // Adds one to byte 20 and moves the head; every second frame is passed, by that byte.
  const Instructions program = mov_reg(6, 1) + ldx(uapi::BPF_W, 7, 6, 0) +
                               ldx(uapi::BPF_B, 8, 7, 20) + add(8, 1) + stx(uapi::BPF_B, 7, 20, 8) +
                               mov_reg(1, 6) + mov(2, 4) + call(adjust_head_id) +
                               if_equal(8, 3, return_value(XDP_PASS)) + return_value(XDP_DROP);
  EXPECT_EQ(run_here(from(in_, program, 9, 0, Bytes(64))).error, 0);
  ASSERT_EQ(in_.port->passed.size(), 3u);
  EXPECT_EQ(in_.drops(DropReason::xdp_drop), 6u);
  for (const Bytes& frame : in_.port->passed) {
    EXPECT_EQ(frame.size(), 60u);
    EXPECT_EQ(frame[16], std::byte{3});
  }
}

TEST_F(LiveRunTest, TheStartOfThePageIsNotHeadroom) {
  const auto head = [&](int by) {
    return mov(2, by) + call(adjust_head_id) + if_equal(0, 0, return_value(XDP_PASS)) +
           return_value(XDP_DROP);
  };
  EXPECT_EQ(run_here(from(in_, head(-216))).error, 0);
  EXPECT_EQ(in_.port->passed.size(), 1u);
  EXPECT_EQ(run_here(from(in_, head(-217))).error, 0);
  EXPECT_EQ(in_.drops(DropReason::xdp_drop), 1u);
}

// As the kernel's own devmap test goes: a zero packet of 14 bytes through an entry with a program.
TEST_F(LiveRunTest, ThroughAnEntryWithAProgram) {
  const Ref<Map> map = devmap(4);
  const int egress = caller_->open(load_egress(return_value(XDP_PASS)));
  ASSERT_OK(update(*map, 0, a_.ifindex(), egress));
  const Instructions program = map_address(1, caller_->open(map)) + mov(2, 0) + mov(3, 0) +
                               call(redirect_map_id) + exit_program();
  const RunResult result = run_here(from(in_, program, 1, 0, Bytes(14)));
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.retval, 0u);
  EXPECT_EQ(result.bytes, 14u);
  EXPECT_EQ(a_.port->sent.size(), 1u);
  EXPECT_EQ(in_.device->counters().redirected_to.at(a_.ifindex()), 1u);
}

TEST_F(LiveRunTest, MemoryThatRunsOutEndsTheRunAndLosesNothing) {
  std::vector<Buff*> taken;
  {
    // All but one for the packet itself, which a control slot takes, and five for live frames.
    const SlotGuard slot = slots_.enter(0), control = slots_.enter_control();
    while (Buff* const frame = packets_->take(*control)) taken.push_back(frame);
    while (Buff* const frame = packets_->take(*slot)) taken.push_back(frame);
    packets_->give_back(*control, taken.back());
    taken.pop_back();
    for (int i = 0; i < 5; ++i) {
      packets_->give_back(*slot, taken.back());
      taken.pop_back();
    }
  }
  // Frames that are passed free their memory only at the end of the batch.
  EXPECT_EQ(run_here(from(in_, return_value(XDP_PASS), 100)).error, ENOMEM);
  EXPECT_EQ(in_.port->passed.size(), 5u);
  const SlotGuard slot = slots_.enter(0);
  for (Buff* const frame : taken) packets_->give_back(*slot, frame);
}

}  // namespace
}  // namespace skep::testing
