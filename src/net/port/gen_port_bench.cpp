// SPDX-License-Identifier: Apache-2.0
// What a frame costs before any program sees it.
#include "net/port/gen_port.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>

namespace skep {
namespace {

/// One item: a frame made in a batch of 64, as one poll receives them, and given back at once.
/// Nothing is shared but the pool; one thread. Arguments: bytes of a frame, flows.
void gen_receive(benchmark::State& state) {
  VirtualClock clock;
  CpuSlots slots(1, clock, 1);
  Budget budget(std::uint64_t{1} << 30);
  auto pool = PacketPool::make(1024, slots, budget);
  if (!pool) return state.SkipWithError("no memory for the pool");
  const GenOptions options = {
      .frames = GenPort::max_frames,
      .flows = static_cast<std::uint32_t>(state.range(1)),
      .frame_bytes = static_cast<std::uint32_t>(state.range(0)),
  };
  std::string why;
  auto port = GenPort::make(options, **pool, why);
  if (!port) return state.SkipWithError(why.c_str());
  const SlotGuard slot = slots.enter(0);
  std::array<Buff*, 64> batch{};
  for (auto _ : state) {
    const std::size_t count = (*port)->receive(*slot, 0, UINT64_MAX, batch);
    for (std::size_t i = 0; i < count; ++i) (*pool)->give_back(*slot, batch[i]);
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(gen_receive)->ArgsProduct({{64, 512, 1514}, {1, 4096}});

}  // namespace
}  // namespace skep
