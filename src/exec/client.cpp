// SPDX-License-Identifier: Apache-2.0
#include "exec/client.hpp"

#include <linux/openat2.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace skep::exec {
namespace {

// Linux 6.9: a pidfd of one thread. Not in the header of older kernels.
constexpr unsigned pidfd_thread = O_EXCL;

// Linux 6.13: what a pidfd can tell, as far as we ask.
struct PidfdInfo {
  std::uint64_t mask = 0;
  std::uint64_t cgroup = 0;
  std::uint32_t pid = 0, process = 0, parent = 0;
  std::uint32_t real_user = 0, real_group = 0, effective_user = 0, effective_group = 0;
  std::uint32_t saved_user = 0, saved_group = 0, file_user = 0, file_group = 0;
  std::uint32_t exit_code = 0;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr unsigned long ioctl_pidfd_info = _IOWR(0xff, 11, PidfdInfo);
constexpr std::uint64_t pidfd_info_credentials = 1U << 1;

// One call moves at most 2 GiB less a page.
constexpr std::size_t max_bytes_per_call = std::size_t{1} << 30;

Errno memory_error(int code) { return Errno{code == EPERM ? EPERM : EFAULT}; }

std::string proc_path(pid_t thread, std::string_view what) {
  return "/proc/" + std::to_string(thread) + "/" + std::string(what);
}

/// A file of /proc that fits into 4 KiB. Errors: as open(2) and read(2).
Result<std::string> read_proc(pid_t thread, std::string_view what) {
  const OwnedFd fd(::open(proc_path(thread, what).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return Errno{errno};
  std::string text(4096, '\0');
  const ssize_t bytes = ::read(fd.get(), text.data(), text.size());
  if (bytes < 0) return Errno{errno};
  text.resize(static_cast<std::size_t>(bytes));
  return text;
}

/// The number after `key` in /proc/THREAD/status. Errors: ESRCH.
Result<std::uint32_t> status_number(pid_t thread, std::string_view key) {
  const auto status = read_proc(thread, "status");
  if (!status) return Errno{ESRCH};
  const std::size_t at = status->find(key);
  if (at == std::string::npos) return Errno{ESRCH};
  std::uint32_t number = 0;
  const char* const begin = status->data() + at + key.size();
  if (std::from_chars(begin, status->data() + status->size(), number).ec != std::errc{})
    return Errno{ESRCH};
  return number;
}

/// The process that a thread belongs to. Errors: ESRCH.
Result<pid_t> process_of(pid_t thread) {
  return static_cast<pid_t>(TRY(status_number(thread, "\nTgid:\t")));
}

Result<OwnedFd> open_root(pid_t thread) {
  OwnedFd root(::open(proc_path(thread, "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.is_open()) return Errno{errno == EMFILE || errno == ENFILE ? errno : EACCES};
  return root;
}

/// The text of a link in /proc.
Result<std::string> read_link(const std::string& path) {
  std::string text(PATH_MAX, '\0');
  const ssize_t bytes = ::readlink(path.c_str(), text.data(), text.size());
  if (bytes < 0) return Errno{errno};
  text.resize(static_cast<std::size_t>(bytes));
  return text;
}

/// A relative path made absolute. The kernel tells where a directory is as text, from the top of
/// the client's mounts; in a client that changed its root the text does not fit and nothing is
/// found. Errors: ENOENT, ENAMETOOLONG.
Result<std::string> absolute(const PathBase& base, std::string_view path) {
  if (path.starts_with('/')) return std::string(path);
  const auto start = base.directory < 0
                         ? read_link(proc_path(base.thread, "cwd"))
                         : read_link("/proc/self/fd/" + std::to_string(base.directory));
  if (!start || !start->starts_with('/')) return Errno{ENOENT};
  return *start + "/" + std::string(path);
}

Result<OwnedFd> open_below(int root, const std::string& path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_PATH | O_CLOEXEC;
  // Links that start with a slash start at the client's root, not at ours.
  how.resolve = RESOLVE_IN_ROOT;
  const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
  if (fd < 0) return Errno{errno};
  return OwnedFd(static_cast<int>(fd));
}

}  // namespace

Result<std::size_t> read_some(pid_t thread, std::uint64_t address, std::span<std::byte> into) {
  const iovec local{into.data(), into.size()};
  const iovec remote{reinterpret_cast<void*>(address), into.size()};
  const ssize_t moved = ::process_vm_readv(thread, &local, 1, &remote, 1, 0);
  if (moved < 0) return memory_error(errno);
  return static_cast<std::size_t>(moved);
}

Result<std::size_t> read_pieces(pid_t thread, std::span<const Piece, 3> pieces) {
  std::array<iovec, 3> local, remote;
  std::size_t used = 0;
  for (const Piece& piece : pieces) {
    if (piece.into.empty()) continue;
    local[used] = {piece.into.data(), piece.into.size()};
    remote[used++] = {reinterpret_cast<void*>(piece.address), piece.into.size()};
  }
  const ssize_t moved = ::process_vm_readv(thread, local.data(), used, remote.data(), used, 0);
  if (moved < 0) return memory_error(errno);
  return static_cast<std::size_t>(moved);
}

Result<void> read_memory(pid_t thread, std::uint64_t address, std::span<std::byte> into) {
  while (!into.empty()) {
    const std::size_t part = std::min(into.size(), max_bytes_per_call);
    if (TRY(read_some(thread, address, into.first(part))) != part) return Errno{EFAULT};
    into = into.subspan(part);
    address += part;
  }
  return ok();
}

Result<void> write_memory(pid_t thread, std::uint64_t address, std::span<const std::byte> from) {
  while (!from.empty()) {
    const std::size_t part = std::min(from.size(), max_bytes_per_call);
    const iovec local{const_cast<std::byte*>(from.data()), part};
    const iovec remote{reinterpret_cast<void*>(address), part};
    const ssize_t moved = ::process_vm_writev(thread, &local, 1, &remote, 1, 0);
    if (moved < 0) return memory_error(errno);
    if (static_cast<std::size_t>(moved) != part) return Errno{EFAULT};
    from = from.subspan(part);
    address += part;
  }
  return ok();
}

Result<std::string> read_text(pid_t thread, std::uint64_t address, std::size_t max_bytes) {
  std::string text(max_bytes, '\0');
  const std::size_t bytes =
      TRY(read_some(thread, address, std::as_writable_bytes(std::span(text))));
  const std::size_t end = std::string_view(text).substr(0, bytes).find('\0');
  if (end == std::string::npos) return Errno{bytes == max_bytes ? ENAMETOOLONG : EFAULT};
  text.resize(end);
  return text;
}

Result<int> ClientThreads::pidfd(pid_t thread) {
  Entry& known = entry(thread);
  if (known.thread == thread) return known.pidfd.get();
  known.thread = 0;
  long fd = ::syscall(SYS_pidfd_open, thread, pidfd_thread);
  if (fd >= 0) {
    known.pidfd = OwnedFd(static_cast<int>(fd));
    known.thread = thread;
    return known.pidfd.get();
  }
  if (errno != EINVAL) return Errno{errno};
  // An older kernel: only processes have one. It says nothing about the thread, whose number may be
  // another's at the next call, so it is not kept.
  fd = ::syscall(SYS_pidfd_open, TRY(process_of(thread)), 0);
  if (fd < 0) return Errno{errno};
  known.pidfd = OwnedFd(static_cast<int>(fd));
  return known.pidfd.get();
}

Result<OwnedFd> ClientThreads::copy_descriptor(pid_t thread, int fd) {
  // Twice at most: the thread that had the number when we last saw it may be gone.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const int pidfd_of_client = TRY(pidfd(thread));
    const long copy = ::syscall(SYS_pidfd_getfd, pidfd_of_client, fd, 0);
    if (copy >= 0) return OwnedFd(static_cast<int>(copy));
    if (errno != ESRCH) return Errno{errno};
    entry(thread).thread = 0;
  }
  return Errno{ESRCH};
}

Result<uid_t> ClientThreads::user(pid_t thread) {
  // Twice at most, as above.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const int pidfd_of_client = TRY(pidfd(thread));
    PidfdInfo info{.mask = pidfd_info_credentials};
    if (::ioctl(pidfd_of_client, ioctl_pidfd_info, &info) == 0) return info.effective_user;
    if (errno != ESRCH) break;
    entry(thread).thread = 0;
  }
  // An older kernel. The line has the real user first, then the effective one.
  const std::uint32_t real = TRY(status_number(thread, "\nUid:\t"));
  return TRY(status_number(thread, "\nUid:\t" + std::to_string(real) + "\t"));
}

Result<OwnedFd> open_path(const PathBase& base, std::string_view path, LastLink last) {
  if (path.empty()) return Errno{ENOENT};
  const OwnedFd root = TRY(open_root(base.thread));
  return open_below(root.get(), TRY(absolute(base, path)), last == LastLink::keep ? O_NOFOLLOW : 0);
}

Result<NamedPlace> open_parent(const PathBase& base, std::string_view path) {
  if (path.empty()) return Errno{ENOENT};
  const OwnedFd root = TRY(open_root(base.thread));
  const std::string whole = TRY(absolute(base, path));
  const std::size_t slash = whole.rfind('/');
  NamedPlace place;
  place.name = whole.substr(slash + 1);
  if (place.name == "." || place.name == "..") place.name.clear();
  const std::string parent = place.name.empty() ? whole : whole.substr(0, slash + 1);
  place.directory = TRY(open_below(root.get(), parent, O_DIRECTORY));
  return place;
}

}  // namespace skep::exec
