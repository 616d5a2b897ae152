// SPDX-License-Identifier: Apache-2.0
// libFuzzer's way into the target that the build names SKEP_FUZZ_TARGET.
#include "fuzz/target.hpp"

#include <cstdint>

extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t bytes) {
  skep::fuzz::SKEP_FUZZ_TARGET(std::as_bytes(std::span(data, bytes)));
  return 0;
}
