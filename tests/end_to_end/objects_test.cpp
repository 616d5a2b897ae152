// SPDX-License-Identifier: Apache-2.0
// What the command says to objects: unreadable, damaged, without type information, with maps or
// programs that skep does not have.

#include "end_to_end/capture.hpp"
#include "end_to_end/command.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <string_view>

namespace skep::testing {
namespace {

constexpr int refused = 1;
constexpr std::string_view compile_hint =
    "compile it with: clang -O2 -g -target bpf -c PROGRAM.bpf.c -o PROGRAM.bpf.o";
constexpr std::string_view path_hint = "give the path of an object that clang -target bpf made";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at))
    text.replace(at, from.size(), to);
  return text;
}

TEST(Object, MustBeThereAndReadable) {
  const Workshop shop;
  expect_said(shop, "run missing.bpf.o --port in=null", refused,
              "missing.bpf.o: cannot be read: No such file or directory (ENOENT)", path_hint);
  ASSERT_EQ(::mkdir(shop.path("folder").c_str(), 0700), 0);
  expect_said(shop, "run folder --port in=null", refused,
              "folder: cannot be read: Is a directory (EISDIR)", path_hint);
  expect_said(shop, "run demo.json/x.bpf.o --port in=null", refused,
              "demo.json/x.bpf.o: cannot be read: Not a directory (ENOTDIR)", path_hint);
}

TEST(Object, MustBeABpfObject) {
  const Workshop shop;
  const auto refuses = [&](const std::string& name, const std::string& why) {
    expect_said(shop, "run " + name + " --port in=null", refused,
                name + ": cannot be opened as a BPF object: " + why + " (EINVAL)", compile_hint);
  };
  refuses("demo.json", "elf: 'demo.json' is not a proper ELF object");
  shop.write("empty.bpf.o", "");
  refuses("empty.bpf.o", "elf: 'empty.bpf.o' is not a proper ELF object");
  // A program of this machine.
  expect_said(
      shop, "run /proc/self/exe --port in=null", refused,
      "/proc/self/exe: cannot be opened as a BPF object: elf: /proc/self/exe is not a valid "
      "eBPF object file (EINVAL)",
      compile_hint);
  shop.write("cut.bpf.o", shop.read("counter.bpf.o").substr(0, 2000));
  refuses("cut.bpf.o",
          "elf: failed to get section names strings from cut.bpf.o: invalid `Elf' handle");
}

TEST(Object, MapsNeedTypeInformation) {
  const Workshop shop;
  const std::string whole = shop.read("counter.bpf.o");
  shop.write("no_btf.bpf.o", replaced(whole, ".BTF", ".XTF"));
  expect_said(shop, "run no_btf.bpf.o --port in=null", refused,
              "no_btf.bpf.o: cannot be opened as a BPF object: BTF is required, but is missing or "
              "corrupted. (ENOENT)",
              compile_hint);
  shop.write("bad_btf.bpf.o", replaced(whole, "\x9f\xeb\x01", "\x9e\xeb\x01"));
  expect_said(shop, "run bad_btf.bpf.o --port in=null", refused,
              "bad_btf.bpf.o: cannot be opened as a BPF object: BTF is required, but is missing or "
              "corrupted. (EINVAL)",
              compile_hint);
}

// libbpf itself would follow such ids out of its tables.
TEST(Object, TypeInformationThatRefersToNothingIsNamed) {
  const Workshop shop;
  std::string bytes = shop.read("counter.bpf.o");
  const std::size_t btf = bytes.find("\x9f\xeb\x01");
  ASSERT_NE(btf, std::string::npos);
  // Type 1 is a pointer, the last 4 of its 12 bytes the id of what it points to.
  const std::size_t first = btf + get_u32(bytes, btf + 4) + get_u32(bytes, btf + 8);
  ASSERT_EQ(get_u32(bytes, first + 4) >> 24, 2U);
  const std::string whole = bytes;
  put_u32(bytes, first + 8, 70000);
  shop.write("bad_id.bpf.o", bytes);
  const Outcome bad_id = shop.skep("run bad_id.bpf.o --port in=null");
  EXPECT_EQ(bad_id.exit_code, refused);
  EXPECT_TRUE(
      bad_id.err.starts_with("skep: bad_id.bpf.o: damaged type information: type 1 refers "
                             "to type 70000, but the last one is "))
      << bad_id.err;
  bytes = whole;
  put_u32(bytes, first, 0x00ffffff);
  shop.write("bad_name.bpf.o", bytes);
  expect_said(
      shop, "run bad_name.bpf.o --port in=null", refused,
      "bad_name.bpf.o: damaged type information: type 1 has a name at 16777215, where there "
      "is none (EINVAL)",
      compile_hint);
  bytes = whole;
  put_u32(bytes, first + 4, 10U << 24);  // const, of itself
  put_u32(bytes, first + 8, 1);
  shop.write("endless.bpf.o", bytes);
  expect_said(shop, "run endless.bpf.o --port in=null", refused,
              "endless.bpf.o: damaged type information: type 1 leads through more than 32 typedefs "
              "and qualifiers (EINVAL)",
              compile_hint);
}

// Without maps an object loads without type information; only its variables cannot be set by name.
TEST(Object, GlobalVariablesNeedTypeInformation) {
  const Workshop shop;
  shop.write("plain.bpf.o", replaced(shop.read("globals_only.bpf.o"), ".BTF", ".XTF"));
  const Outcome plain = shop.skep("run plain.bpf.o --port in=gen:frames=2");
  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  expect_said(shop, "run plain.bpf.o --port in=null --map .rodata[passes]=0", refused,
              "plain.bpf.o: the object has no type information (ENOTSUPP)", "compile it with -g");
}

TEST(Object, AMapBeyondTheMemoryBudgetIsRefused) {
  const Workshop shop;
  expect_said(shop, "run huge_map.bpf.o --port in=null", refused,
              "huge_map.bpf.o: map pages: cannot be created: Cannot allocate memory (ENOMEM)",
              "it needs more memory than the runtime may use");
}

TEST(Object, AMapOfAnUnknownTypeIsNamed) {
  const Workshop shop;
  expect_said(shop, "run unsupported_map.bpf.o --port in=null", refused,
              "unsupported_map.bpf.o: map stacks: skep does not have maps of type stack_trace yet "
              "(EINVAL)",
              "docs/parity.md lists the map types that work");
}

TEST(Object, ProgramsOfUnknownTypesAreSkippedWithANote) {
  const Workshop shop;
  const Outcome outcome = shop.skep("run unsupported_program.bpf.o --port in=gen:frames=2");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err,
            "skep: note: program on_exit is not loaded: skep does not have programs of type kprobe "
            "yet\n"
            "skep: note: program on_gate is not loaded: section garden/gate is not known\n");
  EXPECT_NE(outcome.out.find("pass       in     2"), std::string::npos) << outcome.out;

  const Outcome attached =
      shop.skep("run unsupported_program.bpf.o --port in=null --xdp in=on_exit");
  EXPECT_EQ(attached.exit_code, refused);
  EXPECT_NE(attached.err.find("skep: port in: program on_exit: skep does not have programs of type "
                              "kprobe yet (EINVAL)\n"),
            std::string::npos)
      << attached.err;
}

// A program that cannot be loaded says why in one line, and with --log all that was said about it.
TEST(Object, ARefusedProgramIsOneLineAndTheLogOnRequest) {
  const Workshop shop;
  // The helper's number in the one call of counter becomes one that no kernel has.
  std::string bytes = shop.read("counter.bpf.o");
  const std::string call("\x85\0\0\0\x01\0\0\0", 8), strange("\x85\0\0\0\xff\xff\xff\x00", 8);
  const std::size_t at = bytes.find(call);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, call.size(), strange);
  shop.write("strange.bpf.o", bytes);
  const Outcome outcome = shop.skep("run strange.bpf.o --port in=null");
  EXPECT_EQ(outcome.exit_code, refused);
  EXPECT_EQ(outcome.err,
            "skep: strange.bpf.o: program count: invalid func unknown#16777215 (EINVAL)\n");
  const Outcome logged = shop.skep("run strange.bpf.o --port in=null --log");
  EXPECT_EQ(logged.exit_code, refused);
  EXPECT_GT(logged.err.size(), outcome.err.size());
  EXPECT_TRUE(logged.err.ends_with(outcome.err)) << logged.err;
}

}  // namespace
}  // namespace skep::testing
