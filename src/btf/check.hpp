// SPDX-License-Identifier: Apache-2.0
// The checks of a BTF type section, in the order in which Btf::parse makes them. Private to btf/.
#pragma once

#include "btf/btf.hpp"
#include "result/log.hpp"
#include "result/result.hpp"

namespace skep::btf_check {

/// Writes "[id] KIND name: why" and returns the error.
Errno refuse(const BtfType& type, int code, std::string_view why, Log& log);

/// Whether `name` may name a C thing: letters, digits, `_` and `.`, not starting with a digit, at
/// most 512 bytes.
bool is_identifier(std::string_view name);

/// Checks every record on its own (lengths, reserved bits, names, sizes) and fills `records` and
/// `decl_tags`. The names of parameters are left to resolve_types().
/// Errors: EINVAL, 524 (int encoding), E2BIG (too many types).
Result<void> index_types(BtfTables& tables, Log& log);

/// Checks every reference between types and fills `resolved` and `sizes`.
/// Precondition: index_types() succeeded.
/// Errors: EINVAL, EEXIST (a loop), E2BIG (nested too deeply).
Result<void> resolve_types(BtfTables& tables, Log& log);

/// Type tags must come before all other modifiers of a chain.
/// Precondition: resolve_types() succeeded.
/// Errors: EINVAL.
Result<void> check_tag_order(const BtfTables& tables, Log& log);

}  // namespace skep::btf_check
