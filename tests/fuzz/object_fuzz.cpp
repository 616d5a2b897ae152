// SPDX-License-Identifier: Apache-2.0
#include "fuzz/memory_file.hpp"
#include "fuzz/must.hpp"
#include "fuzz/target.hpp"
#include "loader/object_file.hpp"
#include "runtime/world.hpp"

#include <memory>
#include <string>

/// Leaks of libbpf, for the leak sanitizer: when CO-RE relocations are refused it forgets the
/// candidates that it has found so far.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions();
const char* __lsan_default_suppressions() { return "leak:bpf_core_\nleak:hashmap_\n"; }

namespace skep::fuzz {

void object(Input input) {
  const auto world = must(World::make({.cpus = 1, .memory_bytes = 64U << 20, .packet_chunks = 64}));
  const MemoryFile file(input);
  LoadProblem problem;
  const auto object = ObjectFile::open(file.path(), problem);
  if (!object) {
    ASSERT(!problem.message.empty());
    return;
  }
  // Errors are as good as success here: it is libbpf and the rules of the object that decide.
  (void)(*object)->set_global(".rodata", "limit", "1", problem);
  for (const ObjectFile::ProgramEntry& program : (*object)->programs())
    if (program.is_optional) (*object)->want(program.name);
  problem = {};
  const auto loaded = (*object)->load(world->syscalls, *world->caller, world->program_types,
                                      world->map_types, problem);
  ASSERT(loaded.has_value() || !problem.message.empty());
}

}  // namespace skep::fuzz
