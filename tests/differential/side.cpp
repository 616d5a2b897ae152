// SPDX-License-Identifier: Apache-2.0
#include "differential/side.hpp"

#include "differential/skep_kernel.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace skep::testing {
namespace {

constexpr std::size_t block_bytes = 8192;  // larger than any size that a scenario passes

bool gives_descriptor(std::uint32_t cmd) {
  switch (cmd) {
    case uapi::BPF_MAP_CREATE:
    case uapi::BPF_PROG_LOAD:
    case uapi::BPF_OBJ_GET:
    case uapi::BPF_PROG_GET_FD_BY_ID:
    case uapi::BPF_MAP_GET_FD_BY_ID:
    case uapi::BPF_BTF_LOAD:
    case uapi::BPF_BTF_GET_FD_BY_ID:
    case uapi::BPF_ENABLE_STATS:
      return true;
    default:
      return false;
  }
}

std::string result_text(std::uint32_t cmd, long result) {
  if (result >= 0) return gives_descriptor(cmd) ? "fd" : std::to_string(result);
  const char* const name = ::strerrorname_np(static_cast<int>(-result));
  return name != nullptr ? name : "errno " + std::to_string(-result);
}

}  // namespace

std::string hex(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    if (!text.empty()) text += ' ';
    text += digits[std::to_integer<std::size_t>(b >> 4)];
    text += digits[std::to_integer<std::size_t>(b & std::byte{15})];
  }
  return text;
}

Side::~Side() {
  for (const int fd : descriptors_) ::close(fd);
}

long Side::call_bytes(std::string what, std::uint32_t cmd, std::span<std::byte> attr,
                      std::size_t size, std::initializer_list<Hidden> hidden) {
  std::vector<std::byte> block(block_bytes);
  std::ranges::copy(attr, block.begin());
  const std::vector<std::byte> before = block;
  const long result = entry_.bpf(cmd, block.data(), static_cast<unsigned>(size));
  if (result >= 0 && gives_descriptor(cmd)) descriptors_.push_back(static_cast<int>(result));

  what += " = " + result_text(cmd, result);
  for (std::size_t i = 0; i < block.size(); ++i) {
    if (block[i] == before[i]) continue;
    const bool is_hidden = std::ranges::any_of(
        hidden, [&](const Hidden& range) { return i >= range.begin && i < range.end; });
    if (!is_hidden) what += " [" + std::to_string(i) + "]=" + hex(std::span(block).subspan(i, 1));
  }
  note(std::move(what));
  std::copy_n(block.begin(), attr.size(), attr.begin());
  return result;
}

long Side::call_at(std::string what, std::uint32_t cmd, std::uint64_t address, std::size_t size) {
  const long result =
      entry_.bpf(cmd, reinterpret_cast<void*>(address), static_cast<unsigned>(size));
  note(std::move(what) + " = " + result_text(cmd, result));
  return result;
}

void Side::note_bytes(std::string what, std::span<const std::byte> bytes) {
  note(std::move(what) + ": " + hex(bytes));
}

void Side::close(long fd) {
  const auto found = std::ranges::find(descriptors_, static_cast<int>(fd));
  if (found == descriptors_.end()) return;
  ::close(*found);
  descriptors_.erase(found);
}

std::string difference(const Side& host, const Side& skep) {
  constexpr std::size_t context_lines = 12;
  const std::size_t lines = std::max(host.lines().size(), skep.lines().size());
  std::string text;
  std::size_t differences = 0;
  for (std::size_t i = 0; i < lines; ++i) {
    const std::string on_host = i < host.lines().size() ? host.lines()[i] : "(nothing)";
    const std::string on_skep = i < skep.lines().size() ? skep.lines()[i] : "(nothing)";
    if (on_host == on_skep) continue;
    if (differences++ == 0) {
      for (std::size_t j = i - std::min(i, context_lines); j < i; ++j)
        text += "  both: " + host.lines()[j] + "\n";
    }
    if (differences <= context_lines) text += "  host: " + on_host + "\n  skep: " + on_skep + "\n";
  }
  if (differences != 0) text += std::to_string(differences) + " lines differ\n";
  return text;
}

std::string host_unavailable() {
  if (!HostKernel::is_at_least(6, 18)) return "the host's kernel is older than 6.18";
  HostKernel host;
  return host.unavailable();
}

void expect_same(const std::function<void(Side&)>& scenario, std::uint64_t seeds) {
  if (const char* const rounds = std::getenv("SKEP_DIFFERENTIAL_ROUNDS"); rounds != nullptr)
    seeds *= std::max(std::strtoull(rounds, nullptr, 10), 1ULL);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    HostKernel host_kernel;
    SkepKernel skep_kernel;
    Side host(host_kernel, seed);
    Side skep(skep_kernel, seed);
    scenario(host);
    scenario(skep);
    ASSERT_FALSE(host.lines().empty()) << "the scenario noted nothing";
    const std::string what = difference(host, skep);
    if (!what.empty()) {
      ADD_FAILURE() << "seed " << seed << "\n" << what;
      return;
    }
  }
}

}  // namespace skep::testing
