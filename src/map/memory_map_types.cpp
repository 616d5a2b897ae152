// SPDX-License-Identifier: Apache-2.0
// The map types that need nothing but memory, in the order of their numbers.
#include "map/array_map.hpp"
#include "map/hash/hash_map.hpp"
#include "map/map.hpp"
#include "map/percpu_array_map.hpp"

namespace skep {

void add_memory_map_types(MapTypes& types) {
  types.add(HashMap::type_entry);
  types.add(ArrayMap::type_entry);
  types.add(PercpuArrayMap::type_entry);
}

}  // namespace skep
