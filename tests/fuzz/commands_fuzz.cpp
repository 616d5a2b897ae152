// SPDX-License-Identifier: Apache-2.0
// The input is a list of steps. A step is mostly a bpf(2) command: its attribute block is filled
// field by field, so that numbers are small, descriptors are ones that earlier steps got, and
// addresses lead to buffers, unless the input says otherwise.
#include "syscall/commands.hpp"

#include "fuzz/must.hpp"
#include "fuzz/reader.hpp"
#include "fuzz/target.hpp"
#include "net/port/null_port.hpp"
#include "object/caller.hpp"
#include "rcu/rcu.hpp"
#include "runtime/world.hpp"
#include "uapi/bpf.hpp"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::fuzz {
namespace {

using namespace uapi;

constexpr std::size_t max_steps = 100;

/// A caller whose memory is a list of buffers, each on the heap with an address of its own: one
/// byte beside them is an EFAULT, as in a process with nothing else mapped.
class BufferCaller final : public Caller {
 public:
  explicit BufferCaller(World& world) : world_(world) {}

  /// The address of a new buffer.
  std::uint64_t add(std::vector<std::byte> bytes) {
    buffers_.push_back(std::move(bytes));
    return buffers_.size() << buffer_shift;
  }
  void forget_buffers() { buffers_.clear(); }
  void set_capabilities(std::uint32_t bits) { capabilities_ = bits; }

  bool capable(Capability capability) const override {
    return (capabilities_ >> static_cast<unsigned>(capability) & 1) != 0;
  }
  Result<Ref<Object>> object(int fd, ObjectKind kind, Access* access) override {
    return world_.syscalls.descriptors().find(fd, kind, access);
  }
  NetNamespace& net_namespace() override { return *world_.net_namespace; }
  Result<void> read(std::uint64_t address, std::span<std::byte> into) override {
    if (into.empty()) return ok();
    const std::byte* const from = TRY(locate(address, into.size()));
    std::memcpy(into.data(), from, into.size());
    return ok();
  }
  Result<void> write(std::uint64_t address, std::span<const std::byte> from) override {
    if (from.empty()) return ok();
    std::byte* const to = TRY(locate(address, from.size()));
    std::memcpy(to, from.data(), from.size());
    return ok();
  }
  std::uint32_t uid() const override { return 0; }

 private:
  static constexpr unsigned buffer_shift = 24;

  Result<std::byte*> locate(std::uint64_t address, std::uint64_t bytes) {
    const std::uint64_t index = (address >> buffer_shift) - 1;  // below the first: huge
    if (index >= buffers_.size()) return Errno{EFAULT};
    const std::uint64_t offset = address & ((1U << buffer_shift) - 1);
    std::vector<std::byte>& buffer = buffers_[index];
    if (offset > buffer.size() || bytes > buffer.size() - offset) return Errno{EFAULT};
    return buffer.data() + offset;
  }

  World& world_;
  std::uint32_t capabilities_ = 0xf;
  std::vector<std::vector<std::byte>> buffers_;
};

enum class Fill : std::uint8_t {
  number32,
  number64,
  fd,
  buffer,
  name,     // 16 bytes in the block itself
  path,     // address of text
  license,  // likewise
  program,  // address of instructions; their number is 4 bytes before, as in prog_load_attr
  types,    // address of type information
};
struct Field {
  std::size_t offset;
  Fill fill;
};
struct Shape {
  std::uint32_t command;
  std::uint32_t bytes;
  std::vector<Field> fields;
};

// clang-format off: a table.
const std::vector<Shape>& shapes() {
  using enum Fill;
  static const std::vector<Field> element = {{0, fd}, {8, buffer}, {16, buffer}, {24, number64}};
  static const std::vector<Field> batch = {{0, buffer},    {8, buffer}, {16, buffer},   {24, buffer},
                                           {32, number32}, {36, fd},    {40, number64}, {48, number64}};
  static const std::vector<Field> id = {{0, number32}, {8, number32}};
  static const std::vector<Field> pin = {{0, path}, {8, fd}, {12, number32}, {16, number32}};
  static const std::vector<Shape> table = {
      {BPF_MAP_CREATE, 92,
       {{0, number32}, {4, number32}, {8, number32}, {12, number32}, {16, number32}, {28, name}}},
      {BPF_MAP_CREATE, 92,
       {{0, number32}, {4, number32}, {8, number32}, {12, number32}, {16, number32}, {20, fd},
        {24, number32}, {28, name}, {44, number32}, {48, fd}, {52, number32}, {56, number32},
        {60, number32}, {64, number64}, {72, fd}, {76, fd}, {80, buffer}, {88, number32}}},
      {BPF_MAP_CREATE, 60,
       {{0, number32}, {4, number32}, {8, number32}, {12, number32}, {16, number32}, {28, name},
        {48, fd}, {52, number32}, {56, number32}}},
      {BPF_MAP_LOOKUP_ELEM, 32, element},
      {BPF_MAP_UPDATE_ELEM, 32, element},
      {BPF_MAP_DELETE_ELEM, 32, {{0, fd}, {8, buffer}}},
      {BPF_MAP_GET_NEXT_KEY, 24, {{0, fd}, {8, buffer}, {16, buffer}}},
      {BPF_MAP_LOOKUP_AND_DELETE_ELEM, 32, element},
      {BPF_MAP_FREEZE, 4, {{0, fd}}},
      {BPF_MAP_LOOKUP_BATCH, 56, batch},
      {BPF_MAP_LOOKUP_AND_DELETE_BATCH, 56, batch},
      {BPF_MAP_UPDATE_BATCH, 56, batch},
      {BPF_MAP_DELETE_BATCH, 56, batch},
      {BPF_PROG_LOAD, 72, {{0, number32}, {8, program}, {16, license}, {44, number32}, {48, name},
                           {68, number32}}},
      {BPF_PROG_LOAD, attr_bytes,
       {{0, number32}, {8, program}, {16, license}, {24, number32}, {28, number32}, {32, buffer},
        {40, number32}, {44, number32}, {48, name}, {64, number32}, {68, number32}, {72, fd},
        {76, number32}, {80, buffer}, {88, number32}, {92, number32}, {96, buffer},
        {104, number32}, {108, number32}, {112, fd}, {116, number32}, {120, buffer},
        {128, buffer}, {136, number32}, {144, fd}, {148, number32}, {152, buffer},
        {160, number32}, {164, number32}}},
      {BPF_PROG_TEST_RUN, 76, {{0, fd}, {8, number32}, {12, number32}, {16, buffer}, {24, buffer},
                               {32, number32}}},
      {BPF_PROG_TEST_RUN, 76,
       {{0, fd}, {8, number32}, {12, number32}, {16, buffer}, {24, buffer}, {32, number32},
        {40, number32}, {44, number32}, {48, buffer}, {56, buffer}, {64, number32},
        {68, number32}, {72, number32}}},
      {BPF_PROG_BIND_MAP, 12, {{0, fd}, {4, fd}, {8, number32}}},
      {BPF_BTF_LOAD, 40, {{0, types}, {8, buffer}, {16, number32}, {20, number32}, {24, number32},
                          {32, number32}, {36, number32}}},
      {BPF_OBJ_GET_INFO_BY_FD, 16, {{0, fd}, {4, number32}, {8, buffer}}},
      {BPF_OBJ_PIN, 20, pin},
      {BPF_OBJ_GET, 20, pin},
      {BPF_MAP_GET_NEXT_ID, 12, id},
      {BPF_PROG_GET_NEXT_ID, 12, id},
      {BPF_BTF_GET_NEXT_ID, 12, id},
      {BPF_LINK_GET_NEXT_ID, 12, id},
      {BPF_MAP_GET_FD_BY_ID, 12, id},
      {BPF_PROG_GET_FD_BY_ID, 12, id},
      {BPF_BTF_GET_FD_BY_ID, 16, id},
      {BPF_LINK_GET_FD_BY_ID, 12, id},
      {BPF_ENABLE_STATS, 4, {{0, number32}}},
  };
  return table;
}
// clang-format on

bool gives_descriptor(std::uint32_t command) {
  switch (command) {
    case BPF_MAP_CREATE:
    case BPF_PROG_LOAD:
    case BPF_BTF_LOAD:
    case BPF_OBJ_GET:
    case BPF_MAP_GET_FD_BY_ID:
    case BPF_PROG_GET_FD_BY_ID:
    case BPF_BTF_GET_FD_BY_ID:
    case BPF_ENABLE_STATS:
      return true;
    default:
      return false;
  }
}

constexpr bpf_insn insn(unsigned code, unsigned dst, unsigned src, int off, std::int32_t imm) {
  return {.code = static_cast<std::uint8_t>(code),
          .dst_reg = static_cast<std::uint8_t>(dst & 0xf),
          .src_reg = static_cast<std::uint8_t>(src & 0xf),
          .off = static_cast<std::int16_t>(off),
          .imm = imm};
}
constexpr bpf_insn exit_insn = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

/// One runtime and what its caller got from it.
class Session {
 public:
  explicit Session(Input input) : reader_(input) {
    for (const char* name : {"a", "b"})
      ASSERT(world_->net_namespace->add_device(name, {}, std::make_unique<NullPort>()).has_value());
    used_bytes_ = world_->budget.used_bytes();
  }

  void run() {
    for (std::size_t step = 0; step < max_steps && !reader_.at_end(); ++step) take_step();
    close_all();
  }

 private:
  void take_step() {
    const std::uint8_t choice = reader_.take_byte();
    if (choice < shapes().size()) return send(shapes()[choice]);
    Pins& pins = world_->syscalls.pins();
    switch (choice) {
      case 0x80:
        if (!fds_.empty()) {
          std::swap(fds_[reader_.take_byte() % fds_.size()], fds_.back());
          ::close(fds_.back());
          fds_.pop_back();
        }
        break;
      case 0x81:
        if (!fds_.empty()) keep(::dup(fds_[reader_.take_byte() % fds_.size()]));
        break;
      case 0x82:
        world_->syscalls.reap();
        break;
      case 0x83:
        (void)pins.unlink(path());
        break;
      case 0x84:
        (void)pins.mkdir(path(), 0700, 0);
        break;
      case 0x85: {
        const std::string target = path();
        (void)pins.symlink(target, path(), 0);
        break;
      }
      case 0x86: {
        const std::string from = path();
        (void)pins.rename(from, path());
        break;
      }
      case 0x87:
        (void)pins.rmdir(path());
        break;
      case 0x88:
        if (const auto entries = pins.list(path()))
          for (const PinEntry& entry : *entries) ASSERT(!entry.name.empty());
        break;
      case 0x89:
        caller_.set_capabilities(reader_.take_byte());
        break;
      case 0x8a: {
        // A command as it comes: any number, any bytes, any size.
        const std::uint32_t number = reader_.take_byte();
        const auto bytes = reader_.take<std::uint16_t>();
        const Input given = reader_.take_bytes(bytes % 256);
        call(number, {given.begin(), given.end()}, bytes);
        break;
      }
      default:
        break;
    }
  }

  void send(const Shape& shape) {
    std::vector<std::byte> attr(attr_bytes);
    for (const Field& field : shape.fields) fill(attr, field);
    attr.resize(shape.bytes);
    call(shape.command, std::move(attr), shape.bytes);
  }

  void call(std::uint32_t number, std::vector<std::byte> attr, std::uint32_t bytes) {
    // To run a program four thousand million times may be asked for, but takes as long.
    constexpr std::size_t repeat_at = offsetof(prog_test_run_attr, repeat);
    if (number == BPF_PROG_TEST_RUN)
      for (std::size_t at = repeat_at + 1; at < std::min(attr.size(), repeat_at + 4); ++at)
        attr[at] = std::byte{0};
    const auto result = world_->syscalls.bpf(caller_, number, caller_.add(std::move(attr)), bytes);
    if (!result) {
      ASSERT(result.error().code > 0 && result.error().code <= ENOTSUPP);
    } else if (gives_descriptor(number)) {
      keep(static_cast<int>(*result));
    } else {
      ASSERT(*result == 0);
    }
    caller_.forget_buffers();
  }

  void keep(int fd) {
    ASSERT(fd >= 0);
    fds_.push_back(fd);
  }

  std::uint32_t number() {
    const std::uint8_t choice = reader_.take_byte();
    if (choice < 0xc0) return choice;
    if (choice < 0xe0) return 1U << (choice - 0xc0);
    return reader_.take<std::uint32_t>();
  }
  std::uint32_t fd() {
    const std::uint8_t choice = reader_.take_byte();
    if (choice >= 0xf0) return reader_.take<std::uint32_t>();
    return fds_.empty() ? 0U : static_cast<std::uint32_t>(fds_[choice % fds_.size()]);
  }
  std::string path() {
    static constexpr std::array<std::string_view, 10> usual = {
        "/sys/fs/bpf/a",   "/sys/fs/bpf/b",    "/sys/fs/bpf/d",
        "/sys/fs/bpf/d/a", "/sys/fs/bpf/../a", "/sys/fs/bpf/d/../b",
        "/sys/fs/bpf",     "/sys/fs/bpf/a.b",  "../b",
        "/nowhere/a"};
    const std::uint8_t choice = reader_.take_byte();
    if (choice < 0xf0) return std::string(usual[choice % usual.size()]);
    const Input text = reader_.take_bytes(choice - 0xf0);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  /// Bytes, 32-bit numbers or descriptors.
  std::vector<std::byte> content() {
    const std::uint8_t length = reader_.take_byte();
    std::vector<std::byte> bytes(length < 0xc0 ? length : (length - 0xbfU) * 64);
    const std::uint8_t kind = reader_.take_byte() % 5;
    if (kind == 0) return bytes;
    if (kind == 1) {
      const Input given = reader_.take_bytes(bytes.size());
      std::ranges::copy(given, bytes.begin());
      return bytes;
    }
    // Numbers, pairs of a number and a descriptor, or descriptors.
    for (std::size_t at = 0; at + 4 <= bytes.size() && !reader_.at_end(); at += 4) {
      const std::uint32_t word = kind == 2 || (kind == 3 && at % 8 == 0) ? number() : fd();
      std::memcpy(&bytes[at], &word, sizeof word);
    }
    return bytes;
  }

  std::vector<bpf_insn> instructions() {
    constexpr unsigned load_map = BPF_LD | BPF_IMM | BPF_DW;
    const auto map = [&](unsigned dst) {
      return insn(load_map, dst, BPF_PSEUDO_MAP_FD, 0, static_cast<std::int32_t>(fd()));
    };
    const auto mov = [](unsigned dst, std::int32_t imm) {
      return insn(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm);
    };
    const auto mov_reg = [](unsigned dst, unsigned src) {
      return insn(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
    };
    const auto helper = [](std::int32_t id) { return insn(BPF_JMP | BPF_CALL, 0, 0, 0, id); };
    constexpr bpf_insn second{};
    switch (reader_.take_byte()) {
      case 0:
        return {mov(0, reader_.take_byte()), exit_insn};
      case 1: {  // counts in a map: key 0, or the first byte of the packet
        return {insn(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, reader_.take_byte()),
                insn(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -16, 0),
                map(1),
                second,
                mov_reg(2, 10),
                insn(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8),
                helper(1),
                insn(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 0),
                mov(1, 1),
                insn(BPF_STX | BPF_ATOMIC | BPF_W, 0, 1, 0, BPF_FETCH),
                mov(0, 2),
                exit_insn};
      }
      case 2:  // redirects through a map
        return {map(1),     second,   mov(2, reader_.take_byte()), mov(3, reader_.take_byte()),
                helper(51), exit_insn};
      case 3:  // tail call
        return {map(2), second, mov(3, reader_.take_byte()), helper(12), mov(0, 1), exit_insn};
      case 4: {  // updates a map
        return {insn(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, reader_.take_byte()),
                insn(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -16, 7),
                insn(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -24, 7),
                map(1),
                second,
                mov_reg(2, 10),
                insn(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8),
                mov_reg(3, 10),
                insn(BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -24),
                mov(4, reader_.take_byte() & 3),
                helper(2),
                mov(0, 3),
                exit_insn};
      }
      case 5:  // a value by its address
        return {insn(load_map, 1, BPF_PSEUDO_MAP_VALUE, 0, static_cast<std::int32_t>(fd())),
                insn(0, 0, 0, 0, reader_.take_byte()), insn(BPF_LDX | BPF_MEM | BPF_W, 0, 1, 0, 0),
                exit_insn};
      case 6:  // moves the ends of the packet
        return {mov_reg(6, 1),
                mov(2, static_cast<std::int8_t>(reader_.take_byte())),
                helper(44),
                mov_reg(1, 6),
                mov(2, static_cast<std::int8_t>(reader_.take_byte())),
                helper(65),
                mov(0, reader_.take_byte() & 7),
                exit_insn};
      default:
        break;
    }
    std::vector<bpf_insn> made(reader_.take_byte() % 24U);
    for (bpf_insn& instruction : made) {
      instruction = std::bit_cast<bpf_insn>(reader_.take<std::uint64_t>());
      if (instruction.code == load_map && instruction.src_reg != 0)
        instruction.imm = static_cast<std::int32_t>(fd());
    }
    return made;
  }

  /// Type information with one int, and one struct of a lock and a number; or any bytes.
  std::vector<std::byte> types() {
    const std::uint8_t choice = reader_.take_byte();
    if (choice >= 0x80) return content();
    static constexpr std::string_view strings("\0int\0bpf_spin_lock\0val\0lock\0f\0", 31);
    static constexpr std::uint32_t words[] = {
        0x0001eb9f, 24,           0, 4 * 36, 4 * 36, 31,             // header
        1,          1U << 24,     4, 32,                             // 1: int
        5,          4U << 24 | 1, 4, 19,     1,      0,              // 2: struct bpf_spin_lock
        19,         4U << 24 | 2, 8, 23,     2,      0,  28, 1, 32,  // 3: struct val
        0,          13U << 24,    1,                                 // 4: int (void)
        28,         12U << 24,    4,                                 // 5: f
        0,          3U << 24,     0, 1,      1,      4,              // 6: int[4]
        5,          8U << 24,     3,                                 // 7: typedef
    };
    std::vector<std::byte> blob(sizeof words + strings.size());
    std::memcpy(blob.data(), words, sizeof words);
    // The lengths are computed here, so that the table above can be changed without counting.
    const auto type_bytes = static_cast<std::uint32_t>(sizeof words - 24);
    const auto string_bytes = static_cast<std::uint32_t>(strings.size());
    std::memcpy(&blob[12], &type_bytes, 4);
    std::memcpy(&blob[16], &type_bytes, 4);
    std::memcpy(&blob[20], &string_bytes, 4);
    std::memcpy(&blob[sizeof words], strings.data(), strings.size());
    // Some of them damaged, in one byte.
    if (choice != 0) blob[reader_.take<std::uint16_t>() % blob.size()] = std::byte{choice};
    return blob;
  }

  void fill(std::vector<std::byte>& attr, const Field& field) {
    const auto put = [&](auto value) { std::memcpy(&attr[field.offset], &value, sizeof value); };
    switch (field.fill) {
      case Fill::number32:
        put(number());
        break;
      case Fill::number64:
        put(std::uint64_t{number()});
        break;
      case Fill::fd:
        put(fd());
        break;
      case Fill::buffer: {
        const std::uint8_t choice = reader_.take_byte();
        if (choice < 0x40) break;  // null
        put(choice == 0xff ? reader_.take<std::uint64_t>() : caller_.add(content()));
        break;
      }
      case Fill::name: {
        static constexpr std::array<std::string_view, 4> names = {"", "counters", "a.b_c", "no!"};
        const std::string_view name = names[reader_.take_byte() % names.size()];
        std::memcpy(&attr[field.offset], name.data(), name.size());
        break;
      }
      case Fill::path:
        put(text(path()));
        break;
      case Fill::license:
        put(text(reader_.take_byte() < 0xc0 ? "GPL" : "none"));
        break;
      case Fill::program: {
        const std::vector<bpf_insn> program = instructions();
        const auto bytes = std::as_bytes(std::span(program));
        const auto count = static_cast<std::uint32_t>(program.size());
        std::memcpy(&attr[field.offset - 4], &count, sizeof count);
        put(caller_.add({bytes.begin(), bytes.end()}));
        break;
      }
      case Fill::types: {
        std::vector<std::byte> blob = types();
        const auto bytes = static_cast<std::uint32_t>(blob.size());
        put(caller_.add(std::move(blob)));
        // The field of the size is filled later, and may be filled with 0: then it is this.
        type_bytes_ = bytes;
        break;
      }
    }
    if (type_bytes_ != 0 && field.fill == Fill::number32) {
      std::uint32_t given;
      std::memcpy(&given, &attr[field.offset], sizeof given);
      if (given == 0) put(type_bytes_);
      type_bytes_ = 0;
    }
  }

  /// Text may be read in pieces that never cross a multiple of this, as in a process with pages.
  std::uint64_t text(std::string_view text) {
    constexpr std::size_t piece_bytes = 256;
    std::vector<std::byte> bytes((text.size() / piece_bytes + 1) * piece_bytes);
    std::memcpy(bytes.data(), text.data(), text.size());
    return caller_.add(std::move(bytes));
  }

  /// A device map keeps the programs in it, and they keep the maps they use: a ring of them
  /// outlives all descriptors, here as on Linux, until an entry is deleted by way of the map's id.
  void break_rings() {
    const SlotGuard slot = world_->slots.enter_control();
    MapCommand command{*slot, caller_};
    for (std::uint32_t id = 0; const auto next = world_->syscalls.map_ids().next(id);) {
      id = *next;
      const auto object = world_->syscalls.map_ids().find(id);
      if (!object) continue;
      const Ref<Map> map = ref_cast<Map>(*object);
      const std::uint32_t type = map->spec().type;
      if (type != BPF_MAP_TYPE_DEVMAP && type != BPF_MAP_TYPE_DEVMAP_HASH) continue;
      std::uint32_t key = 0;
      auto* const key_bytes = reinterpret_cast<std::byte*>(&key);
      for (bool found = map->next_key(command, nullptr, key_bytes).has_value(); found;) {
        std::uint32_t following = 0;
        found =
            map->next_key(command, key_bytes, reinterpret_cast<std::byte*>(&following)).has_value();
        (void)map->command_erase(command, key_bytes);
        key = following;
      }
    }
  }

  /// Without descriptors and pins nothing may be left.
  void close_all() {
    for (const int fd : fds_) ::close(fd);
    world_->syscalls.pins().clear();
    world_->syscalls.reap();
    rcu::barrier();
    break_rings();
    rcu::barrier();
    ASSERT(world_->syscalls.descriptors().size() == 0);
    for (const IdTable* ids :
         {&world_->syscalls.map_ids(), &world_->syscalls.prog_ids(), &world_->syscalls.btf_ids()})
      ASSERT(!ids->next(0).has_value());
    ASSERT(world_->program_environment.stats_users.load() == 0);
    ASSERT(world_->packets->in_use() == 0);
    ASSERT(world_->budget.used_bytes() == used_bytes_);
  }

  const std::unique_ptr<World> world_ = must(World::make({.cpus = 2,
                                                          .clock = ClockKind::virtual_time,
                                                          .memory_bytes = 16U << 20,
                                                          .instruction_budget = 1000,
                                                          .packet_chunks = 64}));
  BufferCaller caller_{*world_};
  Reader reader_;
  std::uint64_t used_bytes_ = 0;
  std::vector<int> fds_;
  std::uint32_t type_bytes_ = 0;  // of the BTF_LOAD being filled
};

/// Descriptors that this process has open.
std::size_t open_descriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  ASSERT(directory != nullptr);
  std::size_t count = 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

}  // namespace

void commands(Input input) {
  const std::size_t descriptors = open_descriptors();
  Session(input).run();
  ASSERT(open_descriptors() == descriptors);
}

}  // namespace skep::fuzz
