// SPDX-License-Identifier: Apache-2.0
#include "xdp/xdp.hpp"

#include "rcu/rcu.hpp"
#include "uapi/bpf.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace skep {
namespace {

constexpr std::uint32_t mode_flags =
    uapi::XDP_FLAGS_SKB_MODE | uapi::XDP_FLAGS_DRV_MODE | uapi::XDP_FLAGS_HW_MODE;

bool is_native(const Device& device) {
  return (device.xdp_features() & uapi::NETDEV_XDP_ACT_BASIC) != 0;
}

/// The mode that `flags` ask for; without a mode bit the best that the device has.
XdpMode mode_of(std::uint32_t flags, const Device& device) {
  if ((flags & uapi::XDP_FLAGS_HW_MODE) != 0) return XdpMode::hardware;
  if ((flags & uapi::XDP_FLAGS_DRV_MODE) != 0) return XdpMode::native;
  if ((flags & uapi::XDP_FLAGS_SKB_MODE) != 0) return XdpMode::skb;
  return is_native(device) ? XdpMode::native : XdpMode::skb;
}

bool is_supported(XdpMode mode, const Device& device) {
  return mode == XdpMode::native && is_native(device);
}

}  // namespace

Xdp::Xdp(CpuSlots& slots, RunTiming timing)
    : slots_(slots), timing_(timing), redirector_(slots, timing) {}

Xdp::~Xdp() {
  std::vector<Ref<NetNamespace>> net_namespaces = state_.with([](State& state) {
    while (!state.places.empty()) remove(state, state.places.back());
    return std::exchange(state.net_namespaces, {});
  });
  for (const auto& net_namespace : net_namespaces) net_namespace->remove_listener(*this);
}

Result<void> Xdp::set_program(Device& device, Ref<Program> program, std::uint32_t flags,
                              const std::optional<XdpExpectation>& expected) {
  if ((flags & ~uapi::XDP_FLAGS_MASK) != 0) return Errno{EINVAL};
  if (std::popcount(flags & mode_flags) > 1) return Errno{EINVAL};
  if ((flags & uapi::XDP_FLAGS_REPLACE) != 0 && !expected) return Errno{EINVAL};
  if (program && program->type().number() != uapi::BPF_PROG_TYPE_XDP) return Errno{EINVAL};
  if (program) listen_in(device.net_namespace());
  return state_.with(
      [&](State& state) { return change(state, device, std::move(program), flags, expected); });
}

Result<void> Xdp::change(State& state, Device& device, Ref<Program> program, std::uint32_t flags,
                         const std::optional<XdpExpectation>& expected) {
  const XdpMode mode = mode_of(flags, device);
  // There are no links, no upper devices and one mode: rules 8 to 10 of the contract cannot be
  // broken.
  Place* const occupied = find(state, device);
  Place* const place = mode == XdpMode::native ? occupied : nullptr;
  const Ref<Program> current = place != nullptr ? place->hook->attached(state).program : nullptr;

  if ((flags & uapi::XDP_FLAGS_REPLACE) != 0 && current != expected->program) return Errno{EEXIST};
  if (program) {
    if ((flags & uapi::XDP_FLAGS_UPDATE_IF_NOEXIST) != 0 && current) return Errno{EBUSY};
    // Native and generic mode exclude each other.
    if (mode == XdpMode::skb && occupied != nullptr) return Errno{EEXIST};
    TRY(check_program(*program));
  }
  if (program == current) return ok();
  if (!is_supported(mode, device)) return Errno{EOPNOTSUPP};

  if (!program) {
    remove(state, *place);
    return ok();
  }
  if (place != nullptr) {
    place->hook->replace(std::move(program), state);
    rcu::synchronize();  // the promise: the program before no longer runs
    return ok();
  }
  // We listen to removals already, and hold our lock: a device that is still listed now tells us
  // later.
  const auto listed = device.net_namespace().device(device.ifindex());
  if (!listed || listed->get() != &device) return Errno{ENODEV};
  auto hook = std::make_unique<XdpHook>(slots_, redirector_, timing_, std::move(program));
  device.set_receive_hook(hook.get());
  state.places.push_back({Ref<Device>::share(device), std::move(hook)});
  return ok();
}

Result<void> Xdp::check_program(const Program& program) {
  const std::uint32_t attach_type = program.spec().expected_attach_type;
  if (attach_type == uapi::BPF_XDP_DEVMAP || attach_type == uapi::BPF_XDP_CPUMAP)
    return Errno{EINVAL};
  return ok();
}

Xdp::Place* Xdp::find(State& state, const Device& device) {
  const auto found = std::ranges::find_if(
      state.places, [&](const Place& place) { return place.device.get() == &device; });
  return found == state.places.end() ? nullptr : &*found;
}

// Clearing the hook waits until no slot runs it; then it may go.
void Xdp::remove(State& state, Place& place) {
  place.device->set_receive_hook(nullptr);
  state.places.erase(state.places.begin() + (&place - state.places.data()));
}

std::optional<Xdp::Attachment> Xdp::query(const Device& device) const {
  return state_.with([&](State& state) -> std::optional<Attachment> {
    const Place* const place = find(state, device);
    if (place == nullptr) return std::nullopt;
    return Attachment{XdpMode::native, place->hook->attached(state).program};
  });
}

XdpReport Xdp::report() const {
  XdpReport report;
  // Slots before locks. A live test run, for one, counts on its CPU whenever a client wants it to.
  std::vector<SlotGuard> quiet;
  for (std::uint32_t cpu = 0; cpu < slots_.cpus(); ++cpu) quiet.push_back(slots_.enter(cpu));
  state_.with([&](State& state) {
    for (const Place& place : state.places) {
      const XdpHook::Attached& attached = place.hook->attached(state);
      XdpReport::Attached line{.ifindex = place.device->ifindex(),
                               .device = place.device->name(),
                               .prog_id = attached.program->id(),
                               .prog = std::string(attached.program->full_name()),
                               .figures = {}};
      attached.figures.for_each([&](const XdpFigures& figures) { line.figures.add(figures); });
      report.attached.push_back(std::move(line));
    }
  });
  std::ranges::sort(report.attached, {}, &XdpReport::Attached::ifindex);
  report.egress = redirector_.egress_report();
  return report;
}

// The namespace's lock ranks below ours: we register outside of ours. A second registration at the
// same time is harmless, the list of a namespace is asked for us twice then.
void Xdp::listen_in(NetNamespace& net_namespace) {
  const bool known = state_.with([&](const State& state) {
    return std::ranges::any_of(state.net_namespaces,
                               [&](const auto& ref) { return ref.get() == &net_namespace; });
  });
  if (known) return;
  net_namespace.add_listener(*this);
  state_.with([&](State& state) {
    state.net_namespaces.push_back(Ref<NetNamespace>::share(net_namespace));
  });
}

void Xdp::on_device_gone(Device& device) {
  state_.with([&](State& state) {
    if (Place* const place = find(state, device)) remove(state, *place);
  });
}

}  // namespace skep
