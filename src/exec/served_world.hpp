// SPDX-License-Identifier: Apache-2.0
// A runtime and all that it takes to serve clients from it.
#pragma once

#include "exec/client_view.hpp"
#include "exec/pin_directory.hpp"
#include "exec/receivers.hpp"
#include "exec/service.hpp"
#include "result/result.hpp"
#include "runtime/world.hpp"

#include <cstdint>
#include <memory>

namespace skep::exec {

/// Members are in the order in which they need each other.
class ServedWorld {
 public:
  /// As many CPUs as programs find in /sys, the machine's clocks. `view` is null if clients have no
  /// file system of their own; otherwise its file system becomes the pins'.
  /// Errors: ENOMEM, EMFILE.
  static Result<std::unique_ptr<ServedWorld>> make(std::uint64_t memory_bytes, ClientView* view);
  /// Pins and descriptors let go of their objects.
  ~ServedWorld() = default;

  World& world() { return *world_; }
  const Service& service() const { return service_; }
  /// Null: see make().
  const PinDirectory* pins() const { return pins_.get(); }

 private:
  ServedWorld(std::unique_ptr<World> world, std::unique_ptr<PinDirectory> pins)
      : world_(std::move(world)),
        pins_(std::move(pins)),
        service_(world_->syscalls, *world_->net_namespace, pins_.get()) {}

  const std::unique_ptr<World> world_;
  const std::unique_ptr<PinDirectory> pins_;
  const Service service_;
};

/// Clients' descriptors are many: takes as many as the machine gives us.
void raise_descriptor_limit();

}  // namespace skep::exec
