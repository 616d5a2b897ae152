// SPDX-License-Identifier: Apache-2.0
// What a call costs when it is served, beside the bare mechanism and the host's kernel.
//
// Every row is timed by the client: a process of its own that makes the calls in a loop and tells
// how long they took.
#include "exec/exec.hpp"

#include "exec/client.hpp"
#include "exec/client_filter.hpp"
#include "exec/join.hpp"
#include "exec/listener.hpp"
#include "exec/receivers.hpp"
#include "exec/served_world.hpp"
#include "uapi/bpf.hpp"

#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace skep::exec {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t attr_bytes = 144;
constexpr std::uint32_t batch_elements = 1024;
constexpr std::uint32_t no_command = 9999;

using Attr = std::array<std::byte, attr_bytes>;

long bpf(std::uint32_t command, void* attr) {
  return ::syscall(SYS_bpf, command, attr, attr_bytes);
}

template <class Fields>
Attr attr_of(const Fields& fields) {
  Attr attr{};
  static_assert(sizeof fields <= sizeof attr);
  std::memcpy(attr.data(), &fields, sizeof fields);
  return attr;
}

int create_map(std::uint32_t type, std::uint32_t entries) {
  uapi::map_create_attr fields{};
  fields.map_type = type;
  fields.key_size = 4;
  fields.value_size = 8;
  fields.max_entries = entries;
  Attr attr = attr_of(fields);
  return static_cast<int>(bpf(uapi::BPF_MAP_CREATE, attr.data()));
}

template <class T>
std::uint64_t address(T& value) {
  return reinterpret_cast<std::uint64_t>(&value);
}

/// The work of a client; its state is made at the first call, in the client.
class Work {
 public:
  virtual ~Work() = default;
  virtual bool prepare() { return true; }
  virtual void step() = 0;
};

/// A call that nobody knows: what is left is the mechanism.
class Unknown final : public Work {
 public:
  void step() override { (void)bpf(no_command, attr_.data()); }

 private:
  Attr attr_{};
};

/// Lookup of one present key in a hash map.
class Lookup final : public Work {
 public:
  bool prepare() override {
    const int fd = create_map(uapi::BPF_MAP_TYPE_HASH, 64);
    if (fd < 0) return false;
    uapi::map_elem_attr fields{};
    fields.map_fd = static_cast<std::uint32_t>(fd);
    fields.key = address(key_);
    fields.value = address(value_);
    attr_ = attr_of(fields);
    return bpf(uapi::BPF_MAP_UPDATE_ELEM, attr_.data()) == 0;
  }
  void step() override { (void)bpf(uapi::BPF_MAP_LOOKUP_ELEM, attr_.data()); }

 private:
  std::uint32_t key_ = 7;
  std::uint64_t value_ = 1;
  Attr attr_{};
};

/// A new array of one element, and its end.
class CreateAndClose final : public Work {
 public:
  bool prepare() override {
    const int fd = create_map(uapi::BPF_MAP_TYPE_ARRAY, 1);
    ::close(fd);
    return fd >= 0;
  }
  void step() override { ::close(create_map(uapi::BPF_MAP_TYPE_ARRAY, 1)); }
};

/// 1,024 elements of a hash map that is twice as large, in one command. One item is one element.
class Batch final : public Work {
 public:
  explicit Batch(std::uint32_t command) : command_(command) {}
  bool prepare() override {
    const int fd = create_map(uapi::BPF_MAP_TYPE_HASH, 2 * batch_elements);
    if (fd < 0) return false;
    for (std::uint32_t i = 0; i < batch_elements; ++i) keys_[i] = i;
    uapi::map_batch_attr fields{};
    fields.keys = reinterpret_cast<std::uint64_t>(keys_.data());
    fields.values = reinterpret_cast<std::uint64_t>(values_.data());
    fields.count = batch_elements;
    fields.map_fd = static_cast<std::uint32_t>(fd);
    Attr fill = attr_of(fields);
    if (bpf(uapi::BPF_MAP_UPDATE_BATCH, fill.data()) != 0) return false;
    if (command_ == uapi::BPF_MAP_LOOKUP_BATCH) {
      fields.out_batch = address(cursor_);
      fields.count = 2 * batch_elements;
    }
    attr_ = attr_of(fields);
    return true;
  }
  void step() override {
    Attr attr = attr_;  // the count comes back in it
    (void)bpf(command_, attr.data());
  }

 private:
  const std::uint32_t command_;
  std::vector<std::uint32_t> keys_ = std::vector<std::uint32_t>(std::size_t{2} * batch_elements);
  std::vector<std::uint64_t> values_ = std::vector<std::uint64_t>(std::size_t{2} * batch_elements);
  std::uint32_t cursor_ = 0;
  Attr attr_{};
};

/// Who answers.
enum class Side : std::uint8_t { kernel, bare, served };

/// The client's end of a conversation: for each number of steps asked for, how long they took; -1
/// if the client could not be prepared.
[[noreturn]] void be_client(Side side, Work& work, const OwnedFd& socket) {
  if (side != Side::kernel) {
    const Result<OwnedFd> listener = install_client_filter();
    if (!listener ||
        !send_message(socket.get(), {.kind = MessageKind::listener}, {listener->get()}))
      ::_exit(1);
  }
  const bool prepared = side == Side::bare || work.prepare();
  std::uint64_t steps = 0;
  while (::recv(socket.get(), &steps, sizeof steps, 0) == sizeof steps) {
    const auto start = Clock::now();
    if (prepared)
      for (std::uint64_t i = 0; i < steps; ++i) work.step();
    std::int64_t took =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
    if (!prepared) took = -1;
    (void)::send(socket.get(), &took, sizeof took, MSG_NOSIGNAL);
  }
  ::_exit(0);
}

/// Answers nothing but "unknown", after a look at the attribute block.
void answer_barely(const Listener& listener) {
  std::array<std::byte, attr_bytes> attr;
  while (true) {
    const Result<Call> call = listener.receive();
    if (!call) {
      if (listener.is_abandoned()) return;
      continue;
    }
    (void)read_memory(call->thread, call->arguments[1], attr);
    listener.give_error(call->id, EINVAL);
  }
}

void run(benchmark::State& state, Side side, Work& work, std::int64_t items_per_step) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  OwnedFd ours(ends[0]);
  OwnedFd its(ends[1]);
  const pid_t client = ::fork();
  if (client == 0) {
    {
      OwnedFd closed(std::move(ours));
    }
    be_client(side, work, its);
  }
  {
    OwnedFd closed(std::move(its));
  }

  std::unique_ptr<ServedWorld> world;
  std::unique_ptr<Receivers> receivers;
  std::unique_ptr<Listener> bare;
  std::thread thread;
  if (side != Side::kernel) {
    auto descriptors = expect_message(ours.get(), MessageKind::listener);
    if (!descriptors) {
      state.SkipWithError("the filter cannot be installed here");
      ::waitpid(client, nullptr, 0);
      return;
    }
    auto listener = Listener::adopt(std::move(descriptors->front()));
    ASSERT(listener);
    if (side == Side::bare) {
      bare = std::make_unique<Listener>(std::move(*listener));
      thread = std::thread([&] { answer_barely(*bare); });
    } else {
      auto made = ServedWorld::make(std::uint64_t{1} << 30, nullptr);
      ASSERT(made);
      world = std::move(*made);
      receivers = std::make_unique<Receivers>(std::move(*listener), world->service());
      ASSERT(receivers->start());
    }
  }
  constexpr std::uint64_t steps_at_once = 64;
  for (auto _ : state) {
    std::int64_t took = -1;
    (void)::send(ours.get(), &steps_at_once, sizeof steps_at_once, MSG_NOSIGNAL);
    if (::recv(ours.get(), &took, sizeof took, 0) != sizeof took || took < 0) {
      state.SkipWithError("the client is not allowed to");
      break;
    }
    state.SetIterationTime(static_cast<double>(took) / 1e9);
  }
  // Time per item is the inverse of the rate.
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(steps_at_once) * items_per_step);
  {
    OwnedFd closed(std::move(ours));
  }
  ::waitpid(client, nullptr, 0);
  if (thread.joinable()) thread.join();
  if (receivers) ASSERT(receivers->stop(std::chrono::seconds(2)));
}

/// A command that does nothing, from fork to its end. The difference is what starting costs.
/// First of all rows: a process with threads cannot be forked for this.
void launch(benchmark::State& state, Side side) {
  for (auto _ : state) {
    const auto start = Clock::now();
    const pid_t launcher = ::fork();
    if (launcher == 0) {
      if (side == Side::kernel) {
        ::execl("/bin/true", "true", nullptr);
        ::_exit(127);
      }
      const auto status = exec_command({.command = {"/bin/true"}, .join = {}});
      ::_exit(status ? *status : 1);
    }
    int status = 1;
    ::waitpid(launcher, &status, 0);
    if (status != 0) state.SkipWithError("the command did not run");
    state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count());
  }
}
BENCHMARK_CAPTURE(launch, served, Side::served)->UseManualTime();
BENCHMARK_CAPTURE(launch, kernel, Side::kernel)->UseManualTime();

void notify_round_trip_bare(benchmark::State& state) {
  Unknown work;
  run(state, Side::bare, work, 1);
}
BENCHMARK(notify_round_trip_bare)->UseManualTime();

void unknown_command_served(benchmark::State& state) {
  Unknown work;
  run(state, Side::served, work, 1);
}
BENCHMARK(unknown_command_served)->UseManualTime();

void lookup(benchmark::State& state, Side side) {
  Lookup work;
  run(state, side, work, 1);
}
BENCHMARK_CAPTURE(lookup, served, Side::served)->UseManualTime();
BENCHMARK_CAPTURE(lookup, kernel, Side::kernel)->UseManualTime();

void create_and_close(benchmark::State& state, Side side) {
  CreateAndClose work;
  run(state, side, work, 1);
}
BENCHMARK_CAPTURE(create_and_close, served, Side::served)->UseManualTime();
BENCHMARK_CAPTURE(create_and_close, kernel, Side::kernel)->UseManualTime();

void batch(benchmark::State& state, Side side, std::uint32_t command) {
  Batch work(command);
  run(state, side, work, batch_elements);
}
BENCHMARK_CAPTURE(batch, update_served, Side::served, uapi::BPF_MAP_UPDATE_BATCH)->UseManualTime();
BENCHMARK_CAPTURE(batch, update_kernel, Side::kernel, uapi::BPF_MAP_UPDATE_BATCH)->UseManualTime();
BENCHMARK_CAPTURE(batch, lookup_served, Side::served, uapi::BPF_MAP_LOOKUP_BATCH)->UseManualTime();
BENCHMARK_CAPTURE(batch, lookup_kernel, Side::kernel, uapi::BPF_MAP_LOOKUP_BATCH)->UseManualTime();

}  // namespace
}  // namespace skep::exec
