// SPDX-License-Identifier: Apache-2.0
// The batch commands: many elements in one call. The cursor of a walk is a key, or a bucket number
// for maps that hash. Source: maps.md 1.6.
#include "syscall/command.hpp"
#include "syscall/map_access.hpp"

#include <cstddef>
#include <span>
#include <utility>

namespace skep::command {
namespace {

using uapi::map_batch_attr;

enum class Operation : std::uint8_t { lookup, lookup_and_delete, update, erase };

constexpr std::size_t count_offset = offsetof(map_batch_attr, count);

/// Errors: 524.
Result<void> check_supported(const MapType& type, Operation operation) {
  const bool supported = operation == Operation::lookup              ? type.batch.lookup
                         : operation == Operation::lookup_and_delete ? type.batch.lookup_and_delete
                         : operation == Operation::update            ? type.batch.update
                                                                     : type.batch.erase;
  if (!supported) return Errno{ENOTSUPP};
  return ok();
}

/// Errors: EINVAL.
Result<void> check_element_flags(const Map& map, std::uint64_t flags) {
  if ((flags & ~uapi::BPF_F_LOCK) != 0) return Errno{EINVAL};
  return check_lock_flag(map, flags);
}

/// Update or delete item by item; the first error ends it. What was done before stays done.
CommandResult change_items(Command& command, Map& map, const map_batch_attr& attr,
                           Operation operation) {
  TRY(check_element_flags(map, attr.elem_flags));
  if (attr.count == 0) return 0;
  Buffer key = TRY(Buffer::make(command.syscalls.budget(), map.spec().key_bytes));
  Buffer value = TRY(Buffer::make(command.syscalls.budget(), map.command_value_bytes()));
  TRY(command.write_field(count_offset, std::uint32_t{0}));

  std::uint32_t done = 0;
  const auto change_all = [&]() -> Result<void> {
    for (; done < attr.count; ++done) {
      TRY(command.caller.read(attr.keys + std::uint64_t{done} * key.size(), key.span()));
      if (operation == Operation::update)
        TRY(command.caller.read(attr.values + std::uint64_t{done} * value.size(), value.span()));
      const SlotGuard slot = command.syscalls.slots().enter_control();
      MapCommand on{*slot, command.caller};
      if (operation == Operation::update)
        TRY(map.command_update(on, key.data(), value.data(), attr.elem_flags));
      else
        TRY(map.command_erase(on, key.data()));
    }
    return ok();
  };
  const Result<void> changed = change_all();
  TRY(command.write_field(count_offset, done));
  TRY(changed);
  return 0;
}

/// A walk whose cursor is the last key given out.
CommandResult look_up_keys(Command& command, Map& map, const map_batch_attr& attr) {
  TRY(check_element_flags(map, attr.elem_flags));
  if (attr.count == 0) return 0;
  TRY(command.write_field(count_offset, std::uint32_t{0}));
  Budget& budget = command.syscalls.budget();
  Buffer last = TRY(Buffer::make(budget, map.spec().key_bytes));
  Buffer key = TRY(Buffer::make(budget, map.spec().key_bytes));
  Buffer value = TRY(Buffer::make(budget, map.command_value_bytes()));
  bool started = attr.in_batch != 0;
  if (started) TRY(command.caller.read(attr.in_batch, last.span()));

  std::uint32_t done = 0;
  Result<void> walked = ok();
  // Bound: every turn moves on to the next key of the map.
  while (done < attr.count) {
    Result<void> found = ok();
    {
      const SlotGuard slot = command.syscalls.slots().enter_control();
      MapCommand on{*slot, command.caller};
      walked = map.next_key(on, started ? last.data() : nullptr, key.data());
      if (!walked) break;
      found = map.command_lookup(on, key.data(), value.data(), attr.elem_flags);
    }
    if (found) {
      TRY(command.caller.write(attr.keys + std::uint64_t{done} * key.size(), key.span()));
      TRY(command.caller.write(attr.values + std::uint64_t{done} * value.size(), value.span()));
      ++done;
    } else if (found.error().code != ENOENT) {
      return found.error();
    }
    std::swap(last, key);
    started = true;
  }
  if (!walked && walked.error().code != ENOENT) return walked.error();

  TRY(command.write_field(count_offset, done));
  if (done != 0) TRY(command.caller.write(attr.out_batch, last.span()));
  TRY(walked);
  return 0;
}

/// A walk whose cursor is a bucket number; whole buckets are given out.
CommandResult look_up_buckets(Command& command, Map& map, const map_batch_attr& attr, bool erase) {
  TRY(check_element_flags(map, attr.elem_flags));
  if (attr.flags != 0) return Errno{EINVAL};
  if (attr.count == 0) return 0;
  TRY(command.write_field(count_offset, std::uint32_t{0}));
  std::uint32_t start = 0;
  if (attr.in_batch != 0) start = TRY(read_value<std::uint32_t>(command.caller, attr.in_batch));

  const std::uint64_t key_bytes = map.spec().key_bytes;
  const std::uint64_t value_bytes = map.command_value_bytes();
  std::uint64_t given = 0;
  auto deliver = [&](std::span<const std::byte> keys, std::span<const std::byte> values,
                     std::uint32_t count) -> Result<void> {
    TRY(command.caller.write(attr.keys + given * key_bytes, keys));
    TRY(command.caller.write(attr.values + given * value_bytes, values));
    given += count;
    return ok();
  };
  BucketBatch batch{.cursor = start,
                    .max_items = attr.count,
                    .erase = erase,
                    .elem_flags = attr.elem_flags,
                    .deliver = deliver};
  std::uint32_t delivered = 0;
  Result<void> walked = ok();
  {
    const SlotGuard slot = command.syscalls.slots().enter_control();
    MapCommand on{*slot, command.caller};
    walked = map.batch_buckets(on, batch, delivered);
  }
  if (!walked && walked.error().code == EFAULT) return walked.error();
  // A cursor behind the last bucket: nothing was walked, so nothing is written.
  const bool past_end = !walked && walked.error().code == ENOENT && batch.cursor == start;
  if (past_end) return walked.error();

  TRY(write_value(command.caller, attr.out_batch, batch.cursor));
  TRY(command.write_field(count_offset, delivered));
  TRY(walked);
  return 0;
}

CommandResult batch(Command& command, Operation operation) {
  const auto attr = command.as<map_batch_attr>();
  const bool looks_up = operation == Operation::lookup || operation == Operation::lookup_and_delete;
  const MapAccess access = TRY(access_map(
      command, attr.map_fd, {.reads = looks_up, .writes = operation != Operation::lookup}));
  Map& map = *access.map;
  TRY(check_supported(map.type(), operation));
  if (!looks_up) return change_items(command, map, attr, operation);
  if (!map.type().batch.buckets) return look_up_keys(command, map, attr);
  return look_up_buckets(command, map, attr, operation == Operation::lookup_and_delete);
}

}  // namespace

CommandResult map_lookup_batch(Command& command) { return batch(command, Operation::lookup); }

CommandResult map_lookup_and_delete_batch(Command& command) {
  return batch(command, Operation::lookup_and_delete);
}

CommandResult map_update_batch(Command& command) { return batch(command, Operation::update); }

CommandResult map_delete_batch(Command& command) { return batch(command, Operation::erase); }

}  // namespace skep::command
