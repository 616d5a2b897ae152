// SPDX-License-Identifier: Apache-2.0
// BPF_PROG_TEST_RUN of XDP programs: sizes, capacities, contexts and flags.
#include "differential/side.hpp"
#include "uapi/bpf.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace skep::testing {
namespace {

using uapi::prog_test_run_attr;

/// A program that returns `value`.
std::uint32_t load(Side& side, std::int32_t value, std::uint32_t attach_type) {
  const std::array<uapi::bpf_insn, 2> instructions{
      {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = value},
       {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}}};
  uapi::prog_load_attr attr{};
  attr.prog_type = uapi::BPF_PROG_TYPE_XDP;
  attr.insn_cnt = instructions.size();
  attr.insns = address_of(instructions.data());
  attr.license = address_of("GPL");
  attr.expected_attach_type = attach_type;
  return static_cast<std::uint32_t>(side.call("program", uapi::BPF_PROG_LOAD, attr));
}

/// Notes the result and what came back; the duration is the machine's own.
void run(Side& side, const std::string& what, prog_test_run_attr attr) {
  side.call(what, uapi::BPF_PROG_TEST_RUN, attr, sizeof attr, {{36, 40}});
}

TEST(DifferentialTestRun, SizesFlagsAndDescriptors) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    std::vector<std::byte> packet(70000);
    for (std::size_t i = 0; i < packet.size(); ++i) packet[i] = std::byte(i);
    std::vector<std::byte> out(70000);
    const std::uint32_t prog = load(side, 2, 0);
    const auto block = [&](std::uint32_t bytes) {
      prog_test_run_attr attr{};
      attr.prog_fd = prog;
      attr.data_in = address_of(packet.data());
      attr.data_size_in = bytes;
      return attr;
    };
    for (const std::uint32_t bytes : {0U, 1U, 13U, 14U, 15U, 64U, 1514U, 3520U}) {
      for (const std::uint32_t room : {0U, 1U, 14U, 64U, 4000U}) {
        prog_test_run_attr attr = block(bytes);
        attr.data_out = address_of(out.data());
        attr.data_size_out = room;
        std::ranges::fill(out, std::byte{0xa5});
        run(side, "size " + std::to_string(bytes) + " room " + std::to_string(room), attr);
        side.note_bytes("out", std::span(out).first(80));
        attr.data_out = bad_addresses[0];
        run(side, "out to a bad address", attr);
      }
    }
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
      if (bit == 1) continue;  // live frames
      prog_test_run_attr attr = block(64);
      attr.flags = 1U << bit;
      run(side, "flags " + std::to_string(attr.flags), attr);
    }
    for (const std::uint32_t repeat : {0U, 1U, 5U, 100U}) {
      prog_test_run_attr attr = block(64);
      attr.repeat = repeat;
      run(side, "repeat " + std::to_string(repeat), attr);
    }
    for (const std::uint32_t cpu : {0U, 1U, 1000U}) {
      prog_test_run_attr attr = block(64);
      attr.cpu = cpu;
      run(side, "cpu " + std::to_string(cpu), attr);
      attr.batch_size = 1;
      run(side, "batch", attr);
    }
    for (const std::uint32_t fd : {closed_fd, 0xffffffffU}) {
      prog_test_run_attr attr = block(64);
      attr.prog_fd = fd;
      run(side, "closed", attr);
      attr.ctx_size_in = 4;
      run(side, "closed, context without address", attr);
    }
    for (const std::uint32_t attach : {33U, 35U, 37U, 46U}) {
      prog_test_run_attr attr = block(64);
      attr.prog_fd = load(side, 2, attach);
      run(side, "attach type " + std::to_string(attach), attr);
    }
    for (const std::int32_t value : {0, 1, 3, 4, 5, -1}) {
      prog_test_run_attr attr = block(64);
      attr.prog_fd = load(side, value, 0);
      run(side, "returns " + std::to_string(value), attr);
    }
  });
}

TEST(DifferentialTestRun, Contexts) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    std::array<std::byte, 128> packet{};
    const std::uint32_t prog = load(side, 2, 0);
    for (const std::uint32_t data : {0U, 4U, 6U, 32U, 252U, 256U}) {
      for (const std::uint32_t data_end : {0U, 64U, 100U, 128U, 129U}) {
        for (const std::uint32_t ctx_bytes : {0U, 8U, 24U, 28U, 40U}) {
          for (const std::uint32_t odd : {0U, 1U, 2U, 3U, 4U}) {
            std::array<std::uint32_t, 16> context{data, data_end};
            if (odd == 1) context[2] = 1;  // data_meta
            if (odd == 2) context[4] = 1;  // rx_queue_index
            if (odd == 3) context[5] = 1;  // egress_ifindex
            if (odd == 4) context[6] = 1;  // beyond the struct
            std::array<std::byte, 256> out{};
            std::array<std::uint32_t, 16> context_out{};
            prog_test_run_attr attr{};
            attr.prog_fd = prog;
            attr.data_in = address_of(packet.data());
            attr.data_size_in = packet.size();
            attr.data_out = address_of(out.data());
            attr.data_size_out = out.size();
            attr.ctx_in = ctx_bytes != 0 ? address_of(context.data()) : 0;
            attr.ctx_size_in = ctx_bytes;
            attr.ctx_out = ctx_bytes != 0 ? address_of(context_out.data()) : 0;
            attr.ctx_size_out = ctx_bytes;
            run(side,
                "data " + std::to_string(data) + " end " + std::to_string(data_end) + " bytes " +
                    std::to_string(ctx_bytes) + " odd " + std::to_string(odd),
                attr);
            side.note_bytes("context", std::as_bytes(std::span(context_out)));
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace skep::testing
