// SPDX-License-Identifier: Apache-2.0
#include "prog/program.hpp"

#include "prog/code.hpp"
#include "prog/interpreter.hpp"

#include <algorithm>

namespace skep {

Program::Program(ProgramSpec spec, ProgramEnvironment& environment)
    : Object(object_kind),
      spec_(std::move(spec)),
      environment_(environment),
      counters_(environment.slots) {}

Program::~Program() = default;

ProgramShape Program::shape() const {
  return {.type = spec_.type->number(),
          .jited = false,  // interpreted
          .has_frags = has_frags(),
          .expected_attach_type = spec_.expected_attach_type};
}

std::string_view Program::full_name() const {
  if (!subprograms_.empty()) {
    const std::string& function = subprograms_.front().name;
    if (spec_.name.size() == uapi::BPF_OBJ_NAME_LEN - 1 && function.starts_with(spec_.name))
      return function;
  }
  return spec_.name;
}

std::vector<uapi::bpf_insn> Program::xlated() const {
  std::vector<uapi::bpf_insn> instructions = spec_.instructions;
  for (const Code::MapLoad& load : code_->map_loads) {
    uapi::bpf_insn& insn = instructions[load.pc];
    insn.src_reg = load.value ? uapi::BPF_PSEUDO_MAP_VALUE : uapi::BPF_PSEUDO_MAP_FD;
    insn.imm = static_cast<std::int32_t>(used_maps_[load.map]->id());
  }
  return instructions;
}

std::vector<Ref<Map>> Program::maps() const {
  std::vector<Ref<Map>> maps = used_maps_;
  bound_maps_.with([&](const std::vector<Ref<Map>>& bound) {
    maps.insert(maps.end(), bound.begin(), bound.end());
  });
  return maps;
}

void Program::bind_map(Ref<Map> map) {
  if (uses(map.get())) return;
  bound_maps_.with([&](std::vector<Ref<Map>>& bound) {
    if (std::ranges::find(bound, map) == bound.end()) bound.push_back(std::move(map));
  });
}

bool Program::uses(const Map* map) const {
  for (const Ref<Map>& used : used_maps_)
    if (used.get() == map) return true;
  return false;
}

Outcome Program::run(Slot& slot, Context& context) const {
  Counters& counters = counters_[slot];
  // relaxed everywhere: statistics, written by the slot's owner alone.
  const bool measure = environment_.stats_users.load(std::memory_order_relaxed) != 0;
  const std::uint64_t start_ns = measure ? slot.clock().monotonic_ns() : 0;
  const auto add = [](std::atomic<std::uint64_t>& counter, std::uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  };

  Interpreter interpreter(slot, context, *this);
  const Outcome outcome = interpreter.run();

  if (measure) {
    add(counters.runs, 1);
    add(counters.run_time_ns, slot.clock().monotonic_ns() - start_ns);
  }
  if (outcome.faulted) [[unlikely]] {
    add(counters.faults, 1);
    last_fault_.with([&](std::optional<Fault>& last) { last = std::move(interpreter.fault()); });
  }
  return outcome;
}

std::optional<Fault> Program::last_fault() const {
  return last_fault_.with([](const std::optional<Fault>& last) { return last; });
}

Program::Statistics Program::statistics() const {
  Statistics sum;
  counters_.for_each([&](const Counters& counters) {
    // relaxed: statistics of slots that may be running.
    sum.runs += counters.runs.load(std::memory_order_relaxed);
    sum.run_time_ns += counters.run_time_ns.load(std::memory_order_relaxed);
    sum.faults += counters.faults.load(std::memory_order_relaxed);
  });
  return sum;
}

}  // namespace skep
