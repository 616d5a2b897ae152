// SPDX-License-Identifier: Apache-2.0
#include "xdp/xdp.hpp"
#include "xdp/xdp_testing.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>

namespace skep::testing {
namespace {

using namespace uapi;  // XDP_FLAGS_*

class AttachTest : public XdpTest {
 protected:
  Result<void> set(const Ref<Program>& program, std::uint32_t flags,
                   const std::optional<XdpExpectation>& expected = std::nullopt) {
    return xdp_->set_program(*in_.device, program, flags, expected);
  }
  std::uint32_t attached_id() const {
    const auto attachment = xdp_->query(*in_.device);
    return attachment ? attachment->program->id() : 0;
  }

  TestPort in_ = add_port("in");
  Ref<Program> pass_ = load(return_value(XDP_PASS)), drop_ = load(return_value(XDP_DROP));
  Ref<Program> for_devmap_ = load(return_value(XDP_PASS), BPF_XDP_DEVMAP);
};

TEST_F(AttachTest, FlagsAreCheckedFirst) {
  EXPECT_ERRNO(set(pass_, 32), EINVAL);
  EXPECT_ERRNO(set(pass_, XDP_FLAGS_DRV_MODE | XDP_FLAGS_SKB_MODE), EINVAL);
  EXPECT_ERRNO(set(pass_, XDP_FLAGS_REPLACE), EINVAL) << "nothing expected";
  EXPECT_OK(set(pass_, XDP_FLAGS_DRV_MODE));
  EXPECT_EQ(xdp_->query(*in_.device)->mode, XdpMode::native);
}

TEST_F(AttachTest, NativeIsTheDefaultOfPortsAndLoopbackHasNone) {
  EXPECT_OK(set(pass_, 0));
  EXPECT_EQ(attached_id(), pass_->id());
  Device& loopback = **net_namespace_->device(1);
  EXPECT_ERRNO(xdp_->attach(loopback, pass_, XDP_FLAGS_DRV_MODE), EOPNOTSUPP);
  EXPECT_ERRNO(xdp_->attach(loopback, pass_, XDP_FLAGS_HW_MODE), EOPNOTSUPP);
  EXPECT_ERRNO(xdp_->attach(loopback, pass_), EOPNOTSUPP) << "generic mode is not there yet";
  EXPECT_OK(xdp_->detach(loopback)) << "an empty slot";
  EXPECT_ERRNO(xdp_->attach(loopback, for_devmap_, XDP_FLAGS_DRV_MODE), EINVAL)
      << "the program is looked at before the device";
}

TEST_F(AttachTest, ProgramsForMapEntriesAreRefused) {
  EXPECT_ERRNO(set(for_devmap_, 0), EINVAL);
  EXPECT_ERRNO(set(load(return_value(2), BPF_XDP_CPUMAP), 0), EINVAL);
  EXPECT_OK(set(load(return_value(2), BPF_XDP), 0));
  EXPECT_OK(set(load(return_value(2), 7), 0)) << "an unrelated attach type";
}

TEST_F(AttachTest, OnlyIfNoneExists) {
  EXPECT_OK(set(pass_, XDP_FLAGS_UPDATE_IF_NOEXIST));
  EXPECT_ERRNO(set(drop_, XDP_FLAGS_UPDATE_IF_NOEXIST), EBUSY);
  EXPECT_ERRNO(set(pass_, XDP_FLAGS_UPDATE_IF_NOEXIST), EBUSY) << "also for the same program";
  EXPECT_ERRNO(set(for_devmap_, XDP_FLAGS_UPDATE_IF_NOEXIST), EBUSY) << "before the program";
  EXPECT_EQ(attached_id(), pass_->id());
}

// As the kernel's own xdp_attach test goes.
TEST_F(AttachTest, ReplaceMustNameWhatIsThere) {
  const XdpExpectation none{}, expect_pass{pass_}, expect_drop{drop_};
  EXPECT_OK(set(pass_, XDP_FLAGS_REPLACE, none));
  EXPECT_ERRNO(set(drop_, XDP_FLAGS_REPLACE, none), EEXIST);
  EXPECT_OK(set(drop_, XDP_FLAGS_REPLACE, expect_pass));
  EXPECT_EQ(attached_id(), drop_->id());
  EXPECT_ERRNO(set(pass_, XDP_FLAGS_REPLACE, expect_pass), EEXIST);
  EXPECT_ERRNO(set(nullptr, XDP_FLAGS_REPLACE, expect_pass), EEXIST);
  EXPECT_EQ(attached_id(), drop_->id());
  EXPECT_OK(set(nullptr, XDP_FLAGS_REPLACE, expect_drop));
  EXPECT_EQ(attached_id(), 0u);
  EXPECT_OK(set(pass_, 0, expect_drop)) << "without the flag nothing is expected";
}

TEST_F(AttachTest, OtherModesDoNotTouchTheNativeProgram) {
  ASSERT_OK(set(pass_, 0));
  EXPECT_ERRNO(set(drop_, XDP_FLAGS_SKB_MODE), EEXIST) << "native and generic exclude each other";
  EXPECT_ERRNO(set(drop_, XDP_FLAGS_HW_MODE), EOPNOTSUPP);
  EXPECT_OK(set(nullptr, XDP_FLAGS_SKB_MODE)) << "nothing there to detach";
  EXPECT_OK(set(nullptr, XDP_FLAGS_HW_MODE));
  EXPECT_EQ(attached_id(), pass_->id());
  ASSERT_OK(set(nullptr, 0));
  EXPECT_ERRNO(set(drop_, XDP_FLAGS_SKB_MODE), EOPNOTSUPP);
}

TEST_F(AttachTest, TheNewProgramRunsAfterAttachReturns) {
  ASSERT_OK(set(pass_, 0));
  receive(*in_.device, {Bytes(60)});
  ASSERT_OK(set(drop_, 0));
  receive(*in_.device, {Bytes(60)});
  ASSERT_OK(set(nullptr, 0));
  receive(*in_.device, {Bytes(60)});
  EXPECT_EQ(in_.port->passed.size(), 2u);
  EXPECT_EQ(in_.drops(DropReason::xdp_drop), 1u);
  EXPECT_FALSE(xdp_->query(*in_.device));
  EXPECT_TRUE(xdp_->report().attached.empty());
}

TEST_F(AttachTest, AttachingTheSameProgramKeepsItsFigures) {
  ASSERT_OK(set(pass_, 0));
  receive(*in_.device, {Bytes(60)});
  ASSERT_OK(set(pass_, 0));
  EXPECT_EQ(xdp_->report().attached.at(0).figures.runs, 1u);
}

TEST_F(AttachTest, ADeviceThatGoesAwayLetsGoOfItsProgram) {
  ASSERT_OK(set(pass_, 0));
  ASSERT_OK(net_namespace_->remove_device(in_.ifindex()));
  EXPECT_FALSE(xdp_->query(*in_.device));
  EXPECT_ERRNO(set(drop_, 0), ENODEV);
  EXPECT_TRUE(xdp_->report().attached.empty());
}

TEST_F(AttachTest, TheEndOfTheRuntimeDetachesAll) {
  ASSERT_OK(set(pass_, 0));
  xdp_.reset();
  EXPECT_EQ(in_.device->receive_hook(), nullptr);
  receive(*in_.device, {Bytes(60)});
  EXPECT_EQ(in_.port->passed.size(), 1u);
}

TEST_F(AttachTest, ReportsAreInOrderOfIfindex) {
  const TestPort second = add_port("second");
  ASSERT_OK(xdp_->attach(*second.device, pass_));
  ASSERT_OK(xdp_->attach(*in_.device, pass_));
  const XdpReport report = xdp_->report();
  ASSERT_EQ(report.attached.size(), 2u);
  EXPECT_EQ(report.attached[0].device, "in");
  EXPECT_EQ(report.attached[1].device, "second");
}

// What a slot counts is its owner's: a live test run may go on while somebody wants a report.
TEST_F(AttachTest, AReportWaitsForEveryCpu) {
  for (std::uint32_t cpu = 0; cpu < slots_.cpus(); ++cpu) {
    std::optional<SlotGuard> busy(slots_.enter(cpu));
    auto report = std::async(std::launch::async, [&] { return xdp_->report(); });
    EXPECT_EQ(report.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
    busy.reset();
    EXPECT_TRUE(report.get().attached.empty());
  }
}

}  // namespace
}  // namespace skep::testing
