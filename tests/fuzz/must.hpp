// SPDX-License-Identifier: Apache-2.0
// What a target builds its surroundings with: no input can make that fail.
#pragma once

#include "result/result.hpp"

#include <utility>

namespace skep::fuzz {

template <class T>
T must(Result<T> result) {
  ASSERT(result.has_value());
  return std::move(result).take();
}

}  // namespace skep::fuzz
