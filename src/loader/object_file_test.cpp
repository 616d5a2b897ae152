// SPDX-License-Identifier: Apache-2.0
#include "loader/object_file.hpp"

#include "rcu/rcu.hpp"
#include "support/expect.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

namespace skep {
namespace {

// Words are checked here; loading into a runtime is tested end to end, where there is one.

std::unique_ptr<ObjectFile> open_balancer() {
  LoadProblem problem;
  auto file = ObjectFile::open(SKEP_TEST_OBJECT, problem);
  EXPECT_TRUE(file) << problem.message;
  return file ? std::move(file).take() : nullptr;
}

TEST(ObjectFile, ListsProgramsAndMaps) {
  const auto file = open_balancer();
  ASSERT_NE(file, nullptr);
  bool balance = false, services = false;
  for (const ObjectFile::ProgramEntry& program : file->programs())
    balance =
        balance || (program.name == "balance" && program.section == "xdp" && program.fd == -1);
  for (const ObjectFile::MapEntry& map : file->maps())
    services = services || (map.name == "services" && map.type == 1);
  EXPECT_TRUE(balance);
  EXPECT_TRUE(services);
}

TEST(ObjectFile, AMissingFileIsNamed) {
  LoadProblem problem;
  EXPECT_ERRNO(ObjectFile::open("/nonexistent/x.o", problem), ENOENT);
  EXPECT_EQ(problem.message,
            "/nonexistent/x.o: cannot be read: No such file or directory (ENOENT)");
  EXPECT_EQ(problem.hint, "give the path of an object that clang -target bpf made");
}

TEST(ObjectFile, AnythingElseIsRefusedWithTheRemedy) {
  const std::string path = std::filesystem::temp_directory_path() / "skep_object_file_test.o";
  std::FILE* const out = std::fopen(path.c_str(), "w");
  ASSERT_NE(out, nullptr);
  std::fputs("not an object", out);
  std::fclose(out);
  LoadProblem problem;
  EXPECT_FALSE(ObjectFile::open(path, problem));
  EXPECT_NE(problem.message.find("cannot be opened as a BPF object"), std::string::npos)
      << problem.message;
  EXPECT_NE(problem.hint.find("clang -O2 -g -target bpf"), std::string::npos);
  std::filesystem::remove(path);
}

TEST(ObjectFile, GlobalsAreTypedAndNamed) {
  const auto file = open_balancer();
  ASSERT_NE(file, nullptr);
  LoadProblem problem;
  EXPECT_OK(file->set_global(".rodata", "debug", "1", problem)) << problem.message;
  EXPECT_ERRNO(file->set_global(".rodata", "nothing", "1", problem), ENOENT);
  EXPECT_NE(problem.message.find("section .rodata has no variable nothing (ENOENT)"),
            std::string::npos)
      << problem.message;
  EXPECT_NE(problem.hint.find("debug"), std::string::npos) << problem.hint;
  EXPECT_ERRNO(file->set_global(".nowhere", "debug", "1", problem), ENOENT);
  EXPECT_FALSE(file->set_global(".rodata", "debug", "yes and no", problem));
  EXPECT_NE(problem.message.find(".rodata[debug]: "), std::string::npos) << problem.message;
}

// Objects are destroyed after a grace period, on another thread. The type information that was read
// for a global must be gone before what it stands on: the address sanitizer sees it otherwise.
TEST(ObjectFile, SettingAGlobalLeavesNothingToBeDestroyedLater) {
  const auto file = open_balancer();
  ASSERT_NE(file, nullptr);
  LoadProblem problem;
  // Grace periods take as long as this thread's sections.
  const std::jthread reader([](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const rcu::ReadGuard section;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (int round = 0; round < 20; ++round)
    ASSERT_OK(file->set_global(".rodata", "debug", "1", problem)) << problem.message;
  rcu::barrier();
}

TEST(ObjectFile, CapacitiesCanBeSetBeforeLoading) {
  const auto file = open_balancer();
  ASSERT_NE(file, nullptr);
  LoadProblem problem;
  EXPECT_OK(file->set_max_entries("services", 1000, problem)) << problem.message;
  EXPECT_ERRNO(file->set_max_entries("nothing", 1000, problem), ENOENT);
  EXPECT_NE(problem.message.find("map nothing: there is none of that name (ENOENT)"),
            std::string::npos)
      << problem.message;
  EXPECT_ERRNO(file->set_max_entries("services", 0, problem), EINVAL);
  EXPECT_NE(problem.message.find("map services: a capacity of 0 entries (EINVAL)"),
            std::string::npos)
      << problem.message;
}

}  // namespace
}  // namespace skep
