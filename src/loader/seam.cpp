// SPDX-License-Identifier: Apache-2.0
#include "loader/seam.hpp"

#include "result/result.hpp"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace skep {
namespace {

// A thread-local, against the rule: libbpf calls back without a parameter that could carry it.
thread_local const Seam::State* current = nullptr;

bool serving() { return current != nullptr && current->syscalls != nullptr; }

int fail(int error) {
  errno = error;
  return -1;
}

int collect_message(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN || current == nullptr || current->messages == nullptr) return 0;
  char line[1024];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  if (length <= 0) return 0;
  std::string_view text(line,
                        std::min<std::size_t>(static_cast<std::size_t>(length), sizeof(line) - 1));
  if (text.starts_with("libbpf: ")) text.remove_prefix(8);
  current->messages->warnings += text;
  if (!text.ends_with('\n')) current->messages->warnings += '\n';
  return 0;
}

/// A file that reads as the kernel's list of possible CPUs: "0-3\n".
int possible_cpus_file(std::uint32_t cpus) {
  const int fd = memfd_create("possible", MFD_CLOEXEC);
  if (fd < 0) return -1;
  char text[32];
  const int length = cpus == 1 ? std::snprintf(text, sizeof(text), "0\n")
                               : std::snprintf(text, sizeof(text), "0-%u\n", cpus - 1);
  if (write(fd, text, static_cast<std::size_t>(length)) != length || lseek(fd, 0, SEEK_SET) != 0) {
    close(fd);
    return fail(EIO);
  }
  return fd;
}

/// Turns a result into what a C library call gives.
int answer(const Result<void>& result) { return result ? 0 : fail(result.error().code); }

}  // namespace

Seam::Seam(Syscalls& syscalls, Caller& caller, SeamMessages& messages)
    : state_{&syscalls, &caller, &messages} {
  ASSERT(current == nullptr);
  libbpf_set_print(collect_message);
  current = &state_;
}

Seam::Seam(SeamMessages& messages) : state_{nullptr, nullptr, &messages} {
  ASSERT(current == nullptr);
  libbpf_set_print(collect_message);
  current = &state_;
}

Seam::~Seam() { current = nullptr; }

}  // namespace skep

// The renamed calls. Their prototypes are those of the C library; hidden, so that nobody else can
// meet them.
#define SKEP_SEAM extern "C" __attribute__((visibility("hidden"), used))

extern "C" {
// libbpf's archive is not built for shared libraries; its one reference to foreign data must stay
// inside ours.
__attribute__((visibility("hidden"), used)) FILE* skep_seam_stderr = stderr;
}

SKEP_SEAM long skep_seam_syscall(long number, long a, long b, long c, long d, long e, long f) {
  using namespace skep;
  if (!serving()) return syscall(number, a, b, c, d, e, f);
  if (number == __NR_bpf) {
    const auto result =
        current->syscalls->bpf(*current->caller, static_cast<std::uint32_t>(a),
                               static_cast<std::uint64_t>(b), static_cast<std::uint32_t>(c));
    return result ? static_cast<long>(*result) : fail(result.error().code);
  }
  // Attaching to the host's events would leave the runtime's world.
  if (number == __NR_perf_event_open) return fail(EOPNOTSUPP);
  return syscall(number, a, b, c, d, e, f);
}

SKEP_SEAM int skep_seam_open64(const char* path, int flags, unsigned mode) {
  using namespace skep;
  if (serving() && std::strcmp(path, "/sys/devices/system/cpu/possible") == 0)
    return possible_cpus_file(current->syscalls->slots().cpus());
  return open(path, flags, mode);
}

SKEP_SEAM int skep_seam_statfs64(const char* path, struct statfs64* buffer) {
  using namespace skep;
  if (!serving() || !current->syscalls->pins().covers(path)) return statfs64(path, buffer);
  const auto status = current->syscalls->pins().stat(path);
  if (!status) return fail(status.error().code);
  *buffer = {};
  buffer->f_type = Pins::magic;
  buffer->f_bsize = 4096;
  return 0;
}

SKEP_SEAM int skep_seam_mkdir(const char* path, mode_t mode) {
  using namespace skep;
  if (!serving() || !current->syscalls->pins().covers(path)) return mkdir(path, mode);
  return answer(current->syscalls->pins().mkdir(path, mode, current->caller->uid()));
}

SKEP_SEAM int skep_seam_unlink(const char* path) {
  using namespace skep;
  if (!serving() || !current->syscalls->pins().covers(path)) return unlink(path);
  return answer(current->syscalls->pins().unlink(path));
}

SKEP_SEAM int skep_seam_setrlimit64(int resource, const struct rlimit64* limit) {
  // A runtime has a budget of its own; the process's limits are none of libbpf's business.
  if (skep::serving()) return 0;
  return setrlimit64(static_cast<__rlimit_resource_t>(resource), limit);
}

SKEP_SEAM int skep_seam_socket(int domain, int type, int protocol) {
  if (skep::serving() && domain == AF_NETLINK) return skep::fail(EOPNOTSUPP);
  return socket(domain, type, protocol);
}
