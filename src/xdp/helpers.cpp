// SPDX-License-Identifier: Apache-2.0
#include "xdp/helpers.hpp"

#include "net/device.hpp"
#include "prog/run.hpp"
#include "rcu/rcu.hpp"
#include "sync/racy.hpp"
#include "uapi/bpf.hpp"
#include "xdp/context.hpp"
#include "xdp/devmap.hpp"
#include "xdp/redirect.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <span>

namespace skep {
namespace {

constexpr std::size_t max_meta_bytes = 255;
constexpr std::uint32_t max_offset =
    0xffff;  // of load_bytes and store_bytes, offset and length alike

constexpr std::uint64_t failed(int code) {
  return static_cast<std::uint64_t>(-static_cast<std::int64_t>(code));
}

/// Every run of an XDP program has this context.
XdpContext& context_of(Run& run) { return static_cast<XdpContext&>(run.context()); }

/// Arguments that the kernel takes as `int`: the low half of the register.
std::ptrdiff_t signed_low(std::uint64_t value) { return static_cast<std::int32_t>(value); }

std::uint64_t redirect(Run& run, std::uint64_t ifindex, std::uint64_t flags, std::uint64_t,
                       std::uint64_t, std::uint64_t) {
  if (flags != 0) return uapi::XDP_ABORTED;
  RedirectInfo& info = context_of(run).redirect();
  info.index = static_cast<std::uint32_t>(ifindex);
  info.kind = RedirectInfo::Kind::plain;
  return uapi::XDP_REDIRECT;
}

std::uint64_t redirect_map(Run& run, std::uint64_t map_address, std::uint64_t key,
                           std::uint64_t flags, std::uint64_t, std::uint64_t) {
  constexpr std::uint64_t miss_verdict = 3;
  constexpr std::uint64_t allowed =
      miss_verdict | uapi::BPF_F_BROADCAST | uapi::BPF_F_EXCLUDE_INGRESS;
  if ((flags & ~allowed) != 0) return uapi::XDP_ABORTED;
  // The helper takes no other types (see the table).
  const auto& map = *static_cast<const Devmap*>(reinterpret_cast<const Map*>(map_address));
  RedirectInfo& info = context_of(run).redirect();
  const rcu::ReadGuard guard;  // nests in the run's section, which keeps the entry
  const DevmapEntry* const entry = map.find(static_cast<std::uint32_t>(key), guard);
  const bool broadcast = (flags & uapi::BPF_F_BROADCAST) != 0;
  if (entry == nullptr && !broadcast) {
    info.kind = RedirectInfo::Kind::plain;  // with the index of an earlier call
    return flags & miss_verdict;
  }
  info.target = entry;
  info.index = key;
  info.kind = RedirectInfo::Kind::devmap;
  info.broadcast = broadcast ? &map : nullptr;
  info.exclude_ingress = broadcast && (flags & uapi::BPF_F_EXCLUDE_INGRESS) != 0;
  return uapi::XDP_REDIRECT;
}

std::uint64_t adjust_head(Run& run, std::uint64_t, std::uint64_t delta, std::uint64_t,
                          std::uint64_t, std::uint64_t) {
  const XdpContext& context = context_of(run);
  Buff& frame = context.frame();
  const std::ptrdiff_t by = signed_low(delta);
  const auto meta_bytes = static_cast<std::ptrdiff_t>(frame.meta_bytes());
  // As distances: an address far outside of the buffer must not be formed.
  if (frame.data - context.lowest_start() + by < meta_bytes) return failed(EINVAL);
  if (frame.data_end - frame.data - by < std::ptrdiff_t{ethernet_header_bytes})
    return failed(EINVAL);
  if (meta_bytes != 0) {
    // The old and the new place may overlap.
    std::array<std::byte, max_meta_bytes + 1> meta;
    racy_copy(meta.data(), frame.data_meta, meta_bytes);
    racy_copy(frame.data_meta + by, meta.data(), meta_bytes);
  }
  frame.data_meta += by;
  frame.data += by;
  return 0;
}

std::uint64_t adjust_meta(Run& run, std::uint64_t, std::uint64_t delta, std::uint64_t,
                          std::uint64_t, std::uint64_t) {
  const XdpContext& context = context_of(run);
  Buff& frame = context.frame();
  const std::ptrdiff_t by = signed_low(delta);
  if (frame.data_meta - context.lowest_start() + by < 0) return failed(EINVAL);
  const std::ptrdiff_t bytes = frame.data - frame.data_meta - by;
  if (bytes < 0) return failed(EINVAL);
  if (bytes % 4 != 0 || bytes > std::ptrdiff_t{max_meta_bytes}) return failed(EACCES);
  frame.data_meta += by;
  return 0;
}

std::uint64_t grow_last_fragment(const XdpContext& context, std::size_t by) {
  Buff& frame = context.frame();
  const std::size_t fragment_bytes = context.origin().fragment_bytes;
  if (fragment_bytes == 0 || fragment_bytes > chunk_bytes) return failed(EOPNOTSUPP);
  Buff::Fragment& last = frame.frags().back();
  const std::size_t end = std::size_t{last.offset} + last.bytes;
  if (end + by > fragment_bytes) return failed(EINVAL);
  racy_zero(frame.pool->fragment_data(last) + last.bytes, by);
  last.bytes = static_cast<std::uint16_t>(last.bytes + by);
  return 0;
}

std::uint64_t shrink_fragments(Slot& slot, Buff& frame, std::size_t by) {
  const std::size_t total = frame.frame_bytes();
  if (by > total || total - by < ethernet_header_bytes) return failed(EINVAL);
  while (by != 0 && frame.has_fragments()) {
    Buff::Fragment& last = frame.frags().back();
    if (by < last.bytes) {
      last.bytes = static_cast<std::uint16_t>(last.bytes - by);
      return 0;
    }
    by -= last.bytes;
    frame.pool->drop_fragment(slot, frame);
  }
  frame.data_end -= by;
  return 0;
}

std::uint64_t adjust_tail(Run& run, std::uint64_t, std::uint64_t delta, std::uint64_t,
                          std::uint64_t, std::uint64_t) {
  const XdpContext& context = context_of(run);
  Buff& frame = context.frame();
  const std::ptrdiff_t by = signed_low(delta);
  if (frame.has_fragments()) {
    if (by >= 0) return grow_last_fragment(context, static_cast<std::size_t>(by));
    // The one number without a positive counterpart changes nothing on Linux (observed on 6.18).
    if (by == std::numeric_limits<std::int32_t>::min()) return 0;
    return shrink_fragments(run.slot(), frame, static_cast<std::size_t>(-by));
  }
  if (by > frame.hard_end() - frame.data_end) return failed(EINVAL);
  if (frame.data_end - frame.data + by < std::ptrdiff_t{ethernet_header_bytes})
    return failed(EINVAL);
  if (by > 0) racy_zero(frame.data_end, static_cast<std::size_t>(by));
  frame.data_end += by;
  return 0;
}

std::uint64_t get_buff_len(Run& run, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                           std::uint64_t) {
  return context_of(run).frame().frame_bytes();
}

/// What load_bytes and store_bytes check alike.
std::uint64_t check_copy(const Buff& frame, std::uint32_t offset, std::uint32_t bytes,
                         std::uint64_t buffer) {
  if (offset > max_offset || bytes > max_offset) return failed(EFAULT);
  if (std::size_t{offset} + bytes > frame.frame_bytes()) return failed(EINVAL);
  // A frame is not copied onto itself: Linux refuses programs that hand packet memory to these
  // helpers. What a program can address of its packet is the linear part with its metadata.
  const std::uint64_t start = reinterpret_cast<std::uintptr_t>(frame.data_meta);
  const std::uint64_t end = reinterpret_cast<std::uintptr_t>(frame.data_end);
  if (buffer < end && buffer + bytes > start) return failed(EFAULT);
  return 0;
}

std::uint64_t load_bytes(Run& run, std::uint64_t, std::uint64_t offset, std::uint64_t buffer,
                         std::uint64_t bytes, std::uint64_t) {
  Buff& frame = context_of(run).frame();
  const auto from = static_cast<std::uint32_t>(offset), count = static_cast<std::uint32_t>(bytes);
  if (const std::uint64_t error = check_copy(frame, from, count, buffer)) return error;
  frame.pool->copy_out(frame, from, {reinterpret_cast<std::byte*>(buffer), count});
  return 0;
}

std::uint64_t store_bytes(Run& run, std::uint64_t, std::uint64_t offset, std::uint64_t buffer,
                          std::uint64_t bytes, std::uint64_t) {
  Buff& frame = context_of(run).frame();
  const auto to = static_cast<std::uint32_t>(offset), count = static_cast<std::uint32_t>(bytes);
  if (const std::uint64_t error = check_copy(frame, to, count, buffer)) return error;
  frame.pool->copy_in(frame, to, {reinterpret_cast<const std::byte*>(buffer), count});
  return 0;
}

std::uint64_t check_mtu(Run& run, std::uint64_t, std::uint64_t ifindex, std::uint64_t mtu_address,
                        std::uint64_t difference, std::uint64_t flags) {
  const XdpContext& context = context_of(run);
  if (flags != 0) return failed(EINVAL);
  const rcu::ReadGuard guard;  // nests in the run's section
  Device* device = &context.origin().ingress;
  if (static_cast<std::uint32_t>(ifindex) != 0)
    device = device->net_namespace().find(static_cast<std::uint32_t>(ifindex), guard);
  if (device == nullptr) return failed(ENODEV);
  auto* const mtu = reinterpret_cast<std::byte*>(mtu_address);
  const std::int64_t header_bytes = device->hard_header_bytes();
  const std::int64_t asked = racy_load<std::uint32_t>(mtu);
  const std::int64_t bytes =
      (asked != 0 ? asked + header_bytes : std::int64_t(context.frame().linear_bytes())) +
      signed_low(difference);
  racy_store<std::uint32_t>(mtu, device->mtu());
  return bytes > std::int64_t{device->mtu()} + header_bytes ? 1 : 0;
}

constexpr Helper table[] = {
    {.id = 23,
     .name = "redirect",
     .returns = Return::number,
     .arguments = {Arg::anything, Arg::anything},
     .function = redirect},
    {.id = 44,
     .name = "xdp_adjust_head",
     .returns = Return::number,
     .arguments = {Arg::context, Arg::anything},
     .function = adjust_head,
     .changes_packet = true},
    {.id = 51,
     .name = "redirect_map",
     .returns = Return::number,
     .arguments = {Arg::map, Arg::anything, Arg::anything},
     .function = redirect_map,
     .maps = map_types(uapi::BPF_MAP_TYPE_DEVMAP, uapi::BPF_MAP_TYPE_DEVMAP_HASH)},
    {.id = 54,
     .name = "xdp_adjust_meta",
     .returns = Return::number,
     .arguments = {Arg::context, Arg::anything},
     .function = adjust_meta,
     .changes_packet = true},
    {.id = 65,
     .name = "xdp_adjust_tail",
     .returns = Return::number,
     .arguments = {Arg::context, Arg::anything},
     .function = adjust_tail,
     .changes_packet = true},
    {.id = 163,
     .name = "check_mtu",
     .returns = Return::number,
     .arguments = {Arg::context, Arg::anything, Arg::memory_inout_4, Arg::anything, Arg::anything},
     .function = check_mtu},
    {.id = 188,
     .name = "xdp_get_buff_len",
     .returns = Return::number,
     .arguments = {Arg::context},
     .function = get_buff_len},
    {.id = 189,
     .name = "xdp_load_bytes",
     .returns = Return::number,
     .arguments = {Arg::context, Arg::anything, Arg::memory_out, Arg::size},
     .function = load_bytes},
    {.id = 190,
     .name = "xdp_store_bytes",
     .returns = Return::number,
     .arguments = {Arg::context, Arg::anything, Arg::memory, Arg::size},
     .function = store_bytes},
};

}  // namespace

const Helper* xdp_helper(std::uint32_t id) {
  const auto* const found = std::ranges::find(table, id, &Helper::id);
  return found == std::end(table) ? nullptr : found;
}

}  // namespace skep
