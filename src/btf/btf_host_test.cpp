// SPDX-License-Identifier: Apache-2.0
// The running kernel as the judge: valid blobs, damaged field by field, must be taken or refused
// alike, with the same errno. Where the kernel refuses bpf(2) the tests are skipped and say so.
#include "btf/btf.hpp"
#include "btf/btf_builder.hpp"
#include "btf/btf_object_types.hpp"
#include "btf/record.hpp"
#include "support/expect.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace skep {
namespace {

using testing::BtfBuilder;
using Blob = std::vector<std::byte>;
using Flag = BtfBuilder::KindFlag;

// ---- the kernel's side ----

constexpr int command_map_create = 0;
constexpr int command_btf_load = 18;
constexpr int command_map_freeze = 22;

/// A descriptor, or the errno.
template <class Attributes>
Result<int> host_bpf(int command, Attributes& attributes) {
  const long result = ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
  if (result < 0) return Errno{errno};
  return static_cast<int>(result);
}

Result<int> host_load(const Blob& blob) {
  struct {
    std::uint64_t btf, log;
    std::uint32_t btf_bytes, log_bytes, log_level, log_true_bytes;
  } attributes{};
  attributes.btf = reinterpret_cast<std::uintptr_t>(blob.data());
  attributes.btf_bytes = static_cast<std::uint32_t>(blob.size());
  return host_bpf(command_btf_load, attributes);
}

int host_errno(const Blob& blob) {
  const Result<int> fd = host_load(blob);
  if (!fd) return fd.error().code;
  ::close(*fd);
  return 0;
}

/// Whether a hash map with such values has special fields: then, and only then, it cannot be
/// frozen.
Result<bool> host_has_record(const Blob& blob, std::uint32_t key, std::uint32_t value,
                             std::uint32_t value_bytes) {
  const int btf = TRY(host_load(blob));
  struct {
    std::uint32_t type = 1, key_bytes = 4, value_bytes, max_entries = 1, flags = 1;
    std::uint32_t inner_map_fd = 0, numa_node = 0;
    char name[16] = "skep_btf_test";
    std::uint32_t ifindex = 0, btf_fd, key_type, value_type;
  } attributes{.value_bytes = value_bytes,
               .btf_fd = static_cast<std::uint32_t>(btf),
               .key_type = key,
               .value_type = value};
  const Result<int> map = host_bpf(command_map_create, attributes);
  ::close(btf);
  if (!map) return Errno{map.error().code};
  std::uint32_t map_fd = static_cast<std::uint32_t>(*map);
  const Result<int> frozen = host_bpf(command_map_freeze, map_fd);
  ::close(*map);
  if (frozen) return false;
  if (frozen.error().code != ENOTSUPP) return Errno{frozen.error().code};
  return true;
}

#define SKIP_WITHOUT_HOST_BPF()                                                          \
  if (BtfBuilder probe; probe.integer("int", 4), host_errno(probe.blob()) != 0)          \
  GTEST_SKIP() << "this kernel refuses BPF_BTF_LOAD (errno " << host_errno(probe.blob()) \
               << "): nothing to compare with; run as root on a kernel with BPF"

// ---- ours ----

struct Answer {
  int code;
  std::string log;
};

Answer our_answer(const Blob& blob, Budget& budget) {
  Log log;
  const Result<Ref<Btf>> btf = Btf::parse(blob, budget, log);
  return {btf ? 0 : btf.error().code, std::string(log.text())};
}

// ---- blobs ----

std::string hex(const Blob& blob) {
  std::string text;
  for (const std::byte b : blob) fmt::format_to(std::back_inserter(text), "{:02x}", b);
  return text;
}

/// The blobs by which loaders find out what a kernel knows (spec/clients.md 2.2).
std::vector<Blob> probe_blobs() {
  std::vector<Blob> blobs;
  const auto with_int = [&](auto&& build) {
    BtfBuilder b;
    build(b, b.integer("int", 4, testing::int_signed));
    blobs.push_back(b.blob());
    blobs.push_back(b.blob(32));
  };
  with_int([](BtfBuilder&, std::uint32_t) {});
  for (const std::uint32_t linkage : {0U, 1U})
    with_int([&](BtfBuilder& b, std::uint32_t i) {
      b.function("f", b.prototype(0, {{"a", i}}), linkage);
    });
  for (const char* section : {".data", "?.data"})
    with_int([&](BtfBuilder& b, std::uint32_t i) {
      b.data_section(section, 4, {{b.variable("x", i), 0, 4}});
    });
  with_int([](BtfBuilder& b, std::uint32_t) { b.add(BtfKind::floating, "float", 0, 4); });
  with_int([](BtfBuilder& b, std::uint32_t i) { b.decl_tag("tag", b.variable("x", i)); });
  with_int([](BtfBuilder& b, std::uint32_t i) { b.pointer(b.type_tag("tag", i)); });
  with_int([](BtfBuilder& b, std::uint32_t) { b.enumeration64("e", {}); });
  return blobs;
}

/// Every kind, every sort of reference, bit fields, special fields and a graph.
Blob rich_blob() {
  BtfBuilder b;
  const auto i = b.integer("int", 4, testing::int_signed);
  const auto u8 = b.integer("unsigned char", 1);
  const auto flag = b.integer("_Bool", 1, testing::int_bool);
  const auto odd = b.integer("odd", 4, 0, 5, 3);
  const auto f = b.add(BtfKind::floating, "double", 0, 8);
  const auto e = b.enumeration("e", 4, {{"A", 0}, {"B", 7}}, Flag::set);
  const auto e64 = b.enumeration64("e64", {{"BIG", 1ULL << 40}});
  const auto lock = b.structure("bpf_spin_lock", 4, {{"val", i, 0}});
  const auto head = b.structure("bpf_list_head", 16, {});
  const auto node = b.structure("bpf_list_node", 24, {});
  const auto count = b.structure("bpf_refcount", 4, {});
  b.structure("item", 32, {{"node", node, 0}, {"count", count, 24 * 8}});
  const auto a = b.array(b.constant(b.type_definition("__u8", u8)), i, 6);
  const auto fwd = b.add(BtfKind::forward, "elsewhere", 0, 0);
  const auto inner = b.structure("", 16, {{"x", i, 0}, {"y", e, 32}, {"z", f, 64}});
  const auto pick = b.union_type("pick", 16, {{"in", inner, 0}, {"a", a, 0}, {"", e64, 0}});
  b.structure("bits", 12,
              {{"p", i, 3U << 24}, {"q", e, 9U << 24 | 3}, {"r", flag, 16}, {"s", a, 24}},
              Flag::set);
  b.structure("old_bits", 4, {{"o", odd, 0}});
  const auto fwd_pointer = b.pointer(fwd);
  b.structure("self", 16, {{"next", fwd_pointer + 2, 0}, {"fwd", fwd_pointer, 64}});
  b.pointer(fwd_pointer + 1);
  const auto value =
      b.structure("value", 48, {{"lock", lock, 0}, {"head", head, 64}, {"pick", pick, 192}});
  b.decl_tag("contains:item:node", value, 1);
  const auto proto = b.prototype(i, {{"v", b.pointer(value)}, {"n", i}});
  const auto function = b.function("run", proto, 1);
  b.decl_tag("arg:nonnull", function, 0);
  b.prototype(0, {{"format", b.pointer(b.constant(u8))}, {"", 0}});
  const auto global = b.variable("global", b.add(BtfKind::volatile_qualifier, "", 0, i));
  const auto placed = b.variable("v", value);
  b.data_section(".data.x", 64, {{global, 0, 4}, {placed, 8, 48}});
  b.add(BtfKind::restrict_qualifier, "", 0, b.pointer(0));
  return b.blob();
}

/// The sizes and ids by which a test makes a map of special_blob().
struct SpecialIds {
  std::uint32_t key, value, value_bytes;
};

/// A value with every special field that a hash map may hold, some of them nested, repeated or
/// slightly wrong.
Blob special_blob(SpecialIds& ids) {
  BtfBuilder b;
  const auto i = b.integer("int", 4, testing::int_signed);
  const auto lock = b.structure("bpf_spin_lock", 4, {{"val", i, 0}});
  const auto other_lock = b.structure("bpf_res_spin_lock", 4, {{"val", i, 0}});
  const auto timer = b.structure("bpf_timer", 16, {});
  const auto work = b.structure("bpf_wq", 16, {});
  const auto head = b.structure("bpf_list_head", 16, {});
  const auto node = b.structure("bpf_list_node", 24, {});
  b.structure("item", 32, {{"node", node, 0}});
  // A type that no kernel has: allocated by the program itself.
  const auto mine = b.structure("skep_test_own_type", 8, {{"x", i, 0}});
  const auto kptr = b.pointer(b.type_tag("kptr", mine));
  const auto holder = b.structure("holder", 24, {{"p", kptr, 0}, {"t", timer, 64}});
  const auto kptrs = b.array(kptr, i, 2);
  const auto locks = b.array(other_lock, i, 0);
  const auto in_union = b.union_type("u", 16, {{"w", work, 0}});
  const auto value = b.structure("value", 192,
                                 {{"lock", lock, 0},
                                  {"locks", locks, 16 * 8},
                                  {"head", head, 24 * 8},
                                  {"work", work, 40 * 8},
                                  {"holder", holder, 56 * 8},
                                  {"kptrs", kptrs, 80 * 8},
                                  {"u", in_union, 96 * 8},
                                  {"late", timer, 116 * 8}});  // misaligned: ignored
  b.decl_tag("contains:item:node", value, 2);
  ids = {.key = i, .value = value, .value_bytes = 192};
  return b.blob();
}

Blob read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  Blob blob(bytes.size());
  std::memcpy(blob.data(), bytes.data(), bytes.size());
  return blob;
}

/// Counts what was compared and lists the first differences.
class Comparison {
 public:
  enum class KernelPointers : bool { none, may_be_named };
  explicit Comparison(KernelPointers pointers = KernelPointers::none) : pointers_(pointers) {}

  void compare(const Blob& blob) {
    const Answer ours = our_answer(blob, budget_);
    if (compared_ % 1024 == 0) rcu::barrier();  // lets the refused and released go
    const int host = host_errno(blob);
    ++compared_;
    (host == 0 ? accepted_ : refused_)++;
    // A damaged name may hit a struct of the running kernel: then its rules for kernel pointers
    // count, which need its own types (destructors). Nothing of ours knows those.
    if (host == ENOENT && pointers_ == KernelPointers::may_be_named) return;
    if (ours.code == host) return;
    if (++different_ <= 5)
      ADD_FAILURE() << "ours " << testing::errno_text(ours.code) << ", the kernel "
                    << testing::errno_text(host) << "\nour log: " << ours.log
                    << "blob: " << hex(blob).substr(0, 4000);
  }
  std::uint64_t compared() const { return compared_; }
  std::uint64_t accepted() const { return accepted_; }
  std::uint64_t refused() const { return refused_; }
  std::uint64_t different() const { return different_; }

 private:
  const KernelPointers pointers_;
  testing::TestBudget budget_;
  std::uint64_t compared_ = 0, accepted_ = 0, refused_ = 0, different_ = 0;
};

// ---- tests ----

TEST(BtfHost, ProbesAndRichBlobAreAccepted) {
  SKIP_WITHOUT_HOST_BPF();
  testing::TestBudget budget;
  for (const Blob& blob : probe_blobs()) {
    EXPECT_EQ(host_errno(blob), 0) << hex(blob);
    const Answer ours = our_answer(blob, budget);
    EXPECT_EQ(ours.code, 0) << ours.log;
  }
  EXPECT_EQ(host_errno(rich_blob()), 0);
  const Answer ours = our_answer(rich_blob(), budget);
  EXPECT_EQ(ours.code, 0) << ours.log;
}

// Each byte of each probe takes each of the values around its own and the extremes.
TEST(BtfHost, ProbesWithOneByteChanged) {
  SKIP_WITHOUT_HOST_BPF();
  Comparison comparison;
  for (const Blob& original : probe_blobs()) {
    for (std::size_t at = 0; at < original.size(); ++at) {
      const auto old = std::to_integer<unsigned>(original[at]);
      for (const unsigned changed : {old + 1, old - 1, 0U, 0xffU, old ^ 0x80U, old + 4, old * 2}) {
        Blob blob = original;
        blob[at] = std::byte(changed & 0xff);
        comparison.compare(blob);
      }
    }
    for (std::size_t bytes = 0; bytes < original.size(); ++bytes)
      comparison.compare(
          Blob(original.begin(), original.begin() + static_cast<std::ptrdiff_t>(bytes)));
  }
  EXPECT_GT(comparison.accepted(), 100u);
  EXPECT_GT(comparison.refused(), 1000u);
}

/// Replaces one to three words of the type section by values that are likely to mean something
/// there.
Blob damaged(const Blob& original, std::mt19937_64& random) {
  Blob blob = original;
  std::uint32_t header[6];
  std::memcpy(header, blob.data(), sizeof header);
  const std::uint32_t words = header[3] / 4;
  const std::uint32_t changes = 1 + random() % 3;
  for (std::uint32_t i = 0; i < changes; ++i) {
    std::byte* at = &blob[header[1] + header[2] + random() % words * 4];
    std::uint32_t word;
    std::memcpy(&word, at, sizeof word);
    switch (random() % 9) {
      case 0:
        word += 1;
        break;
      case 1:
        word -= 1;
        break;
      case 2:
        word = static_cast<std::uint32_t>(random() % 64);
        break;
      case 3:
        word = static_cast<std::uint32_t>(random() % 64) * 8;
        break;
      case 4:
        word ^= 1U << random() % 32;
        break;
      case 5:
        word = (word & 0x8000ffff) | static_cast<std::uint32_t>(random() % 21) << 24;
        break;
      case 6:
        word ^= 0x80000000U;
        break;
      case 7:
        word = 0;
        break;
      case 8:
        word += 8;
        break;
    }
    std::memcpy(at, &word, sizeof word);
  }
  return blob;
}

void compare_damaged(const Blob& original, std::uint64_t rounds, std::uint64_t seed,
                     Comparison::KernelPointers pointers = Comparison::KernelPointers::none) {
  std::mt19937_64 random(seed);
  Comparison comparison(pointers);
  comparison.compare(original);
  for (std::uint64_t i = 0; i < rounds; ++i) comparison.compare(damaged(original, random));
  EXPECT_EQ(comparison.different(), 0u) << "of " << comparison.compared();
  EXPECT_GT(comparison.accepted(), rounds / 100);
  EXPECT_GT(comparison.refused(), rounds / 100);
}

/// SKEP_BTF_HOST_ROUNDS makes the comparisons longer.
std::uint64_t rounds(std::uint64_t usual) {
  const char* text = std::getenv("SKEP_BTF_HOST_ROUNDS");
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

TEST(BtfHost, RichBlobDamaged) {
  SKIP_WITHOUT_HOST_BPF();
  compare_damaged(rich_blob(), rounds(20000), 1);
}

TEST(BtfHost, CompiledTypesDamaged) {
  SKIP_WITHOUT_HOST_BPF();
  compare_damaged(testing::compiled_types(), rounds(5000), 4);
}

TEST(BtfHost, SpecialBlobDamaged) {
  SKIP_WITHOUT_HOST_BPF();
  SpecialIds ids;
  compare_damaged(special_blob(ids), rounds(3000), 2, Comparison::KernelPointers::may_be_named);
}

// Whatever is wrong with the special fields of a value, a map has a record here exactly when it has
// one there.
TEST(BtfHost, RecordsOfDamagedValues) {
  SKIP_WITHOUT_HOST_BPF();
  SpecialIds ids;
  const Blob original = special_blob(ids);
  std::mt19937_64 random(3);
  testing::TestBudget budget;
  std::uint64_t with = 0;
  std::uint64_t without = 0;
  for (std::uint64_t i = 0; i < rounds(3000); ++i) {
    const Blob blob = i == 0 ? original : damaged(original, random);
    const Result<bool> host = host_has_record(blob, ids.key, ids.value, ids.value_bytes);
    if (!host) continue;
    Log log;
    const Result<Ref<Btf>> btf = Btf::parse(blob, budget, log);
    ASSERT_OK(btf) << log.text() << hex(blob);
    const Record record = Record::of_value(**btf, ids.value);
    ASSERT_EQ(*host, !record.empty()) << hex(blob);
    (*host ? with : without)++;
  }
  EXPECT_GT(with, 100u);
  EXPECT_GT(without, 5u);
}

// The kernel's own types: large, and made by other tools than clang.
TEST(BtfHost, KernelTypesAreAccepted) {
  const Blob blob = read_file("/sys/kernel/btf/vmlinux");
  if (blob.empty()) GTEST_SKIP() << "this kernel publishes no /sys/kernel/btf/vmlinux";
  testing::TestBudget budget;
  Log log;
  const Result<Ref<Btf>> btf = Btf::parse(blob, budget, log);
  ASSERT_OK(btf) << log.text();
  const auto id = (*btf)->find("xdp_md", BtfKind::structure);
  ASSERT_TRUE(id);
  EXPECT_EQ((*btf)->size_of(*id), 24u);
}

}  // namespace
}  // namespace skep
