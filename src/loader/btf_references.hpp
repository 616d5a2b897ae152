// SPDX-License-Identifier: Apache-2.0
// A look at the references in an object's BTF before libbpf works with them: libbpf 1.1 follows
// type ids and names without asking whether they exist, so a damaged object would end the process.
#pragma once

#include <string>

namespace skep {

/// What is wrong with the type ids and names in the section .BTF of the object at `path`, as a
/// sentence. Empty if nothing is, or if there is no BTF that could be read: libbpf says that
/// itself. Call inside a Seam.
std::string bad_btf_reference(const std::string& path);

}  // namespace skep
