// SPDX-License-Identifier: Apache-2.0
#include "exec/pin_directory.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace skep::exec {
namespace {

std::string own_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

/// Whether no name is left.
bool is_nameless(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && status.st_nlink == 0;
}

}  // namespace

Result<std::unique_ptr<PinDirectory>> PinDirectory::make(OwnedFd root) {
  struct stat status{};
  if (::fstat(root.get(), &status) != 0) return Errno{EBADF};
  OwnedFd notices(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!notices.is_open()) return Errno{EMFILE};
  return std::unique_ptr<PinDirectory>(
      new PinDirectory(std::move(root), status.st_dev, std::move(notices)));
}

bool PinDirectory::contains(int fd) const {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && status.st_dev == device_;
}

Result<void> PinDirectory::pin(int directory, const std::string& name, Ref<Object> object) {
  struct stat status{};
  if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return Errno{EEXIST};
  if (name.find('.') != std::string::npos) return Errno{EPERM};
  if (!contains(directory)) return Errno{EPERM};
  return state_.with([&](State& state) -> Result<void> {
    // Under the lock, so that a removal that follows at once finds the pin in the table.
    const OwnedFd created(::openat(directory, name.c_str(),
                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!created.is_open()) return Errno{errno};
    Pin pin;
    pin.file = OwnedFd(::open(own_path(created.get()).c_str(), O_PATH | O_CLOEXEC));
    if (pin.file.is_open() && ::fstat(pin.file.get(), &status) == 0)
      // The link count is an attribute: removing a name is told as a change of it.
      pin.watch = ::inotify_add_watch(notices_.get(), own_path(pin.file.get()).c_str(), IN_ATTRIB);
    if (pin.watch < 0) {
      ::unlinkat(directory, name.c_str(), 0);
      return Errno{ENOSPC};
    }
    pin.user = UserRef(std::move(object));
    state.watches[pin.watch] = status.st_ino;
    state.pins[status.st_ino] = std::move(pin);
    // relaxed: says only whether reap() has anything to do; a pin of this thread is seen by it.
    count_.fetch_add(1, std::memory_order_relaxed);
    return ok();
  });
}

Result<Ref<Object>> PinDirectory::get(int fd, Access access) const {
  struct stat status{};
  if (::fstat(fd, &status) != 0 || status.st_dev != device_) return Errno{EACCES};
  const int mode = (access.read ? R_OK : 0) | (access.write ? W_OK : 0);
  if (::faccessat(fd, "", mode, AT_EMPTY_PATH | AT_EACCESS) != 0) return Errno{EACCES};
  return state_.with([&](const State& state) -> Result<Ref<Object>> {
    const auto found = state.pins.find(status.st_ino);
    if (found == state.pins.end()) return Errno{EACCES};
    return found->second.user.object();
  });
}

void PinDirectory::reap() {
  // relaxed: see pin().
  if (count_.load(std::memory_order_relaxed) == 0) return;
  std::vector<Pin> gone;  // dropped outside of the lock: a last user may run code of its object
  state_.with([&](State& state) {
    const auto drop_if_nameless = [&](std::map<ino_t, Pin>::iterator pin) {
      if (!is_nameless(pin->second.file.get())) return std::next(pin);
      ::inotify_rm_watch(notices_.get(), pin->second.watch);
      state.watches.erase(pin->second.watch);
      gone.push_back(std::move(pin->second));
      return state.pins.erase(pin);
    };
    alignas(inotify_event) std::array<char, 4096> buffer;
    ssize_t bytes = 0;
    // Bound: the kernel's queue of events.
    while ((bytes = ::read(notices_.get(), buffer.data(), buffer.size())) > 0) {
      for (const char* at = buffer.data(); at < buffer.data() + bytes;) {
        inotify_event event{};
        std::memcpy(&event, at, sizeof event);
        at += sizeof event + event.len;
        if ((event.mask & IN_Q_OVERFLOW) != 0) {
          for (auto pin = state.pins.begin(); pin != state.pins.end();) pin = drop_if_nameless(pin);
          continue;
        }
        const auto watch = state.watches.find(event.wd);
        if (watch == state.watches.end()) continue;
        (void)drop_if_nameless(state.pins.find(watch->second));
      }
    }
    // relaxed: see pin().
    count_.store(state.pins.size(), std::memory_order_relaxed);
  });
}

std::size_t PinDirectory::size() const {
  return state_.with([](const State& state) { return state.pins.size(); });
}

}  // namespace skep::exec
