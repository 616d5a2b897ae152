// SPDX-License-Identifier: Apache-2.0
#include "exec/service.hpp"

#include "exec/client_caller.hpp"
#include "uapi/bpf.hpp"

#include <linux/audit.h>
#include <linux/perf_event.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

namespace skep::exec {
namespace {

constexpr std::size_t max_path_bytes = 4096;
constexpr std::size_t max_type_bytes = 64;
/// The longest path that can name a descriptor: /proc/thread-self/fd/2147483647.
constexpr std::size_t max_descriptor_path_bytes = 48;

Copying copying_of(std::uint32_t command) {
  const bool many = command >= uapi::BPF_MAP_LOOKUP_BATCH && command <= uapi::BPF_MAP_DELETE_BATCH;
  return many ? Copying::streamed : Copying::at_once;
}

Effect effect_of(std::uint32_t command) {
  return command == uapi::BPF_MAP_LOOKUP_ELEM || command == uapi::BPF_MAP_GET_NEXT_KEY
             ? Effect::none
             : Effect::some;
}

/// What readlink says about an object's descriptor on Linux.
const char* link_text(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::map:
      return "anon_inode:bpf-map";
    case ObjectKind::prog:
      return "anon_inode:bpf-prog";
    case ObjectKind::btf:
      return "anon_inode:btf";
    case ObjectKind::link:
      return "anon_inode:bpf_link";
    case ObjectKind::stats:
      return "anon_inode:bpf-stats";
    case ObjectKind::net_namespace:
    case ObjectKind::device:
      break;
  }
  return nullptr;
}

/// N of /proc/self/fd/N, also with thread-self or the thread's own number.
std::optional<int> own_descriptor(std::string_view path, pid_t thread) {
  constexpr std::string_view proc = "/proc/";
  constexpr std::string_view fd = "/fd/";
  if (!path.starts_with(proc)) return std::nullopt;
  path.remove_prefix(proc.size());
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view whose = path.substr(0, slash);
  if (whose != "self" && whose != "thread-self" && whose != std::to_string(thread))
    return std::nullopt;
  path.remove_prefix(slash);
  if (!path.starts_with(fd)) return std::nullopt;
  path.remove_prefix(fd.size());
  int number = -1;
  const auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), number);
  if (error != std::errc{} || end != path.data() + path.size()) return std::nullopt;
  return number;
}

/// As bpffs answers. Errors: those of fstatfs(2).
Result<struct statfs> bpf_file_system_status(int fd) {
  struct statfs status{};
  if (::fstatfs(fd, &status) != 0) return Errno{errno};
  status.f_type = PinDirectory::magic;
  status.f_blocks = status.f_bfree = status.f_bavail = 0;
  status.f_files = status.f_ffree = 0;
  return status;
}

}  // namespace

Service::Service(Syscalls& syscalls, NetNamespace& net_namespace, PinDirectory* pins)
    : syscalls_(syscalls), net_namespace_(net_namespace), pins_(pins), user_(::geteuid()) {}

void Service::reap() const {
  if (pins_ != nullptr) pins_->reap();
  syscalls_.reap();
}

bool Service::may_block(const Call& call) {
  if (call.number == SYS_readlink || call.number == SYS_readlinkat) return false;
  if (call.number != SYS_bpf) return true;
  switch (static_cast<std::uint32_t>(call.arguments[0])) {
    case uapi::BPF_PROG_LOAD:
    case uapi::BPF_BTF_LOAD:
    case uapi::BPF_PROG_TEST_RUN:
    case uapi::BPF_OBJ_PIN:
    case uapi::BPF_OBJ_GET:
    case uapi::BPF_MAP_LOOKUP_BATCH:
    case uapi::BPF_MAP_LOOKUP_AND_DELETE_BATCH:
    case uapi::BPF_MAP_UPDATE_BATCH:
    case uapi::BPF_MAP_DELETE_BATCH:
      return true;
    default:
      return false;
  }
}

void Service::answer(const Listener& listener, ClientThreads& threads, const Call& call) const {
#if defined(__x86_64__)
  // Others never get past the filter; a listener that somebody sent us may have any filter.
  if (call.architecture != AUDIT_ARCH_X86_64) return listener.give_error(call.id, ENOSYS);
#endif
  // A client in a pid namespace that we are not above of.
  if (call.thread == 0) return listener.give_error(call.id, EPERM);
  if (call.number == SYS_bpf) return bpf(listener, threads, call);
  const Answered answer = others(threads, call);
  if (!answer)
    listener.give_error(call.id, answer.error().code);
  else if (answer->reply == Reply::let_through)
    listener.let_through(call.id);
  else
    listener.give_value(call.id, answer->value);
}

void Service::bpf(const Listener& listener, ClientThreads& threads, const Call& call) const {
  if (user_ == 0) {
    const Result<uid_t> user = threads.user(call.thread);
    if (!user || *user != user_) return listener.give_error(call.id, EPERM);
  }
  // As the kernel takes its arguments: the upper halves of the registers do not count.
  const auto command = static_cast<std::uint32_t>(call.arguments[0]);
  const auto attr_bytes = static_cast<std::uint32_t>(call.arguments[2]);
  if (pins_ != nullptr) pins_->reap();
  ClientCaller caller(listener, threads, call, copying_of(command), effect_of(command), user_,
                      syscalls_.descriptors(), pins_, net_namespace_);
  Result<std::uint64_t> result = syscalls_.bpf(caller, command, call.arguments[1], attr_bytes);
  const Result<void> flushed = caller.flush();
  if (!flushed && (result || result.error().code != EFAULT)) result = flushed.error();
  const OwnedFd descriptor = caller.take_descriptor();
  if (!result)
    listener.give_error(call.id, result.error().code);
  else if (descriptor.is_open())
    listener.give_descriptor(call.id, descriptor.get());
  else
    listener.give_value(call.id, static_cast<std::int64_t>(*result));
}

Service::Answered Service::others(ClientThreads& threads, const Call& call) const {
  switch (call.number) {
#if defined(SYS_readlink)
    case SYS_readlink:
#endif
    case SYS_readlinkat:
      return readlink(threads, call);
    case SYS_statfs:
      return statfs(call);
    case SYS_fstatfs:
      return fstatfs(threads, call);
    case SYS_mount:
      return mount(call);
    case SYS_perf_event_open:
      return perf_event_open(call);
    default:
      return Answer{};
  }
}

Service::Answered Service::readlink(ClientThreads& threads, const Call& call) const {
  const std::size_t first = call.number == SYS_readlinkat ? 1 : 0;
  const auto path = read_text(call.thread, call.arguments[first], max_descriptor_path_bytes);
  if (!path) return Answer{};  // too long for one of ours; if it is bad the kernel says so
  const auto number = own_descriptor(*path, call.thread);
  if (!number) return Answer{};
  const auto copy = threads.copy_descriptor(call.thread, *number);
  if (!copy) return Answer{};
  for (const ObjectKind kind :
       {ObjectKind::map, ObjectKind::prog, ObjectKind::btf, ObjectKind::link, ObjectKind::stats}) {
    if (!syscalls_.descriptors().find(copy->get(), kind, nullptr)) continue;
    const std::string_view text = link_text(kind);
    const auto room = static_cast<int>(call.arguments[first + 2]);
    if (room <= 0) return Errno{EINVAL};
    const std::size_t bytes = std::min(text.size(), static_cast<std::size_t>(room));
    TRY(write_memory(call.thread, call.arguments[first + 1],
                     std::as_bytes(std::span(text.substr(0, bytes)))));
    return Answer{Reply::value, static_cast<std::int64_t>(bytes)};
  }
  return Answer{};
}

Service::Answered Service::statfs(const Call& call) const {
  const auto path = read_text(call.thread, call.arguments[0], max_path_bytes);
  if (!path) return Answer{};
  struct statfs status{};
  if (pins_ != nullptr) {
    const auto place = open_path({.thread = call.thread, .directory = -1}, *path, LastLink::follow);
    if (!place || !pins_->contains(place->get())) return Answer{};
    status = TRY(bpf_file_system_status(place->get()));
  } else {
    if (!syscalls_.pins().exists(*path)) return Answer{};
    status.f_type = PinDirectory::magic;
    status.f_bsize = status.f_frsize = 4096;
    status.f_namelen = 255;
  }
  TRY(write_memory(call.thread, call.arguments[1], std::as_bytes(std::span(&status, 1))));
  return Answer{Reply::value, 0};
}

Service::Answered Service::fstatfs(ClientThreads& threads, const Call& call) const {
  if (pins_ == nullptr) return Answer{};
  const auto copy = threads.copy_descriptor(call.thread, static_cast<int>(call.arguments[0]));
  if (!copy || !pins_->contains(copy->get())) return Answer{};
  const struct statfs status = TRY(bpf_file_system_status(copy->get()));
  TRY(write_memory(call.thread, call.arguments[1], std::as_bytes(std::span(&status, 1))));
  return Answer{Reply::value, 0};
}

Service::Answered Service::mount(const Call& call) const {
  const auto type = read_text(call.thread, call.arguments[2], max_type_bytes);
  if (!type || *type != "bpf") return Answer{};
  const std::string target = TRY(read_text(call.thread, call.arguments[1], max_path_bytes));
  // It is there already.
  if (pins_ == nullptr) {
    if (syscalls_.pins().covers(target)) return Answer{Reply::value, 0};
  } else {
    const auto place =
        open_path({.thread = call.thread, .directory = -1}, target, LastLink::follow);
    if (place && pins_->contains(place->get())) return Answer{Reply::value, 0};
  }
  return Errno{EPERM};  // as for an ordinary user; the kernel's own pins could not be used anyway
}

Service::Answered Service::perf_event_open(const Call& call) const {
  struct {
    std::uint32_t type, size;
    std::uint64_t config;
  } event{};
  if (!read_memory(call.thread, call.arguments[0], std::as_writable_bytes(std::span(&event, 1))))
    return Answer{};
  if (event.type != PERF_TYPE_SOFTWARE || event.config != PERF_COUNT_SW_BPF_OUTPUT) return Answer{};
  // The kernel's event would never hear of our programs.
  return Errno{ENOENT};
}

}  // namespace skep::exec
