// SPDX-License-Identifier: Apache-2.0
// BPF_PROG_TEST_RUN for XDP: a program on one packet of the caller's, again and again on the same
// buffer, or as live frames that really are redirected and passed on. (Linux: net/bpf/test_run.c;
// behaviour: devmap-xdp.md 4.)
#pragma once

#include "net/device.hpp"
#include "net/packet.hpp"
#include "object/caller.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "result/result.hpp"
#include "uapi/bpf.hpp"
#include "xdp/xdp.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace skep {

/// One command. Lives as long as its call.
class XdpTestRun {
 public:
  XdpTestRun(Xdp& xdp, PacketPool& packets, Caller& caller, const Program& program,
             uapi::prog_test_run_attr& attr)
      : xdp_(xdp), packets_(packets), caller_(caller), program_(program), attr_(attr) {}
  ~XdpTestRun();
  XdpTestRun(const XdpTestRun&) = delete;
  XdpTestRun& operator=(const XdpTestRun&) = delete;

  /// Fills the out fields of the attributes; `write_back` says whether the caller gets them.
  /// Errors: EINVAL, E2BIG, EFAULT, ENODEV, ENOMEM (no packet memory), ENOSPC (output truncated),
  /// EINTR (the caller is gone).
  /// Blocks: until CPU 0 is free.
  Result<void> run(bool& write_back);

 private:
  /// Bytes at the start of a live frame's page that Linux keeps records in.
  static constexpr std::uint32_t live_record_bytes = 112;
  static constexpr std::uint32_t default_batch = 64, max_batch = 256;
  /// Runs between which the CPU is handed over.
  static constexpr std::uint32_t runs_per_turn = 64;

  bool is_live() const { return (attr_.flags & uapi::BPF_F_TEST_XDP_LIVE_FRAMES) != 0; }
  bool has_context() const { return attr_.ctx_in != 0 || attr_.ctx_out != 0; }

  Result<void> check_attributes();
  Result<void> read_context();
  Result<void> check_sizes();
  Result<void> make_frame();
  Result<void> find_device();
  Result<void> add_fragments();
  void place(Buff& frame) const;  // sets the frame's bounds as at the start of a run

  Result<void> run_on_one_frame();
  Result<void> run_live();
  Result<void> run_live_batch(std::uint32_t count);
  Buff* next_live_frame(Slot& slot);

  Result<void> write_packet(bool& write_back);
  Result<void> write_context();

  Xdp& xdp_;
  PacketPool& packets_;
  Caller& caller_;
  const Program& program_;
  uapi::prog_test_run_attr& attr_;

  uapi::xdp_md context_{};          // as given; all zero without
  std::uint32_t linear_bytes_ = 0;  // metadata included
  std::uint32_t batch_ = 0;
  Ref<Device> device_;
  Buff* frame_ = nullptr;     // ours: what is run on, or what live frames are copied from
  std::vector<Buff*> spare_;  // live frames that were dropped: used again as they are
  std::uint64_t time_ns_ = 0;
};

}  // namespace skep
