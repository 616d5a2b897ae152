// SPDX-License-Identifier: Apache-2.0
// Unmodified clients under `skep exec`. Where the host's kernel can be asked, it is given the same
// script, and both must say the same but for ids, times and sizes that only one of them knows.
#include "process.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>

namespace skep::testing {
namespace {

// --- a program without libraries

class RawClient : public ::testing::TestWithParam<const char*> {};

TEST_P(RawClient, GetsWhatItExpects) {
  const Finished finished = served("exec " + Programs::get().raw_client + " " + GetParam());
  EXPECT_EQ(finished.code, 0) << finished.output;
}

TEST_P(RawClient, GetsItAsAnOrdinaryUser) {
  const Finished finished =
      run(as_ordinary_user({Programs::get().runner, "exec", "--", "/bin/sh", "-c",
                            "exec " + Programs::get().raw_client + " " + GetParam()}));
  EXPECT_EQ(finished.code, 0) << finished.output;
}

INSTANTIATE_TEST_SUITE_P(All, RawClient,
                         ::testing::Values("walk", "mapped", "passed", "hostile", "threads 16",
                                           "descriptors 500", "garbage 1 4000", "garbage 2 4000",
                                           "garbage 3 4000"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

// What the raw client expects of us, the host's kernel does.
TEST(RawClientOnTheHost, GetsWhatItExpects) {
  if (!is_root()) GTEST_SKIP() << "needs root: the host's kernel is asked";
  for (const char* what : {"walk", "mapped", "passed", "threads 16"}) {
    const Finished finished = shell(Programs::get().raw_client + " " + what);
    EXPECT_EQ(finished.code, 0) << what << ": " << finished.output;
  }
}

TEST(Client, OfAnotherUserIsRefused) {
  if (!is_root()) GTEST_SKIP() << "needs root: the client changes its user";
  const Finished finished = served("exec " + Programs::get().raw_client + " foreign");
  EXPECT_EQ(finished.code, 0) << finished.output;
}

TEST(Client, CannotReachTheKernelBy32BitCalls) {
  const Finished finished = served("exec " + Programs::get().raw_client + " other_abi");
  if (finished.code == 77) GTEST_SKIP() << "needs a kernel with 32-bit calls";
  EXPECT_EQ(finished.code, 0) << finished.output;
}

// A client whose memory never arrives keeps one of our threads each time, and nobody else.
TEST(Client, ThatIsStuckStopsNobody) {
  const Finished finished = served("exec " + Programs::get().raw_client + " stuck 20");
  if (finished.code == 77) GTEST_SKIP() << "needs userfaultfd with faults of the kernel";
  EXPECT_EQ(finished.code, 0) << finished.output;
}

// Nor does one whose command takes long; and when it is killed, we end although the command goes
// on.
TEST(Client, WithALongTestRunStopsNobody) {
  const ScratchDirectory directory;
  const Finished finished =
      served("cd " + directory.path() + "; head -c 64 /dev/zero > packet; bpftool prog load " +
             Programs::get().objects + "/counter.bpf.o /sys/fs/bpf/p 2>/dev/null\n" +
             "bpftool prog run pinned /sys/fs/bpf/p data_in packet repeat 1000000000 >/dev/null &\n"
             "sleep 0.2; timeout 5 " +
             Programs::get().raw_client +
             " walk; echo $?; kill -KILL $! || echo done before; wait 2>/dev/null");
  EXPECT_EQ(finished.output, "0\n") << "the long run must still have been there";
}

// --- libbpf

constexpr const char* skeleton_output =
    "verdict 2 packets 4 total 2256 private 44\n"
    "corner 1 2\ncorner 3 4\ncorner 5 6\ncorner 47 -120\n"
    "000306090c0f1215181b1e\n"
    "verdict 2\n"
    "result 0 27\nresult 1 8\nresult 2 101\nresult 3 5492\nresult 4 44\n"
    "frozen 1\n";

TEST(Skeleton, SharesGlobalsWithItsPrograms) {
  const Finished finished = served(Programs::get().skeleton_client);
  EXPECT_EQ(finished.code, 0);
  EXPECT_EQ(finished.output, skeleton_output);
}

TEST(Skeleton, DoesSoForAnOrdinaryUser) {
  const Finished finished = run(
      as_ordinary_user({Programs::get().runner, "exec", "--", Programs::get().skeleton_client}));
  EXPECT_EQ(finished.code, 0);
  EXPECT_EQ(finished.output, skeleton_output);
}

TEST(Skeleton, DoesSoOnTheHost) {
  if (!is_root()) GTEST_SKIP() << "needs root: the host's kernel is asked";
  const Finished finished = run({Programs::get().skeleton_client});
  EXPECT_EQ(finished.code, 0);
  EXPECT_EQ(finished.output, skeleton_output);
}

// --- bpftool

struct Script {
  const char* name;
  const char* text;  // $O is the directory of the objects
};

// Every script leaves nothing behind but pins, and looks only at what it made: the host has other
// users.
constexpr Script scripts[] = {
    {"map_elements", R"(
bpftool map create /sys/fs/bpf/m type hash key 4 value 8 entries 3 name elements
bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value 1 2 3 4 5 6 7 8
bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value 8 7 6 5 4 3 2 1 noexist
bpftool map update pinned /sys/fs/bpf/m key 2 0 0 0 value 8 7 6 5 4 3 2 1 exist
bpftool map update pinned /sys/fs/bpf/m key hex 01 00 00 00 value hex ff ee dd cc bb aa 99 88 any
bpftool map lookup pinned /sys/fs/bpf/m key 1 0 0 0
bpftool -j map lookup pinned /sys/fs/bpf/m key 1 0 0 0
bpftool map lookup pinned /sys/fs/bpf/m key 9 0 0 0
bpftool map getnext pinned /sys/fs/bpf/m
bpftool map getnext pinned /sys/fs/bpf/m key 1 0 0 0
bpftool map dump pinned /sys/fs/bpf/m
bpftool -p map dump pinned /sys/fs/bpf/m
bpftool map delete pinned /sys/fs/bpf/m key 1 0 0 0
bpftool map delete pinned /sys/fs/bpf/m key 1 0 0 0
bpftool map dump pinned /sys/fs/bpf/m
bpftool map show pinned /sys/fs/bpf/m
bpftool -j map show pinned /sys/fs/bpf/m)"},
    {"map_types", R"(
for type in hash array percpu_array prog_array; do
  value=8; [ $type = prog_array ] && value=4
  bpftool map create /sys/fs/bpf/$type type $type key 4 value $value entries 2 name my_$type
  bpftool map show pinned /sys/fs/bpf/$type
  bpftool map dump pinned /sys/fs/bpf/$type
  bpftool -j map dump pinned /sys/fs/bpf/$type
done
bpftool map create /sys/fs/bpf/bad type hash key 0 value 8 entries 2 name bad
bpftool map create /sys/fs/bpf/bad type array key 8 value 8 entries 2 name bad
bpftool map create /sys/fs/bpf/flagged type hash key 4 value 8 entries 2 name flagged flags 1
bpftool map show pinned /sys/fs/bpf/flagged)"},
    {"map_freeze", R"(
bpftool map create /sys/fs/bpf/m type array key 4 value 4 entries 2 name frozen
bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value 9 9 9 9
bpftool map freeze pinned /sys/fs/bpf/m
bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value 8 8 8 8
bpftool map freeze pinned /sys/fs/bpf/m
bpftool map dump pinned /sys/fs/bpf/m)"},
    {"pins", R"(
bpftool map create /sys/fs/bpf/m type hash key 4 value 8 entries 3 name pinned
mkdir /sys/fs/bpf/a /sys/fs/bpf/a/b
bpftool map pin pinned /sys/fs/bpf/m /sys/fs/bpf/a/b/again
bpftool map pin pinned /sys/fs/bpf/m /sys/fs/bpf/a/b/again
bpftool map pin pinned /sys/fs/bpf/m /sys/fs/bpf/a/missing/again
bpftool map pin pinned /sys/fs/bpf/m /sys/fs/bpf/a/do.t
find /sys/fs/bpf | sort
stat -c '%n %F %s %a %h' /sys/fs/bpf/m /sys/fs/bpf/a/b/again
stat -f -c '%T %t %l' /sys/fs/bpf /sys/fs/bpf/a /sys/fs/bpf/a/b/again
mv /sys/fs/bpf/m /sys/fs/bpf/moved
ln -s moved /sys/fs/bpf/link
bpftool map show pinned /sys/fs/bpf/link
cd /sys/fs/bpf/a && bpftool map show pinned ../moved
ln /sys/fs/bpf/moved /sys/fs/bpf/hard
rm /sys/fs/bpf/moved
bpftool map update pinned /sys/fs/bpf/hard key 1 0 0 0 value 1 1 1 1 1 1 1 1
bpftool map show pinned /sys/fs/bpf/moved
bpftool map show pinned /sys/fs/bpf/a
bpftool map show pinned /etc/passwd
bpftool prog show pinned /sys/fs/bpf/hard
rmdir /sys/fs/bpf/a 2>/dev/null || echo not empty
rm /sys/fs/bpf/hard
bpftool map dump pinned /sys/fs/bpf/a/b/again)"},
    {"program", R"(
bpftool prog load $O/counter.bpf.o /sys/fs/bpf/count
bpftool prog show pinned /sys/fs/bpf/count
bpftool -j prog show pinned /sys/fs/bpf/count
head -c 64 /dev/zero > packet
taskset -c 0 bpftool prog run pinned /sys/fs/bpf/count data_in packet
taskset -c 0 bpftool prog run pinned /sys/fs/bpf/count data_in packet repeat 10
bpftool map show pinned /sys/fs/bpf/count
bpftool prog load $O/counter.bpf.o /sys/fs/bpf/count
bpftool prog load $O/missing.bpf.o /sys/fs/bpf/other
id=$(bpftool -j prog show pinned /sys/fs/bpf/count | sed 's/.*"map_ids":\[\([0-9]*\).*/\1/')
bpftool map show id $id
bpftool map dump id $id | tr -d '[:space:]' | sed 's/"cpu":[0-9]*,//g' | head -c 200
btf=$(bpftool -j prog show pinned /sys/fs/bpf/count | sed 's/.*"btf_id":\([0-9]*\).*/\1/')
bpftool btf dump id $btf | head -40
bpftool btf dump id $btf format c
rm /sys/fs/bpf/count
for i in 1 2 3 4 5 6 7 8 9 10; do bpftool prog show id 2>/dev/null; sleep 0.05; bpftool map show id $id >/dev/null 2>&1 || break; done
bpftool map show id $id)"},
    {"program_arrays", R"(
mkdir /sys/fs/bpf/p
bpftool prog loadall $O/tail_calls.bpf.o /sys/fs/bpf/p pinmaps /sys/fs/bpf/maps
ls /sys/fs/bpf/p /sys/fs/bpf/maps
bpftool map update pinned /sys/fs/bpf/maps/programs key 4 0 0 0 value pinned /sys/fs/bpf/p/leaf
bpftool map update pinned /sys/fs/bpf/maps/programs key 9 0 0 0 value pinned /sys/fs/bpf/p/leaf
bpftool map delete pinned /sys/fs/bpf/maps/programs key 4 0 0 0
head -c 64 /dev/zero > packet
for p in /sys/fs/bpf/p/*; do bpftool prog run pinned $p data_in packet; done
bpftool map dump pinned /sys/fs/bpf/maps/results | grep -v '"value": 0')"},
    {"globals", R"(
bpftool prog loadall $O/globals.bpf.o /sys/fs/bpf/g type xdp pinmaps /sys/fs/bpf/maps
head -c 64 /dev/zero > packet
bpftool prog run pinned /sys/fs/bpf/g/globals data_in packet repeat 3
for m in /sys/fs/bpf/maps/*; do bpftool map show pinned $m; bpftool map dump pinned $m; done
bpftool -j btf show | head -c 1 ; echo)"},
    {"batch", R"(
cat > commands <<END
map create /sys/fs/bpf/m type hash key 4 value 4 entries 5 name batched
map update pinned /sys/fs/bpf/m key 1 0 0 0 value 1 1 1 1
# a comment
map dump pinned /sys/fs/bpf/m
map lookup pinned /sys/fs/bpf/m key 2 0 0 0
END
bpftool batch file commands
echo "map dump pinned /sys/fs/bpf/m" | bpftool batch file -)"},
    {"pipeline", R"(
bpftool map create /sys/fs/bpf/m type array key 4 value 4 entries 4 name counted
seq 0 3 | while read i; do bpftool map update pinned /sys/fs/bpf/m key $i 0 0 0 value $((i * 3)) 0 0 0; done
bpftool -j map dump pinned /sys/fs/bpf/m | tr '{' '\n' | grep -c value
bpftool map dump pinned /sys/fs/bpf/m | sort -r | head -2 | cat)"},
};

/// Without what may differ: ids, times, durations, sizes of translated and compiled programs, what
/// only /proc/PID/fdinfo of the kernel tells (memory, frozen), processes that hold something, and
/// the pins that the kernel puts into its first bpffs.
std::string normalised(std::string text) {
  static const std::pair<std::regex, const char*> changes[] = {
      {std::regex("(^|\n)[0-9]+: "), "$1ID: "},
      {std::regex("loaded_at [^ ]+"), "loaded_at T"},
      {std::regex("\"loaded_at\":[0-9]+"), "\"loaded_at\":T"},
      {std::regex("uid(\":| )[0-9]+"), "uid$1U"},
      {std::regex("  memlock [0-9]+B"), ""},
      {std::regex("  frozen\n"), "\n"},
      {std::regex(",\"frozen\":[01]"), ""},
      {std::regex("\n/sys/fs/bpf/(maps|progs).debug"), ""},
      {std::regex(",\"bytes_memlock\":[0-9]+"), ""},
      {std::regex("\"bytes_xlated\":[0-9]+"), "\"bytes_xlated\":N"},
      {std::regex("\"jited\":(false|true,\"bytes_jited\":[0-9]+)"), "\"jited\":J"},
      {std::regex("xlated [0-9]+B"), "xlated NB"},
      {std::regex("not jited|jited [0-9]+B"), "jited J"},
      {std::regex("(map|prog)_ids [0-9,]+"), "$1_ids N"},
      {std::regex("\"map_ids\":\\[[0-9,]+\\]"), "\"map_ids\":[N]"},
      {std::regex("btf_id(\":| )[0-9]+"), "btf_id$1N"},
      {std::regex("\"id\":[0-9]+"), "\"id\":N"},
      {std::regex("get map by id \\([0-9]+\\)"), "get map by id (N)"},
      {std::regex("owner_prog_type [a-z]+  "), ""},
      {std::regex("owner (not )?jited"), ""},
      {std::regex("\n\towner_prog_type[^\n]*"), ""},
      {std::regex("duration( \\(average\\))?: [0-9]+ns"), "duration D"},
      {std::regex("\n\tpids [^\n]*"), ""},
      {std::regex(",\"pids\":\\[[^\\]]*\\]"), ""},
      {std::regex("Warning: bpftool is now[^\n]*\nIf it used[^\n]*\n"), ""},
  };
  for (const auto& [what, by] : changes) text = std::regex_replace(text, what, by);
  return text;
}

class Bpftool : public ::testing::TestWithParam<Script> {
 protected:
  static std::string script() {
    return "O=" + Programs::get().objects + "; cd \"$W\" || exit 9\n" + GetParam().text;
  }
  ScratchDirectory work_;
};

TEST_P(Bpftool, SaysWhatItSaysOnTheHost) {
  if (shell("bpftool version").code != 0) GTEST_SKIP() << "needs bpftool";
  if (!is_root()) GTEST_SKIP() << "needs root: the host's kernel is asked";
  const std::string there = "W=" + work_.path() + "; " + script();
  const Finished host =
      run({"unshare", "-m", "/bin/sh", "-c", "mount -t bpf bpf /sys/fs/bpf || exit 99\n" + there});
  if (host.code == 99) GTEST_SKIP() << "the host's kernel has no bpffs: " << host.output;
  const Finished skep = served(there);
  EXPECT_EQ(normalised(skep.output), normalised(host.output));
  EXPECT_EQ(skep.code, host.code);
}

// The same without privileges: what is said does not depend on who asks.
TEST_P(Bpftool, SaysTheSameToAnOrdinaryUser) {
  if (shell("bpftool version").code != 0) GTEST_SKIP() << "needs bpftool";
  const Finished privileged = served("W=" + work_.path() + "; " + script());
  const ScratchDirectory other;
  shell("chmod 777 " + other.path());
  const Finished ordinary = run(as_ordinary_user({Programs::get().runner, "exec", "--", "/bin/sh",
                                                  "-c", "W=" + other.path() + "; " + script()}));
  EXPECT_EQ(normalised(ordinary.output), normalised(privileged.output));
  EXPECT_EQ(ordinary.code, privileged.code);
}

INSTANTIATE_TEST_SUITE_P(All, Bpftool, ::testing::ValuesIn(scripts),
                         [](const auto& info) { return info.param.name; });

// --- lists, which on the host are everybody's

TEST(Lists, ShowEverythingAndNothingElse) {
  const Finished finished = served(
      "bpftool map list; bpftool prog list; bpftool btf list; bpftool link list\n"
      "bpftool prog loadall " +
      Programs::get().objects +
      "/counter.bpf.o /sys/fs/bpf/c 2>/dev/null\n"
      "bpftool map list; bpftool prog list; bpftool btf list\n"
      // A removed pin is noticed a moment later; on Linux ids may linger for some ms as well.
      "rm -r /sys/fs/bpf/c; sleep 0.5; bpftool map list; bpftool prog list; bpftool btf list");
  const std::regex one_of_each(
      "ID: percpu_array  name \\w+  flags 0x0\n\tkey 4B  value \\d+B  max_entries \\d+\n\tbtf_id "
      "N\n"
      "ID: xdp  name count  tag [0-9a-f]{16}  gpl\n"
      "\tloaded_at T  uid U\n\txlated NB  jited J  map_ids N\n\tbtf_id N\n"
      "ID: name <anon>  size \\d+B  prog_ids N  map_ids N\n");
  EXPECT_TRUE(std::regex_match(normalised(finished.output), one_of_each)) << finished.output;
}

}  // namespace
}  // namespace skep::testing
