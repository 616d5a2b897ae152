// SPDX-License-Identifier: Apache-2.0
#include "syscall/descriptors.hpp"

#include "map/map.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

namespace skep {
namespace {

/// What the machine refuses is told apart only as far as callers can act on it.
Errno refused(int code) { return Errno{code == EMFILE || code == ENFILE ? code : ENOMEM}; }

/// The last part of `readlink /proc/PID/fd/N`, by which tools tell descriptors apart (clients.md
/// 10).
const char* name_of(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::map:
      return "bpf-map";
    case ObjectKind::prog:
      return "bpf-prog";
    case ObjectKind::btf:
      return "btf";
    case ObjectKind::link:
      return "bpf-link";
    case ObjectKind::stats:
      return "bpf-stats";
    case ObjectKind::net_namespace:
    case ObjectKind::device:
      break;
  }
  ASSERT(!"objects of this kind have no descriptors");
  return nullptr;
}

struct Fifo {
  OwnedFd read_end, write_end;
};

/// Errors: as open(2) and mkfifo(3).
Result<Fifo> open_both_ends(const std::string& path) {
  if (::mkfifo(path.c_str(), 0600) != 0) return Errno{errno};
  Fifo fifo;
  // Without O_NONBLOCK this would wait for a writer.
  fifo.read_end = OwnedFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  // O_NONBLOCK: a client that writes into its descriptor by mistake must not hang once the pipe is
  // full.
  if (fifo.read_end.is_open())
    fifo.write_end = OwnedFd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  const int code = errno;
  ::unlink(path.c_str());
  if (!fifo.write_end.is_open()) return Errno{code};
  return fifo;
}

/// A FIFO in a private directory that is gone again when this returns: a process that is killed
/// leaves nothing behind. Errors: EMFILE, ENFILE, ENOMEM.
Result<Fifo> make_fifo(const char* name) {
  // In memory first; not every TMPDIR can hold a FIFO.
  for (const char* parent : {"/dev/shm", static_cast<const char*>(std::getenv("TMPDIR")), "/tmp"}) {
    if (parent == nullptr) continue;
    std::string directory = std::string(parent) + "/skep-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr) continue;
    Result<Fifo> fifo = open_both_ends(directory + "/" + name);
    ::rmdir(directory.c_str());
    if (fifo || fifo.error().code == EMFILE || fifo.error().code == ENFILE) return fifo;
  }
  return Errno{ENOMEM};
}

/// Errors: EBADF.
Result<DescriptorIdentity> identify(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return Errno{EBADF};
  return DescriptorIdentity{status.st_dev, status.st_ino};
}

int open_flags(Access access) {
  if (access.read && access.write) return O_RDWR;
  return access.read ? O_RDONLY : O_WRONLY;
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) ::close(fd_);
}

Result<OwnedFd> DescriptorTable::open(Ref<Object> object, Access access) {
  return state_.with([&](State& state) -> Result<OwnedFd> {
    if (object->kind() == ObjectKind::map) {
      const Result<int> memory = static_cast<const Map&>(*object).memory_fd();
      if (memory) return open_memory(state, std::move(object), *memory, access);
    }
    return open_fifo(state, std::move(object), access);
  });
}

Result<OwnedFd> DescriptorTable::open_fifo(State& state, Ref<Object> object, Access access) {
  TRY(prepare_epoll(state));
  Fifo fifo = TRY(make_fifo(name_of(object->kind())));
  const DescriptorIdentity identity = TRY(identify(fifo.write_end.get()));

  // The inode cannot be in the table: an entry's read end keeps its own inode from being used
  // again.
  const auto [node, is_new] = state.entries.try_emplace(identity);
  ASSERT(is_new);
  epoll_event event{};  // no events asked for: a hang-up is always reported
  event.data.ptr = &*node;
  if (::epoll_ctl(state.epoll.get(), EPOLL_CTL_ADD, fifo.read_end.get(), &event) != 0) {
    state.entries.erase(node);
    return Errno{ENOMEM};
  }
  node->second.user = UserRef(std::move(object));
  node->second.access = access;
  node->second.read_end = std::move(fifo.read_end);
  return std::move(fifo.write_end);
}

Result<OwnedFd> DescriptorTable::open_memory(State& state, Ref<Object> object, int memory_fd,
                                             Access access) {
  // Opened anew, not duplicated: an open file description of its own has its own mode and its own
  // lock.
  const std::string path = "/proc/self/fd/" + std::to_string(memory_fd);
  OwnedFd fd(::open(path.c_str(), open_flags(access) | O_CLOEXEC));
  if (!fd.is_open()) return refused(errno);
  if (::flock(fd.get(), LOCK_SH) != 0) return Errno{ENOMEM};
  const DescriptorIdentity identity = TRY(identify(fd.get()));

  const auto [node, is_new] = state.entries.try_emplace(identity);
  if (is_new) {
    node->second.user = UserRef(std::move(object));
    node->second.memory_fd = memory_fd;
  }
  return fd;
}

Result<void> DescriptorTable::prepare_epoll(State& state) {
  const pid_t self = ::getpid();
  if (state.epoll.is_open() && state.epoll_owner == self) return ok();
  OwnedFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.is_open()) return refused(errno);
  for (auto& node : state.entries) {
    if (!node.second.read_end.is_open()) continue;
    epoll_event event{};
    event.data.ptr = &node;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, node.second.read_end.get(), &event) != 0)
      return Errno{ENOMEM};
  }
  state.epoll = std::move(epoll);
  state.epoll_owner = self;
  return ok();
}

Result<Ref<Object>> DescriptorTable::find(int fd, ObjectKind kind, Access* access) const {
  const DescriptorIdentity identity = TRY(identify(fd));
  return state_.with([&](const State& state) -> Result<Ref<Object>> {
    const auto found = state.entries.find(identity);
    if (found == state.entries.end()) return Errno{EINVAL};
    const Entry& entry = found->second;
    if (entry.user.object()->kind() != kind) return Errno{EINVAL};
    if (access != nullptr) {
      *access = entry.access;
      if (entry.memory_fd >= 0) {
        const int flags = ::fcntl(fd, F_GETFL);
        if (flags < 0) return Errno{EBADF};
        *access = {.read = (flags & O_ACCMODE) != O_WRONLY,
                   .write = (flags & O_ACCMODE) != O_RDONLY};
      }
    }
    return entry.user.object();
  });
}

void DescriptorTable::reap() {
  std::vector<Entry> gone;  // dropped outside of the lock: a last user may run code of its object
  state_.with([&](State& state) {
    if (state.entries.empty()) return;
    if (state.epoll.is_open() && prepare_epoll(state)) {
      std::array<epoll_event, 64> events;
      int count = 0;
      do {
        count = ::epoll_wait(state.epoll.get(), events.data(), events.size(), 0);
        for (int i = 0; i < count; ++i) {
          auto* const node = static_cast<EntryNode*>(events[static_cast<std::size_t>(i)].data.ptr);
          ::epoll_ctl(state.epoll.get(), EPOLL_CTL_DEL, node->second.read_end.get(), nullptr);
          gone.push_back(std::move(node->second));
          state.entries.erase(DescriptorIdentity(node->first));
        }
      } while (count == static_cast<int>(events.size()));
    }
    for (auto node = state.entries.begin(); node != state.entries.end();) {
      const int memory_fd = node->second.memory_fd;
      // Nobody else can take the lock meanwhile: descriptors are handed out under ours.
      if (memory_fd >= 0 && ::flock(memory_fd, LOCK_EX | LOCK_NB) == 0) {
        ::flock(memory_fd, LOCK_UN);
        gone.push_back(std::move(node->second));
        node = state.entries.erase(node);
      } else {
        ++node;
      }
    }
  });
}

void DescriptorTable::clear() {
  // As in reap(): dropped outside of the lock. Closing a read end takes it out of its epoll.
  std::map<DescriptorIdentity, Entry> gone;
  state_.with([&](State& state) {
    gone.swap(state.entries);
    state.epoll = OwnedFd();
  });
}

std::size_t DescriptorTable::size() const {
  return state_.with([](const State& state) { return state.entries.size(); });
}

}  // namespace skep
