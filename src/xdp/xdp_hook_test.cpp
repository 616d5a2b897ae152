// SPDX-License-Identifier: Apache-2.0
#include "xdp/xdp_hook.hpp"

#include "xdp/xdp_testing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace skep::testing {
namespace {

using uapi::XDP_DROP, uapi::XDP_PASS, uapi::XDP_TX;
using Bulks = std::vector<Diary::Bulk>;

class XdpHookTest : public XdpTest {
 protected:
  TestPort in_ = add_port("in"), out_ = add_port("out");
  Ref<Map> map_ = devmap(4);
  int map_fd_ = caller_->open(map_);
};

TEST_F(XdpHookTest, EveryVerdictIsDoneAndCounted) {
  const Ref<Program> program = load(obedient(map_fd_));
  ASSERT_OK(xdp_->attach(*in_.device, program));
  std::vector<Bytes> packets;
  for (const std::uint8_t verdict : {0, 1, 2, 3, 4, 5, 99}) packets.push_back(order(verdict));
  packets.push_back(order(by_helper, plain(out_.ifindex())));
  receive(*in_.device, packets);

  const DeviceCounters counters = in_.device->counters();
  EXPECT_EQ(counters.rx_frames, 8u);
  EXPECT_EQ(counters.passed, 1u);
  EXPECT_EQ(counters.xdp_tx, 1u);
  EXPECT_EQ(counters.redirected, 1u);
  EXPECT_EQ(in_.drops(DropReason::xdp_aborted), 1u);
  EXPECT_EQ(in_.drops(DropReason::xdp_drop), 1u);
  EXPECT_EQ(in_.drops(DropReason::xdp_invalid_verdict), 2u);
  EXPECT_EQ(in_.drops(DropReason::redirect_no_target), 1u);

  const XdpReport report = xdp_->report();
  ASSERT_EQ(report.attached.size(), 1u);
  EXPECT_EQ(report.attached[0].device, "in");
  EXPECT_EQ(report.attached[0].prog, "test");
  EXPECT_EQ(report.attached[0].prog_id, program->id());
  EXPECT_EQ(report.attached[0].figures.runs, 8u);
  EXPECT_EQ(report.attached[0].figures.time_ns, 0u) << "not timed in this runtime";
  EXPECT_EQ(report.attached[0].figures.verdicts, (std::array<std::uint64_t, 6>{1, 1, 1, 1, 2, 2}));
}

TEST_F(XdpHookTest, OnlyTheLowHalfOfTheReturnValueIsTheVerdict) {
  ASSERT_OK(xdp_->attach(*in_.device, load(imm64(0, 0x7700000000 + XDP_PASS) + exit_program())));
  receive(*in_.device, {Bytes(60)});
  EXPECT_EQ(in_.port->passed.size(), 1u);
}

TEST_F(XdpHookTest, PassedFramesGoUpInBatchesWithTheirMetadata) {
  ASSERT_OK(
      xdp_->attach(*in_.device, load(mov(2, -8) + call(adjust_meta_id) + return_value(XDP_PASS))));
  receive(*in_.device, Bytes(60), 40);
  EXPECT_EQ(diary_.passed, (Bulks{{"in", 16, false}, {"in", 16, false}, {"in", 8, false}}));
  EXPECT_EQ(in_.port->passed.at(0).size(), 68u);
}

TEST_F(XdpHookTest, TransmittedFramesLeaveInBulksOnTheSameDevice) {
  ASSERT_OK(xdp_->attach(*in_.device, load(return_value(XDP_TX))));
  receive(*in_.device, Bytes(60), 40);
  EXPECT_EQ(diary_.transmitted, (Bulks{{"in", 16, false}, {"in", 16, false}, {"in", 8, true}}));
  EXPECT_EQ(in_.device->counters().xdp_tx, 40u);
}

TEST_F(XdpHookTest, RedirectsAreFlushedBeforeTransmits) {
  ASSERT_OK(xdp_->attach(*in_.device, load(obedient(map_fd_))));
  receive(*in_.device, {order(XDP_TX), order(by_helper, plain(out_.ifindex())), order(XDP_TX)});
  EXPECT_EQ(diary_.transmitted, (Bulks{{"out", 1, true}, {"in", 2, true}}));
}

TEST_F(XdpHookTest, ADeviceThatCannotTransmitDropsTx) {
  ASSERT_OK(xdp_->attach(*in_.device, load(return_value(XDP_TX))));
  in_.port->features = uapi::NETDEV_XDP_ACT_BASIC;
  receive(*in_.device, Bytes(60), 3);
  EXPECT_EQ(in_.drops(DropReason::tx_unsupported), 3u);
}

TEST_F(XdpHookTest, WhatThePortRefusesOfATxBulkIsDropped) {
  ASSERT_OK(xdp_->attach(*in_.device, load(return_value(XDP_TX))));
  in_.port->accepts = 10;
  receive(*in_.device, Bytes(60), 20);
  EXPECT_EQ(in_.device->counters().xdp_tx, 14u);
  EXPECT_EQ(in_.drops(DropReason::tx_refused), 6u);
  in_.port->failure = EIO;
  receive(*in_.device, Bytes(60), 2);
  EXPECT_EQ(in_.drops(DropReason::tx_refused), 8u);
}

TEST_F(XdpHookTest, FragmentsNeedAProgramThatKnowsThem) {
  const Instructions pass = return_value(XDP_PASS);
  ASSERT_OK(xdp_->attach(*in_.device, load(pass)));
  receive(*in_.device, {Bytes(5000), Bytes(60)});
  EXPECT_EQ(in_.drops(DropReason::xdp_no_frags), 1u);
  EXPECT_EQ(in_.port->passed.size(), 1u);
  EXPECT_EQ(xdp_->report().attached.at(0).figures.runs, 1u);

  ASSERT_OK(xdp_->attach(*in_.device, load(pass, 0, uapi::BPF_F_XDP_HAS_FRAGS)));
  receive(*in_.device, {Bytes(5000)});
  EXPECT_EQ(in_.port->passed.at(1).size(), 5000u);
}

TEST_F(XdpHookTest, AFaultEndsTheFrameAsAborted) {
  const Ref<Program> program =
      load(ldx(uapi::BPF_W, 2, 1, 0) + ldx(uapi::BPF_B, 0, 2, 60) + return_value(XDP_PASS));
  ASSERT_OK(xdp_->attach(*in_.device, program));
  receive(*in_.device, {Bytes(60), Bytes(61)});
  EXPECT_EQ(in_.drops(DropReason::xdp_fault), 1u);
  EXPECT_EQ(in_.drops(DropReason::xdp_aborted), 0u) << "one frame, one reason";
  EXPECT_EQ(in_.port->passed.size(), 1u);
  const XdpFigures figures = xdp_->report().attached.at(0).figures;
  EXPECT_EQ(figures.faults, 1u);
  EXPECT_EQ(figures.verdicts[XdpFigures::aborted], 1u);
  ASSERT_TRUE(program->last_fault());
  EXPECT_EQ(program->last_fault()->kind, FaultKind::invalid_read);
}

TEST_F(XdpHookTest, ContextFieldsAreTranslated) {
  Instructions fields = ldx(uapi::BPF_W, 2, 1, 0) + ldx(uapi::BPF_W, 3, 1, 4);
  // r3 = length; r4 = metadata length
  fields = fields + insn(uapi::BPF_ALU64 | uapi::BPF_SUB | uapi::BPF_X, 3, 2, 0, 0) +
           stx(uapi::BPF_W, 2, 0, 3) + mov_reg(4, 2) + ldx(uapi::BPF_W, 3, 1, 8) +
           insn(uapi::BPF_ALU64 | uapi::BPF_SUB | uapi::BPF_X, 4, 3, 0, 0) +
           stx(uapi::BPF_W, 2, 4, 4) + ldx(uapi::BPF_W, 3, 1, 12) + stx(uapi::BPF_W, 2, 8, 3) +
           ldx(uapi::BPF_W, 3, 1, 16) + stx(uapi::BPF_W, 2, 12, 3);
  ASSERT_OK(xdp_->attach(*in_.device, load(fields + return_value(XDP_PASS))));
  const Bytes packet(77);
  receive(*in_.device, std::span(&packet, 1), 1);
  std::uint32_t seen[4];
  std::memcpy(seen, in_.port->passed.at(0).data(), sizeof(seen));
  EXPECT_EQ(seen[0], 77u);
  EXPECT_EQ(seen[1], 0u);
  EXPECT_EQ(seen[2], in_.ifindex());
  EXPECT_EQ(seen[3], 1u);
}

// Only aligned 4-byte loads, no stores; egress_ifindex is for devmap programs.
TEST_F(XdpHookTest, OtherContextAccessesAreFaults) {
  struct Case {
    Instructions instructions;
    FaultKind kind;
  };
  const Case cases[] = {
      {ldx(uapi::BPF_W, 0, 1, 20), FaultKind::context_read},
      {ldx(uapi::BPF_W, 0, 1, 24), FaultKind::context_read},
      {ldx(uapi::BPF_W, 0, 1, 2), FaultKind::context_read},
      {ldx(uapi::BPF_DW, 0, 1, 0), FaultKind::context_read},
      {ldx(uapi::BPF_H, 0, 1, 12), FaultKind::context_read},
      {ldx(uapi::BPF_B, 0, 1, 16), FaultKind::context_read},
      {st(uapi::BPF_W, 1, 16, 5), FaultKind::context_write},
  };
  std::uint64_t faults = 0;
  for (const Case& c : cases) {
    const auto program = try_load(c.instructions + return_value(XDP_PASS));
    if (!program) continue;  // what can be seen before a run may be refused at load
    ASSERT_OK(xdp_->attach(*in_.device, *program));
    receive(*in_.device, {Bytes(60)});
    ++faults;
    ASSERT_TRUE((*program)->last_fault());
    EXPECT_EQ((*program)->last_fault()->kind, c.kind);
  }
  EXPECT_EQ(in_.drops(DropReason::xdp_fault), faults);
  EXPECT_TRUE(in_.port->passed.empty());
}

TEST_F(XdpHookTest, RunsAreTimedPerBatchIfAskedFor) {
  const RealClock clock;
  CpuSlots slots(1, clock, 1);
  const Ref<NetNamespace> net_namespace = make_object<NetNamespace>(slots);
  const auto packets = *PacketPool::make(128, slots, budget_);
  {
    Xdp xdp(slots, RunTiming::on);
    auto device = *net_namespace->add_device("t", {}, std::make_unique<RecordingPort>("t", diary_));
    ProgramEnvironment environment{
        .slots = slots, .budget = budget_, .types = program_types_, .trace = trace_};
    ProgramSpec spec;
    spec.type = &xdp_type_;
    spec.license = "GPL";
    spec.instructions = return_value(XDP_DROP);
    Log log;
    ASSERT_OK(xdp.attach(*device, *Program::load(spec, *caller_, environment, log)));
    {
      const SlotGuard slot = slots.enter(0);
      const rcu::ReadGuard guard;
      std::vector<Buff*> frames;
      for (int i = 0; i < 64; ++i) frames.push_back(packets->take_copy(*slot, Bytes(60)));
      device->receive(*slot, frames);
    }
    EXPECT_GT(xdp.report().attached.at(0).figures.time_ns, 0u);
  }
  rcu::barrier();
}

// The promise of detach and replace, under traffic on two CPUs; the sanitizers judge the memory.
TEST_F(XdpHookTest, ProgramsChangeUnderTraffic) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> polls{0};
  std::vector<std::jthread> workers;
  in_.device->set_up(false);
  const Instructions redirect =
      mov(1, out_.ifindex()) + mov(2, 0) + call(redirect_id) + exit_program();
  for (std::uint32_t cpu = 0; cpu < 2; ++cpu) {
    workers.emplace_back([&, cpu] {
      while (!stop.load(std::memory_order_relaxed)) {
        const SlotGuard slot = slots_.enter(cpu);
        const rcu::ReadGuard guard;
        std::vector<Buff*> frames;
        for (int i = 0; i < 8; ++i) {
          frames.push_back(packets_->take_copy(*slot, Bytes(60)));
          if (frames.back() == nullptr) frames.pop_back();
        }
        // The recording port is not for two threads: frames are dropped or refused.
        in_.device->receive(*slot, frames);
        polls.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  out_.device->set_up(false);
  for (int round = 0; round < 50; ++round) {
    ASSERT_OK(xdp_->attach(*in_.device, load(round % 2 == 0 ? redirect : return_value(XDP_DROP))));
    in_.device->set_up(true);
    const std::uint64_t before = polls.load();
    while (polls.load() < before + 4) std::this_thread::yield();
    if (round % 5 == 4) {
      in_.device->set_up(false);  // without a program frames would go to the host side
      rcu::synchronize();
      ASSERT_OK(xdp_->detach(*in_.device));
    }
  }
  stop = true;
  workers.clear();
  EXPECT_GT(in_.drops(DropReason::redirect_target_down), 0u);
  EXPECT_GT(in_.drops(DropReason::xdp_drop), 0u);
}

}  // namespace
}  // namespace skep::testing
