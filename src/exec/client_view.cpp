// SPDX-License-Identifier: Apache-2.0
#include "exec/client_view.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <string>
#include <string_view>

namespace skep::exec {
namespace {

bool write_file(const char* path, const std::string& text) {
  const OwnedFd fd(::open(path, O_WRONLY | O_CLOEXEC));
  return fd.is_open() &&
         ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// Every user and group keeps its number; others have none in the namespace.
bool map_user_and_group(uid_t user, gid_t group) {
  const auto same = [](unsigned id) {
    return std::to_string(id) + " " + std::to_string(id) + " 1";
  };
  return write_file("/proc/self/uid_map", same(user)) &&
         write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/gid_map", same(group));
}

/// Runs in the child that builds the namespaces. Returns 0 or an errno, with 1 << 16 added if a
/// user namespace was needed.
int build_namespaces() {
  constexpr int has_user_namespace = 1 << 16;
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  int result = 0;
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return errno;
    if (!map_user_and_group(user, group)) return errno;
    result = has_user_namespace;
  }
  // What is mounted outside later shall be seen inside, never the other way.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return errno;
  if (::mount("bpf", ClientView::mount_point, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "mode=1777") != 0)
    return errno;
  return result;
}

OwnedFd open_of(pid_t process, const char* what, int flags) {
  const std::string path = "/proc/" + std::to_string(process) + "/" + what;
  return OwnedFd(::open(path.c_str(), flags | O_CLOEXEC));
}

}  // namespace

Result<ClientView> ClientView::make() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return Errno{errno};
  OwnedFd ours(ends[0]);
  OwnedFd its(ends[1]);
  const pid_t builder = ::fork();
  if (builder < 0) return Errno{errno};
  if (builder == 0) {
    const int built = build_namespaces();
    (void)::send(its.get(), &built, sizeof built, MSG_NOSIGNAL);
    // Lives until we have opened what it built.
    char byte = 0;
    {
      OwnedFd closed(std::move(ours));
    }
    (void)::recv(its.get(), &byte, 1, 0);
    ::_exit(0);
  }
  {
    OwnedFd closed(std::move(its));
  }
  int built = EAGAIN;
  const bool told = ::recv(ours.get(), &built, sizeof built, 0) == sizeof built;
  ClientView view;
  const int code = built & 0xffff;
  if (told && code == 0) {
    if (built != 0) view.user_namespace = open_of(builder, "ns/user", O_RDONLY);
    view.mount_namespace = open_of(builder, "ns/mnt", O_RDONLY);
    view.bpf_file_system = open_of(builder, "root/sys/fs/bpf", O_PATH | O_DIRECTORY);
    if ((built != 0 && !view.user_namespace.is_open()) || !view.mount_namespace.is_open() ||
        !view.bpf_file_system.is_open())
      built = errno;
  }
  {
    OwnedFd closed(std::move(ours));
  }
  int status = 0;
  while (::waitpid(builder, &status, 0) < 0 && errno == EINTR) {
  }
  if (!told) return Errno{EAGAIN};
  if ((built & 0xffff) != 0) return Errno{built & 0xffff};
  return view;
}

Result<void> ClientView::enter() const {
  std::string directory(PATH_MAX, '\0');
  if (::getcwd(directory.data(), directory.size()) == nullptr) return Errno{errno};
  if (user_namespace.is_open() && ::setns(user_namespace.get(), CLONE_NEWUSER) != 0)
    return Errno{errno};
  if (::setns(mount_namespace.get(), CLONE_NEWNS) != 0) return Errno{errno};
  if (::chdir(directory.c_str()) != 0) return Errno{errno};
  return ok();
}

}  // namespace skep::exec
