// SPDX-License-Identifier: Apache-2.0
// The name of an errno for messages.
#pragma once

#include "result/result.hpp"

#include <cstring>
#include <string_view>

namespace skep {

/// "EINVAL"; also "ENOTSUPP", which the C library does not know. Thread: any.
inline std::string_view errno_name(int code) {
  if (code == ENOTSUPP) return "ENOTSUPP";
  const char* const name = ::strerrorname_np(code);
  return name != nullptr ? name : "unknown error";
}

}  // namespace skep
