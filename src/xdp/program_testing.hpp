// SPDX-License-Identifier: Apache-2.0
// What the tests and the benchmark of this room load programs with: instructions by name, and a
// caller whose memory is the process's own.
#pragma once

#include "net/device.hpp"
#include "object/caller.hpp"
#include "object/object.hpp"
#include "prog/program.hpp"
#include "uapi/bpf.hpp"

#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::testing {

using Bytes = std::vector<std::byte>;
using Instructions = std::vector<uapi::bpf_insn>;

inline Instructions operator+(Instructions a, const Instructions& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline Instructions insn(int code, int dst, int src, int off, std::int64_t imm) {
  return {{.code = static_cast<std::uint8_t>(code),
           .dst_reg = static_cast<std::uint8_t>(dst),
           .src_reg = static_cast<std::uint8_t>(src),
           .off = static_cast<std::int16_t>(off),
           .imm = static_cast<std::int32_t>(imm)}};
}
inline Instructions mov(int dst, std::int64_t imm) {
  return insn(uapi::BPF_ALU64 | uapi::BPF_MOV | uapi::BPF_K, dst, 0, 0, imm);
}
inline Instructions mov_reg(int dst, int src) {
  return insn(uapi::BPF_ALU64 | uapi::BPF_MOV | uapi::BPF_X, dst, src, 0, 0);
}
inline Instructions add(int dst, std::int64_t imm) {
  return insn(uapi::BPF_ALU64 | uapi::BPF_ADD | uapi::BPF_K, dst, 0, 0, imm);
}
inline Instructions ldx(int size, int dst, int src, int off) {
  return insn(uapi::BPF_LDX | uapi::BPF_MEM | size, dst, src, off, 0);
}
inline Instructions st(int size, int dst, int off, std::int64_t imm) {
  return insn(uapi::BPF_ST | uapi::BPF_MEM | size, dst, 0, off, imm);
}
inline Instructions stx(int size, int dst, int off, int src) {
  return insn(uapi::BPF_STX | uapi::BPF_MEM | size, dst, src, off, 0);
}
inline Instructions call(int helper) {
  return insn(uapi::BPF_JMP | uapi::BPF_CALL, 0, 0, 0, helper);
}
inline Instructions exit_program() { return insn(uapi::BPF_JMP | uapi::BPF_EXIT, 0, 0, 0, 0); }
/// Runs `body` if `reg` equals `imm`.
inline Instructions if_equal(int reg, std::int64_t imm, const Instructions& body) {
  return insn(uapi::BPF_JMP | uapi::BPF_JNE | uapi::BPF_K, reg, 0, static_cast<int>(body.size()),
              imm) +
         body;
}
inline Instructions map_address(int dst, int fd) {
  return insn(uapi::BPF_LD | uapi::BPF_IMM | uapi::BPF_DW, dst, uapi::BPF_PSEUDO_MAP_FD, 0, fd) +
         insn(0, 0, 0, 0, 0);
}
inline Instructions imm64(int dst, std::uint64_t value) {
  return insn(uapi::BPF_LD | uapi::BPF_IMM | uapi::BPF_DW, dst, 0, 0,
              static_cast<std::int32_t>(value)) +
         insn(0, 0, 0, 0, static_cast<std::int32_t>(value >> 32));
}
inline Instructions return_value(std::int64_t value) { return mov(0, value) + exit_program(); }
/// Calls a helper with the context and one number, and returns what it gives.
inline Instructions call_with(int helper, std::int64_t number) {
  return mov(2, number) + call(helper) + exit_program();
}

enum HelperId {
  map_lookup_elem = 1,
  redirect_id = 23,
  adjust_head_id = 44,
  redirect_map_id = 51,
  adjust_meta_id = 54,
  adjust_tail_id = 65,
  check_mtu_id = 163,
  get_buff_len_id = 188,
  load_bytes_id = 189,
  store_bytes_id = 190
};

/// A program that its packet tells what to do. Byte 0: the verdict, 255: what the last helper gave.
/// From byte 1 on two calls of three bytes each: 0 none, 1 redirect, 2 redirect_map(map); ifindex
/// or key; flags.
inline Instructions obedient(int map_fd) {
  Instructions program = mov_reg(6, 1) + ldx(uapi::BPF_W, 7, 6, 0) + mov(8, 0);
  for (int first : {1, 4}) {
    const Instructions arguments =
        ldx(uapi::BPF_B, 2, 7, first + 1) + ldx(uapi::BPF_B, 3, 7, first + 2);
    program = program + ldx(uapi::BPF_B, 4, 7, first);
    program = program + if_equal(4, 1,
                                 arguments + mov_reg(1, 2) + mov_reg(2, 3) + call(redirect_id) +
                                     mov_reg(8, 0) + mov(4, 0));
    program =
        program +
        if_equal(4, 2, map_address(1, map_fd) + arguments + call(redirect_map_id) + mov_reg(8, 0));
  }
  return program + ldx(uapi::BPF_B, 0, 7, 0) + if_equal(0, 255, mov_reg(0, 8)) + exit_program();
}
struct Step {
  std::uint8_t call = 0, argument = 0, flags = 0;
};
inline constexpr std::uint8_t by_helper = 255;
/// A 60-byte packet for obedient().
inline Bytes order(std::uint8_t verdict, Step first = {}, Step second = {}) {
  Bytes packet(60);
  const std::uint8_t head[] = {verdict,     first.call,      first.argument, first.flags,
                               second.call, second.argument, second.flags};
  std::memcpy(packet.data(), head, sizeof(head));
  return packet;
}
inline Step plain(std::uint32_t ifindex, std::uint8_t flags = 0) {
  return {1, static_cast<std::uint8_t>(ifindex), flags};
}
inline Step through_map(std::uint8_t key, std::uint8_t flags = 0) { return {2, key, flags}; }

class SilentTrace final : public TraceSink {
 public:
  void write(std::string_view, std::uint32_t, std::uint64_t, std::string_view) override {}
};

/// Descriptors are positions in a list, memory is the process's own but for a page at 0.
class TestCaller final : public Caller, public MapResolver {
 public:
  explicit TestCaller(Ref<NetNamespace> net_namespace) : net_namespace_(std::move(net_namespace)) {}

  int open(Ref<Object> object) {
    objects_.push_back(std::move(object));
    return static_cast<int>(objects_.size()) + first_fd - 1;
  }
  void close(int fd) { objects_[fd - first_fd] = nullptr; }
  /// Runs once, in the middle of the next command that resolves a descriptor.
  void interrupt_with(std::function<void()> body) { interruption_ = std::move(body); }
  void move_to(Ref<NetNamespace> net_namespace) { net_namespace_ = std::move(net_namespace); }

  bool capable(Capability) const override { return true; }
  Result<Ref<Object>> object(int fd, ObjectKind kind, Access*) override {
    if (const auto body = std::exchange(interruption_, nullptr)) body();
    const int position = fd - first_fd;
    if (position < 0 || position >= static_cast<int>(objects_.size()) || !objects_[position])
      return Errno{EBADF};
    if (objects_[position]->kind() != kind) return Errno{EINVAL};
    return objects_[position];
  }
  NetNamespace& net_namespace() override { return *net_namespace_; }
  Result<void> read(std::uint64_t address, std::span<std::byte> into) override {
    if (into.empty()) return ok();
    if (address < first_address) return Errno{EFAULT};
    std::memcpy(into.data(), reinterpret_cast<const void*>(address), into.size());
    return ok();
  }
  Result<void> write(std::uint64_t address, std::span<const std::byte> from) override {
    if (from.empty()) return ok();
    if (address < first_address) return Errno{EFAULT};
    std::memcpy(reinterpret_cast<void*>(address), from.data(), from.size());
    return ok();
  }
  std::uint32_t uid() const override { return 0; }

  Result<Ref<Map>> map_by_fd(int fd) override {
    return ref_cast<Map>(TRY(object(fd, ObjectKind::map, nullptr)));
  }
  Result<Ref<Map>> map_by_index(std::uint32_t) override { return Errno{EPROTO}; }

 private:
  static constexpr int first_fd = 3;
  static constexpr std::uint64_t first_address = 4096;
  Ref<NetNamespace> net_namespace_;
  std::vector<Ref<Object>> objects_;
  std::function<void()> interruption_;
};

}  // namespace skep::testing
