// SPDX-License-Identifier: Apache-2.0
// Errors as values: `Result<T>` is a value or an `Errno`; `TRY` hands errors on; `ASSERT` stops on
// our own bugs.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <type_traits>
#include <utility>

namespace skep {

/// An errno as bpf(2) reports it: positive. The library negates it in one place, the edge of
/// syscall/.
struct Errno {
  int code;
  friend constexpr bool operator==(Errno, Errno) = default;
};

/// The kernel-internal "operation not supported" that reaches user space unchanged; not EOPNOTSUPP
/// (95).
inline constexpr int ENOTSUPP = 524;

namespace detail {
[[noreturn, gnu::cold]] inline void assertion_failed(const char* expression, const char* file,
                                                     int line) {
  std::fprintf(stderr, "skep: %s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}
}  // namespace detail

/// A value or an Errno. Thread: any. Move-only values are fine.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Errno> {
  using Base = std::expected<T, Errno>;

 public:
  using Base::Base;
  // Implicit, so that `return Errno{EINVAL};` reads as what it is.
  constexpr Result(Errno error) : Base(std::unexpected(error)) {}

  /// The value, moved out. Precondition: has one.
  constexpr T take() && {
    if (!*this) [[unlikely]]
      detail::assertion_failed("take() of an error", __FILE__, __LINE__);
    if constexpr (std::is_void_v<T>) {
      return;
    } else {
      return std::move(**this);
    }
  }
};

/// The result of an operation that gives nothing but its success.
inline constexpr Result<void> ok() { return {}; }

}  // namespace skep

// The name of the intermediate is new for every use: a TRY inside a TRY must not shadow the outer
// one.
#define SKEP_TRY_AS(result, expression)     \
  ({                                        \
    auto result = (expression);             \
    if (!result) [[unlikely]]               \
      return ::skep::Errno{result.error()}; \
    std::move(result).take();               \
  })
#define SKEP_TRY_NUMBERED(number, expression) SKEP_TRY_AS(try_result_##number, expression)
#define SKEP_TRY_WITH(number, expression) SKEP_TRY_NUMBERED(number, expression)

/// Yields the value of a Result, or returns its Errno from the enclosing function.
#define TRY(expression) SKEP_TRY_WITH(__COUNTER__, expression)

/// Stops the process on a broken invariant of ours. Kept in release builds: a wrong answer is worse
/// than none.
#define ASSERT(expression)                                               \
  do {                                                                   \
    if (!(expression)) [[unlikely]]                                      \
      ::skep::detail::assertion_failed(#expression, __FILE__, __LINE__); \
  } while (false)
