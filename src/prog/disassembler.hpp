// SPDX-License-Identifier: Apache-2.0
// Instructions as text, in the form that verifier logs and bpftool use: `(61) r1 = *(u32 *)(r1
// +0)`.
#pragma once

#include "uapi/bpf.hpp"

#include <span>
#include <string>
#include <string_view>

namespace skep {

/// The text of the instruction at the front of `instructions`; a 16-byte load needs its second half
/// there too. `helper_name` is used for helper calls: "bpf_map_lookup_elem", or "unknown".
std::string disassemble(std::span<const uapi::bpf_insn> instructions, std::string_view helper_name);

}  // namespace skep
