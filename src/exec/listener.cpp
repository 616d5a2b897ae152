// SPDX-License-Identifier: Apache-2.0
#include "exec/listener.hpp"

#include <linux/seccomp.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>

namespace skep::exec {
namespace {

// Linux 6.6; not in the header of older kernels.
constexpr unsigned long ioctl_set_flags = SECCOMP_IOW(4, std::uint64_t);
constexpr std::uint64_t synchronous_wake_up = 1;

/// Room for notifications of kernels that have more to say than ours.
union NotificationBuffer {
  seccomp_notif notification;
  std::array<std::byte, 512> room;
};

bool notifications_fit() {
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) return false;
  return sizes.seccomp_notif <= sizeof(NotificationBuffer) &&
         sizes.seccomp_notif_resp <= sizeof(seccomp_notif_resp);
}

void send(int fd, const seccomp_notif_resp& response) {
  // Fails only if the client is gone.
  (void)::ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

}  // namespace

Result<Listener> Listener::adopt(OwnedFd fd) {
  if (!notifications_fit()) return Errno{EOPNOTSUPP};
  std::uint64_t no_call = 0;
  if (::ioctl(fd.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &no_call) != 0 && errno != ENOENT)
    return Errno{EINVAL};
  if (::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) return Errno{EINVAL};
  // The client waits for us from now on: a wake-up on its own CPU saves one on an idle CPU. Older
  // kernels do not know this and are only slower.
  (void)::ioctl(fd.get(), ioctl_set_flags, synchronous_wake_up);
  return Listener(std::move(fd));
}

Result<Call> Listener::receive() const {
  NotificationBuffer buffer{};  // the kernel wants zeros
  if (::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &buffer) != 0) return Errno{errno};
  const seccomp_notif& notification = buffer.notification;
  Call call{.id = notification.id,
            .thread = static_cast<pid_t>(notification.pid),
            .architecture = notification.data.arch,
            .number = notification.data.nr,
            .arguments = {}};
  for (std::size_t i = 0; i < call.arguments.size(); ++i)
    call.arguments[i] = notification.data.args[i];
  return call;
}

bool Listener::is_waiting(std::uint64_t id) const {
  return ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool Listener::is_abandoned() const {
  pollfd poll_fd{fd_.get(), POLLIN, 0};
  return ::poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP) != 0;
}

void Listener::give_value(std::uint64_t id, std::int64_t value) const {
  send(fd_.get(), {.id = id, .val = value, .error = 0, .flags = 0});
}

void Listener::give_error(std::uint64_t id, int code) const {
  send(fd_.get(), {.id = id, .val = 0, .error = -code, .flags = 0});
}

void Listener::give_descriptor(std::uint64_t id, int fd) const {
  seccomp_notif_addfd request{.id = id,
                              .flags = SECCOMP_ADDFD_FLAG_SEND,
                              .srcfd = static_cast<std::uint32_t>(fd),
                              .newfd = 0,
                              .newfd_flags = O_CLOEXEC};
  if (::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request) >= 0) return;
  // The client has no free number left, or is gone.
  give_error(id, errno == EMFILE || errno == ENFILE ? errno : ENOMEM);
}

void Listener::let_through(std::uint64_t id) const {
  send(fd_.get(), {.id = id, .val = 0, .error = 0, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

}  // namespace skep::exec
