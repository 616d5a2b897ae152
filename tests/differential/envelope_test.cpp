// SPDX-License-Identifier: Apache-2.0
// What holds for all commands: sizes, tails, unknown commands, last fields. Host and skep must
// agree on every errno.
#include "differential/side.hpp"
#include "uapi/bpf.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace skep::testing {
namespace {

using Block = std::array<std::byte, uapi::attr_bytes>;

/// Commands that skep has. The others are EINVAL there, as on a kernel that does not know them.
constexpr std::uint32_t commands[] = {0,  1,  2,  3,  4,  5,  6,  7,  10, 11, 12, 13, 14, 15,
                                      18, 19, 21, 22, 23, 24, 25, 26, 27, 30, 31, 32, 35};

template <class T>
void put(Block& block, std::size_t offset, T value) {
  std::memcpy(block.data() + offset, &value, sizeof value);
}

const std::array<uapi::bpf_insn, 2> return_zero{
    {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
     {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}}};
const char license[] = "GPL";

/// A block for `command` that passes all checks but for closed descriptors, so that EINVAL can only
/// be the tail's.
Block base_block(std::uint32_t command) {
  Block block{};
  switch (command) {
    case uapi::BPF_MAP_CREATE:
      put(block, 0, std::array<std::uint32_t, 4>{uapi::BPF_MAP_TYPE_ARRAY, 4, 4, 1});
      break;
    case uapi::BPF_PROG_LOAD:
      put(block, 0, std::uint32_t{uapi::BPF_PROG_TYPE_XDP});
      put(block, 4, std::uint32_t{return_zero.size()});
      put(block, 8, address_of(return_zero.data()));
      put(block, 16, address_of(license));
      break;
    case uapi::BPF_MAP_LOOKUP_BATCH:
    case uapi::BPF_MAP_LOOKUP_AND_DELETE_BATCH:
    case uapi::BPF_MAP_UPDATE_BATCH:
    case uapi::BPF_MAP_DELETE_BATCH:
      put(block, 36, closed_fd);
      break;
    case uapi::BPF_OBJ_PIN:
      put(block, 8, closed_fd);
      break;
    case uapi::BPF_OBJ_GET:
    case uapi::BPF_BTF_LOAD:
      break;
    case uapi::BPF_PROG_GET_FD_BY_ID:
    case uapi::BPF_MAP_GET_FD_BY_ID:
    case uapi::BPF_BTF_GET_FD_BY_ID:
    case uapi::BPF_LINK_GET_FD_BY_ID:
    case uapi::BPF_PROG_GET_NEXT_ID:
    case uapi::BPF_MAP_GET_NEXT_ID:
    case uapi::BPF_BTF_GET_NEXT_ID:
    case uapi::BPF_LINK_GET_NEXT_ID:
      put(block, 0, std::uint32_t{0x7ffffffe});
      break;
    case uapi::BPF_ENABLE_STATS:
      break;
    default:
      put(block, 0, closed_fd);
  }
  return block;
}

TEST(DifferentialEnvelope, SizesAndTails) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t command : {0U, 1U, 12U, 15U, 1000U, 0xffffffffU}) {
      for (const std::size_t size : {0, 1, 4, 12, 16, 72, 168, 169, 176, 4096, 4097, 5000}) {
        for (const std::size_t poke : {0, 167, 168, 175, 4095}) {
          std::array<std::byte, 5000> block{};
          block[poke] = std::byte{poke == 0 ? std::uint8_t{2} : std::uint8_t{1}};
          side.call("command " + std::to_string(command) + " size " + std::to_string(size) +
                        " byte " + std::to_string(poke),
                    command, block, size, {{4, 8}});
        }
      }
      for (const std::uint64_t bad : bad_addresses)
        for (const std::size_t size : {0, 4, 168, 200, 4097})
          side.call_at("command " + std::to_string(command) + " at " + std::to_string(bad) +
                           " size " + std::to_string(size),
                       command, bad, size);
    }
  });
}

// A 1 in any single byte of an otherwise good block: tells where the last field ends, and what each
// field's bits do.
TEST(DifferentialEnvelope, EveryByteOfEveryCommand) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t command : commands) {
      for (std::size_t offset = 0; offset < uapi::attr_bytes; ++offset) {
        // Lengths and addresses of programs: other memory of ours would be read.
        const bool is_address = command == uapi::BPF_PROG_LOAD &&
                                ((offset >= 4 && offset < 24) || (offset >= 32 && offset < 40));
        if (is_address) continue;
        Block block = base_block(command);
        block[offset] = std::byte{1};
        // How long a log would be depends on its words.
        const Hidden log_size = command == uapi::BPF_BTF_LOAD ? Hidden{28, 32} : Hidden{0, 0};
        side.close(
            side.call("command " + std::to_string(command) + " byte " + std::to_string(offset),
                      command, block, block.size(), {log_size}));
      }
    }
  });
}

TEST(DifferentialEnvelope, ABlockCutAtAnySize) {
  SKEP_NEEDS_HOST();
  expect_same([](Side& side) {
    for (const std::uint32_t command : commands) {
      for (std::size_t size = 0; size <= uapi::attr_bytes; ++size) {
        // Half an id is another id, and which ids exist is the side's own affair.
        const bool walks_ids = command == uapi::BPF_MAP_GET_NEXT_ID ||
                               command == uapi::BPF_PROG_GET_NEXT_ID ||
                               command == uapi::BPF_BTF_GET_NEXT_ID;
        if (walks_ids && size < 4) continue;
        Block block = base_block(command);
        side.close(side.call("command " + std::to_string(command) + " size " + std::to_string(size),
                             command, block, size));
      }
    }
  });
}

}  // namespace
}  // namespace skep::testing
