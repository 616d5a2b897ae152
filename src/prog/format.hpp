// SPDX-License-Identifier: Apache-2.0
// Format strings of bpf_trace_printk, bpf_trace_vprintk and bpf_snprintf (program-load.md 8.2,
// helper 6).
#pragma once

#include "result/result.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace skep {

class Run;

/// `format` with `arguments` filled in. Addresses among them (%s, %pI4, …) are read as the program
/// may read them; what it may not read prints as nothing (text) or zero (addresses). Errors: EINVAL
/// (unknown conversion, a character that is neither printable nor space, too few arguments).
Result<std::string> format_text(Run& run, std::string_view format,
                                std::span<const std::uint64_t> arguments);

/// Longer formats are refused, so that a program cannot make a run allocate the size of a map value
/// (Linux has no limit; its formats are constants in the program's text).
inline constexpr std::uint64_t max_format_bytes = 64 << 10;

/// The text at `address`, at most `bytes` long, up to its NUL. Errors: EINVAL (unreadable, no NUL,
/// too long).
Result<std::string> read_format(Run& run, std::uint64_t address, std::uint64_t bytes);

}  // namespace skep
