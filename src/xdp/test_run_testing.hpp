// SPDX-License-Identifier: Apache-2.0
// One BPF_PROG_TEST_RUN, done here and by the kernel of this machine: what both must agree on.
#pragma once

#include "xdp/xdp_testing.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

namespace skep::testing {

struct RunRequest {
  Instructions instructions;
  Bytes data = Bytes(64);
  std::uint32_t data_bytes = 0;  // 0: all of `data`
  std::uint32_t load_flags = 0;
  std::uint32_t attach_type = 0;
  std::optional<Bytes> context = std::nullopt;
  std::uint32_t context_out_bytes = 0;
  bool wants_data = true;
  std::uint32_t limit = 0;  // data_size_out
  std::uint32_t repeat = 1;
  std::uint32_t flags = 0;
  std::uint32_t batch = 0;
  bool null_data = false;
};

/// What a caller can see afterwards; fields that were not written keep what was there before.
struct RunResult {
  static constexpr std::uint32_t untouched = 0x5a5a5a5a;
  int error = 0;
  std::uint32_t retval = untouched;
  std::uint32_t bytes = 0;
  std::uint32_t context_bytes = 0;
  Bytes data;
  Bytes context;
  friend bool operator==(const RunResult&, const RunResult&) = default;
};

inline void PrintTo(const RunResult& result, std::ostream* out) {
  *out << (result.error == 0 ? std::string("ok") : errno_text(result.error)) << " retval "
       << static_cast<std::int32_t>(result.retval) << " bytes " << result.bytes << " context_bytes "
       << result.context_bytes << " data";
  for (std::size_t i = 0; i < result.data.size() && i < 32; ++i)
    *out << ' ' << static_cast<unsigned>(result.data[i]);
  *out << " context";
  for (const std::byte b : result.context) *out << ' ' << static_cast<unsigned>(b);
}

class TestRunTest : public XdpTest {
 protected:
  static constexpr std::size_t room = 80'000;

  /// The attributes of `request` over `result`'s buffers, which are filled with a pattern first.
  static uapi::prog_test_run_attr attributes(const RunRequest& request, RunResult& result) {
    result.data.assign(request.wants_data ? room : 0, std::byte{0xcc});
    result.context.assign(request.context_out_bytes, std::byte{0xcc});
    uapi::prog_test_run_attr attr{};
    attr.retval = RunResult::untouched;
    attr.data_size_in = request.data_bytes != 0 ? request.data_bytes
                                                : static_cast<std::uint32_t>(request.data.size());
    attr.data_in = request.null_data ? 0 : reinterpret_cast<std::uintptr_t>(request.data.data());
    attr.data_size_out = request.limit;
    attr.data_out = request.wants_data ? reinterpret_cast<std::uintptr_t>(result.data.data()) : 0;
    attr.repeat = request.repeat;
    attr.flags = request.flags;
    attr.batch_size = request.batch;
    if (request.context) {
      attr.ctx_size_in = static_cast<std::uint32_t>(request.context->size());
      attr.ctx_in = reinterpret_cast<std::uintptr_t>(request.context->data());
    }
    attr.ctx_size_out = request.context_out_bytes;
    if (request.context_out_bytes != 0)
      attr.ctx_out = reinterpret_cast<std::uintptr_t>(result.context.data());
    return attr;
  }
  static RunResult finished(RunResult result, int error, const uapi::prog_test_run_attr& attr) {
    result.error = error;
    result.retval = attr.retval;
    result.bytes = attr.data_size_out;
    result.context_bytes = attr.ctx_size_out;
    // Everything behind the last byte that was written is pattern.
    while (!result.data.empty() && result.data.back() == std::byte{0xcc}) result.data.pop_back();
    return result;
  }

  RunResult run_here(const RunRequest& request) {
    const Ref<Program> program =
        load(request.instructions, request.attach_type, request.load_flags);
    RunResult result;
    const uapi::prog_test_run_attr before = attributes(request, result);
    uapi::prog_test_run_attr attr = before;
    bool write_back = false;
    const Result<void> done = xdp_type_.test_run(*caller_, *program, attr, write_back);
    return finished(std::move(result), done ? 0 : done.error().code, write_back ? attr : before);
  }

  /// Null, with a reason, if the kernel does not let us.
  std::optional<RunResult> run_on_host(const RunRequest& request) {
    uapi::prog_load_attr load{};
    load.prog_type = uapi::BPF_PROG_TYPE_XDP;
    load.insn_cnt = static_cast<std::uint32_t>(request.instructions.size());
    load.insns = reinterpret_cast<std::uintptr_t>(request.instructions.data());
    load.license = reinterpret_cast<std::uintptr_t>("GPL");
    load.prog_flags = request.load_flags;
    load.expected_attach_type = request.attach_type;
    // As many bytes as old kernels know too.
    const auto fd = static_cast<int>(::syscall(SYS_bpf, uapi::BPF_PROG_LOAD, &load, 72));
    if (fd < 0) {
      refused_because_ = "bpf(BPF_PROG_LOAD): " + errno_text(errno);
      return std::nullopt;
    }
    RunResult result;
    uapi::prog_test_run_attr attr = attributes(request, result);
    attr.prog_fd = static_cast<std::uint32_t>(fd);
    const long done = ::syscall(SYS_bpf, uapi::BPF_PROG_TEST_RUN, &attr, sizeof(attr));
    const int error = done == 0 ? 0 : errno;
    ::close(fd);
    return finished(std::move(result), error, attr);
  }

  /// Runs here; compares with the kernel of this machine where it lets us.
  RunResult run(const RunRequest& request) {
    const RunResult here = run_here(request);
    if (const auto host = run_on_host(request)) {
      ++compared_;
      EXPECT_EQ(here, *host) << "first is skep, second is the kernel";
    }
    return here;
  }

  int compared_ = 0;
  std::string refused_because_;
};

inline Bytes numbered(std::size_t bytes) {
  Bytes data(bytes);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i * 7 + i / 256);
  return data;
}

}  // namespace skep::testing
