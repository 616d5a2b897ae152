// SPDX-License-Identifier: Apache-2.0
// A client in the middle of one bpf(2) call, as commands see it.
#pragma once

#include "exec/client.hpp"
#include "exec/listener.hpp"
#include "exec/pin_directory.hpp"
#include "object/caller.hpp"
#include "syscall/descriptors.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace skep::exec {

/// How the memory of a client is touched.
enum class Copying : std::uint8_t {
  at_once,   // when the command asks for it; what it will ask for is guessed and read along
  streamed,  // neighbouring copies are put together: for commands with many elements
};

/// Whether a command changes anything but the client's memory.
enum class Effect : std::uint8_t { none, some };

/// Lives as long as the call. Clients are of the runtime's own user, so they have all capabilities.
/// Thread: one at a time.
class ClientCaller final : public Caller, private PinPaths {
 public:
  /// All of these outlive the caller. `pins` is null if the clients have no file system of their
  /// own.
  ClientCaller(const Listener& listener, ClientThreads& threads, const Call& call, Copying copying,
               Effect effect, uid_t user, DescriptorTable& descriptors, PinDirectory* pins,
               NetNamespace& net_namespace)
      : listener_(listener),
        threads_(threads),
        call_(call),
        copying_(copying),
        effect_(effect),
        user_(user),
        descriptors_(descriptors),
        pins_(pins),
        net_namespace_(net_namespace) {}

  bool capable(Capability) const override { return true; }
  Result<Ref<Object>> object(int fd, ObjectKind kind, Access* access) override;
  /// The descriptor is kept and given to the client as the answer to its call, in one step with it;
  /// what this returns has no meaning.
  Result<int> receive(int fd) override;
  NetNamespace& net_namespace() override { return net_namespace_; }
  Result<void> read(std::uint64_t address, std::span<std::byte> into) override;
  Result<void> write(std::uint64_t address, std::span<const std::byte> from) override;
  bool is_gone() const override { return !listener_.is_waiting(call_.id); }
  std::uint32_t uid() const override { return user_; }
  PinPaths* pin_paths() override { return pins_ != nullptr ? this : nullptr; }

  /// Copies out what is still held back. To be called when the command is done. Errors: EFAULT,
  /// EPERM.
  Result<void> flush();
  /// What receive() was given, if anything.
  OwnedFd take_descriptor() { return std::move(descriptor_); }

 private:
  /// Bytes of the client's memory from `address` on.
  struct Stretch {
    std::uint64_t address = 0;
    std::vector<std::byte> bytes;
    std::uint64_t end() const { return address + bytes.size(); }
  };

  Result<void> pin(std::string_view path, int directory, Ref<Object> object) override;
  Result<Ref<Object>> get(std::string_view path, int directory, Access access) override;
  /// The base of a path, with the client's directory copied into `copy`. Errors: EBADF.
  Result<PathBase> path_base(int directory, OwnedFd& copy);
  Result<void> check_still_waiting() const;
  Result<void> read_ahead(std::uint64_t address, std::span<std::byte> into);
  /// The attribute block, and with it what the client's last call had as key and value.
  Result<void> read_first(std::uint64_t address, std::span<std::byte> into);
  Result<void> read_guessed(std::uint64_t address, std::span<std::byte> into);

  const Listener& listener_;
  ClientThreads& threads_;
  const Call& call_;
  const Copying copying_;
  const Effect effect_;
  const uid_t user_;  // whom we serve: ourselves
  DescriptorTable& descriptors_;
  PinDirectory* const pins_;
  NetNamespace& net_namespace_;

  std::uint32_t reads_ = 0;
  OwnedFd descriptor_;
  // At once only.
  static constexpr std::size_t guess_bytes = 128;
  struct Guess {
    std::uint64_t address = 0;
    std::size_t size = 0;
    std::array<std::byte, guess_bytes> bytes;
  };
  std::array<Guess, 2> guesses_;
  // Streamed only.
  std::array<Stretch, 2> read_ahead_;        // keys and values, say
  std::array<std::uint64_t, 2> last_end_{};  // where the last two plain reads ended
  std::vector<Stretch> held_back_;           // oldest first
};

}  // namespace skep::exec
