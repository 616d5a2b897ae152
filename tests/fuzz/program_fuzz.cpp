// SPDX-License-Identifier: Apache-2.0
#include "prog/program.hpp"

#include "btf/btf_builder.hpp"
#include "fuzz/must.hpp"
#include "fuzz/reader.hpp"
#include "fuzz/target.hpp"
#include "net/port/null_port.hpp"
#include "prog/instruction.hpp"
#include "prog/run.hpp"
#include "rcu/rcu.hpp"
#include "runtime/world.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace skep::fuzz {
namespace {

constexpr std::uint64_t instruction_budget = 4096;
constexpr std::size_t max_instructions = 512;
constexpr std::size_t functions = 8;

/// Packet bytes on the heap, where the address sanitizer sees a touch of what lies beside them.
class HeapContext final : public Context {
 public:
  explicit HeapContext(std::size_t bytes) : bytes_(bytes) {}
  std::optional<std::uint64_t> load(std::uint32_t offset, std::uint32_t bytes) const override {
    if (bytes != 4) return std::nullopt;
    if (offset == 0) return reinterpret_cast<std::uint64_t>(bytes_.data());
    if (offset == 4) return reinterpret_cast<std::uint64_t>(bytes_.data() + bytes_.size());
    if (offset == 16) return mark_;
    return std::nullopt;
  }
  bool store(std::uint32_t offset, std::uint32_t bytes, std::uint64_t value) override {
    if (offset != 16 || bytes != 4) return false;
    mark_ = static_cast<std::uint32_t>(value);
    return true;
  }
  Window packet() const override {
    auto* const begin = const_cast<std::byte*>(bytes_.data());
    return {begin, begin + bytes_.size()};
  }

 private:
  std::vector<std::byte> bytes_;
  std::uint32_t mark_ = 0;
};

class HeapType final : public ProgramType {
 public:
  HeapType() : ProgramType(uapi::BPF_PROG_TYPE_XDP, "xdp") {}
  std::uint32_t context_bytes() const override { return 24; }
  const Helper* helper(std::uint32_t id) const override { return base_helper(id); }
  bool allows_packet_loads() const override { return true; }
};

/// Made once: nothing in it remembers what a program did, but for maps, which are made anew.
struct Surroundings {
  Surroundings() {
    for (const char* name : {"a", "b"})
      ASSERT(world->net_namespace->add_device(name, {}, std::make_unique<NullPort>()).has_value());
    testing::BtfBuilder builder;
    const auto number = builder.integer("int", 4, 1);
    const auto prototype = builder.prototype(number, {});
    for (std::size_t n = 0; n < functions; ++n) {
      const std::string name = "f" + std::to_string(n);
      const auto id = builder.function(name, prototype, n == 0 ? 1 : 0);
      if (n == 0) first_function = id;
    }
    Log log;
    types = must(Btf::parse(builder.blob(), world->budget, log));
  }

  std::unique_ptr<World> world = must(World::make({.cpus = 2,
                                                   .clock = ClockKind::virtual_time,
                                                   .memory_bytes = 64U << 20,
                                                   .instruction_budget = instruction_budget,
                                                   .packet_chunks = 64}));
  HeapType heap_type;
  Ref<Btf> types;
  std::uint32_t first_function = 0;
};

/// The maps of one program: descriptor n is map n.
class Maps final : public MapResolver {
 public:
  explicit Maps(World& world) {
    struct Kind {
      std::uint32_t type, key_bytes, value_bytes, max_entries, flags;
    };
    static constexpr Kind kinds[] = {
        {uapi::BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0},
        {uapi::BPF_MAP_TYPE_ARRAY, 4, 7, 3, uapi::BPF_F_RDONLY_PROG},
        {uapi::BPF_MAP_TYPE_HASH, 4, 8, 2, 0},
        {uapi::BPF_MAP_TYPE_HASH, 16, 24, 4, uapi::BPF_F_NO_PREALLOC},
        {uapi::BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 2, 0},
        {uapi::BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0},
        {uapi::BPF_MAP_TYPE_DEVMAP, 4, 4, 4, 0},
        {uapi::BPF_MAP_TYPE_DEVMAP_HASH, 4, 8, 4, 0},
    };
    for (const Kind& kind : kinds) {
      const MapType& type = *world.map_types.find(kind.type);
      MapSpec spec{.type = kind.type,
                   .key_bytes = kind.key_bytes,
                   .value_bytes = kind.value_bytes,
                   .max_entries = kind.max_entries,
                   .flags = kind.flags};
      ASSERT(type.check(spec, *world.caller).has_value());
      maps_.push_back(must(type.make(type, std::move(spec), world.map_environment)));
    }
    // Targets for redirects: the two devices behind loopback.
    const SlotGuard slot = world.slots.enter_control();
    MapCommand command{*slot, *world.caller};
    for (std::uint32_t key = 0; key < 2; ++key) {
      const uapi::bpf_devmap_val value{.ifindex = key + 2, .bpf_prog = 0};
      for (const std::size_t index : {6, 7})
        ASSERT(maps_[index]
                   ->command_update(command, reinterpret_cast<const std::byte*>(&key),
                                    reinterpret_cast<const std::byte*>(&value), 0)
                   .has_value());
    }
  }
  Result<Ref<Map>> map_by_fd(int fd) override {
    if (fd < 0 || static_cast<std::size_t>(fd) >= maps_.size()) return Errno{EBADF};
    return maps_[static_cast<std::size_t>(fd)];
  }
  Result<Ref<Map>> map_by_index(std::uint32_t index) override {
    return map_by_fd(static_cast<int>(index));
  }

 private:
  std::vector<Ref<Map>> maps_;
};

/// One static function for each place that a call or a callback goes to, as BTF demands.
std::vector<uapi::bpf_func_info> functions_of(const std::vector<uapi::bpf_insn>& instructions,
                                              std::uint32_t first_function) {
  std::set<std::int64_t> starts = {0};
  for (std::size_t pc = 0; pc < instructions.size(); ++pc)
    if (is_subprogram_call(instructions[pc]) || is_callback_load(instructions[pc]))
      starts.insert(static_cast<std::int64_t>(pc) + 1 + instructions[pc].imm);
  std::vector<uapi::bpf_func_info> info;
  for (const std::int64_t start : starts)
    if (start >= 0 && start <= UINT32_MAX && info.size() < functions)
      info.push_back({.insn_off = static_cast<std::uint32_t>(start),
                      .type_id = first_function + static_cast<std::uint32_t>(info.size())});
  return info;
}

void run_on_heap(World& world, const Program& program, std::size_t packet_bytes) {
  const std::uint64_t faults = program.statistics().faults;
  HeapContext context(packet_bytes);
  Outcome outcome;
  {
    const SlotGuard slot = world.slots.enter(0);
    const rcu::ReadGuard guard;
    outcome = program.run(*slot, context);
  }
  ASSERT(program.statistics().faults - faults == (outcome.faulted ? 1U : 0U));
  if (outcome.faulted) {
    ASSERT(outcome.value == 0);
    ASSERT(program.last_fault() && !program.last_fault()->describe().empty());
  }
}

void run_as_xdp(World& world, Program& program, std::uint8_t choice, std::size_t packet_bytes) {
  std::vector<std::byte> packet(packet_bytes), out(4096);
  uapi::prog_test_run_attr attr{};
  attr.data_in = reinterpret_cast<std::uintptr_t>(packet.data());
  attr.data_size_in = static_cast<std::uint32_t>(packet_bytes);
  attr.repeat = 1 + (choice & 3);
  if ((choice & 4) != 0) {
    attr.flags = uapi::BPF_F_TEST_XDP_LIVE_FRAMES;
  } else {
    attr.data_out = reinterpret_cast<std::uintptr_t>(out.data());
    attr.data_size_out = static_cast<std::uint32_t>(out.size());
  }
  bool write_back = false;
  (void)world.xdp_type->test_run(*world.caller, program, attr, write_back);
  ASSERT(world.packets->in_use() == 0);
}

}  // namespace

void program(Input input) {
  static Surroundings surroundings;
  World& world = *surroundings.world;
  const std::uint64_t used_bytes = world.budget.used_bytes();
  Reader reader(input);
  const std::uint8_t kind = reader.take_byte();
  const std::uint8_t choice = reader.take_byte();
  const std::size_t packet_bytes = reader.take<std::uint16_t>() % 4200;
  reader.take<std::uint32_t>();

  std::vector<uapi::bpf_insn> instructions;
  while (!reader.at_end() && instructions.size() < max_instructions)
    instructions.push_back(std::bit_cast<uapi::bpf_insn>(reader.take<std::uint64_t>()));
  if (instructions.empty()) return;
  {
    Maps maps(world);
    ProgramSpec spec;
    const bool is_xdp = (kind & 1) != 0;
    spec.type = is_xdp ? static_cast<ProgramType*>(&*world.xdp_type) : &surroundings.heap_type;
    if (is_xdp && (kind & 2) != 0) spec.flags = uapi::BPF_F_XDP_HAS_FRAGS;
    spec.name = "fuzz";
    spec.license = (kind & 4) != 0 ? "none" : "GPL";
    if ((kind & 8) == 0) {
      spec.btf = surroundings.types;
      spec.func_info = functions_of(instructions, surroundings.first_function);
    }
    spec.instructions = std::move(instructions);
    Log log;
    const auto program = Program::load(std::move(spec), maps, world.program_environment, log);
    if (program) {
      ASSERT(!(*program)->xlated().empty());
      if (is_xdp)
        run_as_xdp(world, **program, choice, packet_bytes);
      else
        run_on_heap(world, **program, packet_bytes);
    }
  }
  rcu::barrier();
  ASSERT(world.budget.used_bytes() == used_bytes);
}

}  // namespace skep::fuzz
