// SPDX-License-Identifier: Apache-2.0
// The helpers that need no hook. A table: one function each, then what it takes and gives.
#include "prog/format.hpp"
#include "prog/prog_array_map.hpp"
#include "prog/run.hpp"
#include "sync/racy.hpp"

#include <array>
#include <cctype>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

namespace skep {
namespace {

using u64 = std::uint64_t;
using namespace uapi;

constexpr u64 failure(int code) { return static_cast<u64>(-std::int64_t{code}); }
u64 answer(const Result<void>& result) { return result ? 0 : failure(result.error().code); }

Map& map_of(u64 address) { return *reinterpret_cast<Map*>(address); }
std::byte* pointer(u64 address) { return reinterpret_cast<std::byte*>(address); }

// ---- maps ----

u64 map_lookup_elem(Run& run, u64 map, u64 key, u64, u64, u64) {
  return reinterpret_cast<u64>(map_of(map).lookup(run.slot(), pointer(key)));
}
u64 map_update_elem(Run& run, u64 map, u64 key, u64 value, u64 flags, u64) {
  return answer(map_of(map).update(run.slot(), pointer(key), pointer(value), flags));
}
u64 map_delete_elem(Run& run, u64 map, u64 key, u64, u64, u64) {
  return answer(map_of(map).erase(run.slot(), pointer(key)));
}
u64 map_lookup_percpu_elem(Run& run, u64 map, u64 key, u64 cpu, u64, u64) {
  return reinterpret_cast<u64>(
      map_of(map).lookup_percpu(run.slot(), pointer(key), static_cast<std::uint32_t>(cpu)));
}

u64 for_each_map_elem(Run& run, u64 map_address, u64 callback, u64 context, u64 flags, u64) {
  if (flags != 0) return failure(EINVAL);
  Map& map = map_of(map_address);
  const auto visit = [&](const std::byte* key, std::byte* value) {
    run.grant_value(map, value);
    // The key may lie on the map's own stack: it is shown to this callback and no longer.
    run.lend(key, map.spec().key_bytes);
    u64 stop = 0;
    const bool alive = run.call_back(callback, map_address, reinterpret_cast<u64>(key),
                                     reinterpret_cast<u64>(value), context, stop);
    run.take_back();
    return alive && stop == 0;
  };
  const Result<u64> visited = map.for_each(run.slot(), visit);
  return visited ? *visited : failure(visited.error().code);
}

u64 tail_call(Run& run, u64, u64 map, u64 index, u64, u64) {
  const auto& programs = static_cast<const ProgArrayMap&>(map_of(map));
  if (const Program* target = programs.program(static_cast<std::uint32_t>(index)))
    run.tail_call(*target);
  return 0;
}

u64 spin_lock_helper(Run& run, u64 lock, u64, u64, u64, u64) {
  run.lock(lock);
  return 0;
}
u64 spin_unlock_helper(Run& run, u64 lock, u64, u64, u64, u64) {
  run.unlock(lock);
  return 0;
}

// ---- clocks, numbers, place ----

u64 ktime_get_ns(Run& run, u64, u64, u64, u64, u64) { return run.slot().clock().monotonic_ns(); }
u64 ktime_get_boot_ns(Run& run, u64, u64, u64, u64, u64) {
  return run.slot().clock().boottime_ns();
}
u64 ktime_get_tai_ns(Run& run, u64, u64, u64, u64, u64) { return run.slot().clock().tai_ns(); }
u64 jiffies64(Run& run, u64, u64, u64, u64, u64) {
  constexpr u64 ns_per_tick = 4'000'000;  // 250 Hz, what distributions build with
  return run.slot().clock().monotonic_ns() / ns_per_tick;
}
u64 get_prandom_u32(Run& run, u64, u64, u64, u64, u64) { return run.slot().random().next_u32(); }
u64 get_smp_processor_id(Run& run, u64, u64, u64, u64, u64) { return run.slot().cpu(); }
u64 get_numa_node_id(Run&, u64, u64, u64, u64, u64) { return 0; }

// ---- text ----

u64 trace(Run& run, u64 format_address, u64 format_bytes, std::span<const u64> arguments) {
  const Result<std::string> format = read_format(run, format_address, format_bytes);
  if (!format) return failure(format.error().code);
  const Result<std::string> text = format_text(run, *format, arguments);
  if (!text) return failure(text.error().code);
  std::string_view line = *text;
  if (line.ends_with('\n')) line.remove_suffix(1);
  run.environment().trace.write(run.program().full_name(), run.slot().cpu(),
                                run.slot().clock().monotonic_ns(), line);
  return text->size();
}

u64 trace_printk(Run& run, u64 format, u64 format_bytes, u64 a, u64 b, u64 c) {
  const std::array<u64, 3> arguments = {a, b, c};
  return trace(run, format, format_bytes, arguments);
}

constexpr std::size_t max_data_arguments = 12;

/// The array of 64-bit arguments of vprintk and snprintf. Errors: EINVAL (its size).
Result<std::span<const u64>> data_arguments(u64 data, u64 bytes,
                                            std::array<u64, max_data_arguments>& copy) {
  if (bytes % sizeof(u64) != 0 || bytes > sizeof copy) return Errno{EINVAL};
  if (bytes != 0) racy_copy(copy.data(), pointer(data), bytes);  // without any it may be null
  return std::span<const u64>(copy.data(), bytes / sizeof(u64));
}

u64 trace_vprintk(Run& run, u64 format, u64 format_bytes, u64 data, u64 data_bytes, u64) {
  std::array<u64, max_data_arguments> copy;
  const auto arguments = data_arguments(data, data_bytes, copy);
  if (!arguments) return failure(arguments.error().code);
  return trace(run, format, format_bytes, *arguments);
}

u64 snprintf_helper(Run& run, u64 out, u64 out_bytes, u64 format_address, u64 data,
                    u64 data_bytes) {
  std::array<u64, max_data_arguments> copy;
  const auto arguments = data_arguments(data, data_bytes, copy);
  if (!arguments) return failure(arguments.error().code);
  const Result<std::string> format = read_format(run, format_address, max_format_bytes);
  if (!format) return failure(format.error().code);
  const Result<std::string> text = format_text(run, *format, *arguments);
  if (!text) return failure(text.error().code);
  if (out_bytes != 0) {
    const std::size_t bytes = std::min<std::size_t>(text->size(), out_bytes - 1);
    racy_copy(pointer(out), text->data(), bytes);
    racy_store<std::uint8_t>(pointer(out) + bytes, 0);
  }
  return text->size() + 1;
}

u64 strncmp_helper(Run& run, u64 a, u64 bytes, u64 b, u64, u64) {
  for (u64 n = 0; n < bytes; ++n) {
    const std::byte* right = run.readable(b + n, 1);
    const auto x = racy_load<std::uint8_t>(pointer(a) + n);
    const std::uint8_t y = right == nullptr ? 0 : racy_load<std::uint8_t>(right);
    if (x != y) return x < y ? failure(1) : 1;
    if (x == 0) break;
  }
  return 0;
}

/// Digits, base by prefix if it is 0, with a sign where `Number` has one. Gives the characters
/// used. Errors: EINVAL (base, no digits), ERANGE.
template <class Number>
u64 parse_number(u64 text, u64 bytes, u64 flags, u64 result) {
  constexpr u64 base_bits = 31;
  if ((flags & ~base_bits) != 0) return failure(EINVAL);
  u64 base = flags;
  if (base != 0 && base != 8 && base != 10 && base != 16) return failure(EINVAL);
  u64 at = 0;
  const auto peek = [&](u64 ahead) {
    return at + ahead < bytes ? racy_load<std::uint8_t>(pointer(text) + at + ahead)
                              : std::uint8_t{0};
  };
  while (std::isspace(peek(0)) != 0) ++at;
  const bool negative = peek(0) == '-';
  if (negative && std::is_unsigned_v<Number>) return failure(EINVAL);
  if (negative) ++at;
  const bool hex_prefix = peek(0) == '0' && (peek(1) | 0x20) == 'x';
  const bool hex_digit_follows = hex_prefix && std::isxdigit(peek(2)) != 0;
  if (base == 0) base = peek(0) != '0' ? 10 : hex_digit_follows ? 16 : 8;
  if (base == 16 && hex_prefix) at += 2;
  u64 value = 0;
  bool overflow = false;
  const u64 first = at;
  for (;; ++at) {
    const std::uint8_t c = peek(0);
    u64 digit;
    if (c >= '0' && c <= '9')
      digit = c - u64{'0'};
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
      digit = (c | 0x20) - u64{'a'} + 10;
    else
      break;
    if (digit >= base) break;
    overflow |= __builtin_mul_overflow(value, base, &value);
    overflow |= __builtin_add_overflow(value, digit, &value);
  }
  if (at == first) return failure(EINVAL);
  if (std::is_signed_v<Number>) {
    const u64 limit = static_cast<u64>(std::numeric_limits<Number>::max()) + (negative ? 1 : 0);
    overflow |= value > limit;
    if (negative) value = 0 - value;
  }
  if (overflow) return failure(ERANGE);
  racy_store<u64>(pointer(result), value);
  return at;
}

u64 strtol_helper(Run&, u64 text, u64 bytes, u64 flags, u64 result, u64) {
  return parse_number<std::int64_t>(text, bytes, flags, result);
}
u64 strtoul_helper(Run&, u64 text, u64 bytes, u64 flags, u64 result, u64) {
  return parse_number<u64>(text, bytes, flags, result);
}

// ---- checksums and loops ----

/// a + b in ones-complement arithmetic.
std::uint32_t add_ones_complement(std::uint32_t a, std::uint32_t b) {
  const u64 sum = u64{a} + b;
  return static_cast<std::uint32_t>(sum) + static_cast<std::uint32_t>(sum >> 32);
}

/// Ones-complement sum of the 32-bit words; a last part of one is filled up with zero bytes.
std::uint32_t sum_words(u64 address, u64 bytes) {
  std::uint32_t sum = 0;
  u64 at = 0;
  for (; at + 4 <= bytes; at += 4)
    sum = add_ones_complement(sum, racy_load<std::uint32_t>(pointer(address) + at));
  std::uint32_t last = 0;
  for (u64 i = at; i < bytes; ++i) {
    const std::uint32_t byte = racy_load<std::uint8_t>(pointer(address) + i);
    last |= byte << (8 * (i - at));
  }
  return add_ones_complement(sum, last);
}

u64 csum_diff(Run&, u64 from, u64 from_bytes, u64 to, u64 to_bytes, u64 seed) {
  auto sum = static_cast<std::uint32_t>(seed);
  if (from_bytes != 0) sum = add_ones_complement(sum, ~sum_words(from, from_bytes));
  if (to_bytes != 0) sum = add_ones_complement(sum, sum_words(to, to_bytes));
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

u64 loop(Run& run, u64 rounds, u64 callback, u64 context, u64 flags, u64) {
  constexpr u64 max_rounds = 8U << 20;
  if (flags != 0) return failure(EINVAL);
  rounds = static_cast<std::uint32_t>(rounds);
  if (rounds > max_rounds) return failure(E2BIG);
  for (u64 n = 0; n < rounds; ++n) {
    u64 stop = 0;
    if (!run.call_back(callback, n, context, 0, 0, stop)) return 0;
    if (stop != 0) return n + 1;
  }
  return rounds;
}

// ---- the table ----

constexpr MapTypeSet keyed_maps = map_types(
    BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
    BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_LPM_TRIE);
constexpr MapTypeSet lookup_maps =
    keyed_maps | map_types(BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_MAP_TYPE_XSKMAP);
constexpr MapTypeSet percpu_maps =
    map_types(BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LRU_PERCPU_HASH);
constexpr MapTypeSet walkable_maps = keyed_maps & ~map_types(BPF_MAP_TYPE_LPM_TRIE);

constexpr Helper helpers[] = {
    {1,
     "map_lookup_elem",
     Return::map_value_or_null,
     {Arg::map, Arg::map_key},
     map_lookup_elem,
     lookup_maps},
    {2,
     "map_update_elem",
     Return::number,
     {Arg::map, Arg::map_key, Arg::map_value, Arg::anything},
     map_update_elem,
     keyed_maps},
    {3, "map_delete_elem", Return::number, {Arg::map, Arg::map_key}, map_delete_elem, keyed_maps},
    {5, "ktime_get_ns", Return::number, {}, ktime_get_ns},
    {.id = 6,
     .name = "trace_printk",
     .returns = Return::number,
     .arguments = {Arg::memory, Arg::size, Arg::anything, Arg::anything, Arg::anything},
     .function = trace_printk,
     .gpl_only = true},
    {7, "get_prandom_u32", Return::number, {}, get_prandom_u32},
    {8, "get_smp_processor_id", Return::number, {}, get_smp_processor_id},
    {12,
     "tail_call",
     Return::nothing,
     {Arg::context, Arg::map, Arg::anything},
     tail_call,
     map_types(BPF_MAP_TYPE_PROG_ARRAY)},
    {28,
     "csum_diff",
     Return::number,
     {Arg::memory_or_null, Arg::size_or_zero, Arg::memory_or_null, Arg::size_or_zero,
      Arg::anything},
     csum_diff},
    {42, "get_numa_node_id", Return::number, {}, get_numa_node_id},
    {93, "spin_lock", Return::nothing, {Arg::spin_lock}, spin_lock_helper},
    {94, "spin_unlock", Return::nothing, {Arg::spin_lock}, spin_unlock_helper},
    {105,
     "strtol",
     Return::number,
     {Arg::memory, Arg::size, Arg::anything, Arg::memory_out_8},
     strtol_helper},
    {106,
     "strtoul",
     Return::number,
     {Arg::memory, Arg::size, Arg::anything, Arg::memory_out_8},
     strtoul_helper},
    {118, "jiffies64", Return::number, {}, jiffies64},
    {125, "ktime_get_boot_ns", Return::number, {}, ktime_get_boot_ns},
    {160, "ktime_get_coarse_ns", Return::number, {}, ktime_get_ns},
    {164,
     "for_each_map_elem",
     Return::number,
     {Arg::map, Arg::callback, Arg::callback_context, Arg::anything},
     for_each_map_elem,
     walkable_maps},
    {165,
     "snprintf",
     Return::number,
     {Arg::memory_out, Arg::size_or_zero, Arg::anything, Arg::memory_or_null, Arg::size_or_zero},
     snprintf_helper},
    {.id = 177,
     .name = "trace_vprintk",
     .returns = Return::number,
     .arguments = {Arg::memory, Arg::size, Arg::memory_or_null, Arg::size_or_zero},
     .function = trace_vprintk,
     .gpl_only = true},
    {181,
     "loop",
     Return::number,
     {Arg::anything, Arg::callback, Arg::callback_context, Arg::anything},
     loop},
    {182, "strncmp", Return::number, {Arg::memory, Arg::size, Arg::anything}, strncmp_helper},
    {195,
     "map_lookup_percpu_elem",
     Return::map_value_or_null,
     {Arg::map, Arg::map_key, Arg::anything},
     map_lookup_percpu_elem,
     percpu_maps},
    {208, "ktime_get_tai_ns", Return::number, {}, ktime_get_tai_ns},
};

/// The table by id.
constexpr auto by_id = [] {
  std::array<const Helper*, 212> index{};
  for (const Helper& helper : helpers) index[helper.id] = &helper;
  return index;
}();

}  // namespace

const Helper* base_helper(std::uint32_t id) { return id < by_id.size() ? by_id[id] : nullptr; }

}  // namespace skep
