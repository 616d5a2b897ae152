// SPDX-License-Identifier: Apache-2.0
// Pins: the host's bpffs, mounted in a namespace of the test's own, against the file system in
// memory.
#include "differential/side.hpp"
#include "differential/skep_kernel.hpp"
#include "uapi/bpf.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

namespace skep::testing {
namespace {

/// The file operations that a pin can be subject to. Each gives 0 or a negative errno.
struct FileSystem {
  std::function<long(const std::string& path)> make_directory, unlink, remove_directory;
  std::function<long(const std::string& from, const std::string& to)> rename, symlink;
  /// Kind and permissions as text, or the errno.
  std::function<std::string(const std::string& path)> status;
};

long errno_of(int result) { return result == 0 ? 0 : -errno; }
template <class T>
long errno_of(const Result<T>& result) {
  return result ? 0 : -result.error().code;
}

FileSystem host_file_system() {
  return {.make_directory = [](const auto& path) { return errno_of(::mkdir(path.c_str(), 0700)); },
          .unlink = [](const auto& path) { return errno_of(::unlink(path.c_str())); },
          .remove_directory = [](const auto& path) { return errno_of(::rmdir(path.c_str())); },
          .rename = [](const auto& from,
                       const auto& to) { return errno_of(::rename(from.c_str(), to.c_str())); },
          .symlink = [](const auto& from,
                        const auto& to) { return errno_of(::symlink(from.c_str(), to.c_str())); },
          .status = [](const auto& path) -> std::string {
            struct stat status{};
            if (::lstat(path.c_str(), &status) != 0) return std::to_string(-errno);
            const char* const kind = S_ISDIR(status.st_mode)   ? "directory"
                                     : S_ISLNK(status.st_mode) ? "symlink"
                                                               : "object";
            return std::string(kind) + " " + std::to_string(status.st_mode & 07777);
          }};
}

FileSystem skep_file_system(Pins& pins) {
  return {
      .make_directory = [&](const auto& path) { return errno_of(pins.mkdir(path, 0700, 0)); },
      .unlink = [&](const auto& path) { return errno_of(pins.unlink(path)); },
      .remove_directory = [&](const auto& path) { return errno_of(pins.rmdir(path)); },
      .rename = [&](const auto& from, const auto& to) { return errno_of(pins.rename(from, to)); },
      .symlink = [&](const auto& from,
                     const auto& to) { return errno_of(pins.symlink(from, to, 0)); },
      .status = [&](const auto& path) -> std::string {
        const Result<PinStatus> status = pins.lstat(path);
        if (!status) return std::to_string(-status.error().code);
        const char* const kind = status->kind == PinKind::directory ? "directory"
                                 : status->kind == PinKind::symlink ? "symlink"
                                                                    : "object";
        return std::string(kind) + " " + std::to_string(status->mode);
      }};
}

class PinScenario {
 public:
  PinScenario(Side& side, FileSystem files) : side_(side), files_(std::move(files)) {}

  void run() {
    uapi::map_create_attr attr{};
    attr.map_type = uapi::BPF_MAP_TYPE_ARRAY;
    attr.key_size = 4;
    attr.value_size = 4;
    attr.max_entries = 1;
    map_ = static_cast<std::uint32_t>(side_.call("map", uapi::BPF_MAP_CREATE, attr));
    attr.map_flags = uapi::BPF_F_RDONLY;
    read_only_ = static_cast<std::uint32_t>(side_.call("map", uapi::BPF_MAP_CREATE, attr));
    const std::array<uapi::bpf_insn, 2> instructions{
        {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
         {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}}};
    uapi::prog_load_attr load{};
    load.prog_type = uapi::BPF_PROG_TYPE_XDP;
    load.insn_cnt = instructions.size();
    load.insns = address_of(instructions.data());
    load.license = address_of("GPL");
    prog_ = static_cast<std::uint32_t>(side_.call("program", uapi::BPF_PROG_LOAD, load));

    note("mkdir d", files_.make_directory(root + "/d"));
    note("symlink", files_.symlink("d", root + "/link"));
    note("symlink out", files_.symlink("/tmp", root + "/out"));
    note("symlink loop", files_.symlink("loop", root + "/loop"));
    for (const char* path :
         {"/m",    "/m",      "/d",   "/d/m",     "/d/../x", "/link/y",   "/out/skep_no_such_name",
          "/loop", "/loop/x", "/a.b", "/.hidden", "/none/x", "/m/x",      "/new/",
          "/d/",   "/.",      "/..",  "",         "/",       "//slashes", "/d/./z"})
      pin(path, map_);
    for (const std::uint32_t fd : {prog_, read_only_, closed_fd, 0xffffffffU})
      pin("/of_fd" + std::to_string(count_++), fd);
    for (std::uint32_t flags : {0U, 8U, 16U, 24U, 1U, 2U, 4U, 0x4000U}) {
      for (const char* path : {"/m", "/of_fd0", "/of_fd1", "/d", "/link", "/link/y", "/loop",
                               "/none", "/m/x", "/m/", "/m/.", "", "/d/.."})
        get(path, flags);
    }
    for (const std::size_t length : {255, 256, 4070, 4096, 5000})
      pin("/" + std::string(length, 'n'), map_);
    for (const std::uint64_t bad : {std::uint64_t{0}, bad_addresses[0]}) {
      uapi::obj_attr at_bad{.pathname = bad, .bpf_fd = map_, .file_flags = 0, .path_fd = 0};
      side_.call("pin at a bad address", uapi::BPF_OBJ_PIN, at_bad, 20);
      at_bad.bpf_fd = 0;
      side_.call("get at a bad address", uapi::BPF_OBJ_GET, at_bad, 20);
    }
    for (const auto& [flags, path_fd] :
         {std::pair{0U, 1}, {0x4000U, 0}, {0x4000U, -100}, {0x4000U, 9999}, {8U, 0}, {1U, 0}}) {
      const std::string path = root + "/with_flags";
      uapi::obj_attr pin_attr{address_of(path.c_str()), map_, flags, path_fd};
      side_.call("pin flags " + std::to_string(flags) + " path_fd " + std::to_string(path_fd),
                 uapi::BPF_OBJ_PIN, pin_attr, 20);
      uapi::obj_attr get_attr{address_of(path.c_str()), 0, flags, path_fd};
      side_.call("get flags " + std::to_string(flags) + " path_fd " + std::to_string(path_fd),
                 uapi::BPF_OBJ_GET, get_attr, 20);
      get_attr.bpf_fd = map_;
      side_.call("get with a descriptor", uapi::BPF_OBJ_GET, get_attr, 20);
      files_.unlink(path);
    }

    for (const char* path : {"/m", "/d", "/link", "/none", "/d/m", ""})
      side_.note(std::string("status ") + path + " " + files_.status(root + path));
    note("rename onto itself", files_.rename(root + "/m", root + "/m"));
    note("rename to a dot", files_.rename(root + "/m", root + "/a.b"));
    note("rename onto a directory", files_.rename(root + "/m", root + "/d"));
    note("rename a directory onto a pin", files_.rename(root + "/d", root + "/m"));
    note("rename into itself", files_.rename(root + "/d", root + "/d/e"));
    note("rename nothing", files_.rename(root + "/none", root + "/x2"));
    note("rename", files_.rename(root + "/m", root + "/m2"));
    get("/m", 0);
    get("/m2", 0);
    note("rename onto a pin", files_.rename(root + "/m2", root + "/of_fd0"));
    note("rmdir full", files_.remove_directory(root + "/d"));
    note("rmdir a pin", files_.remove_directory(root + "/of_fd0"));
    note("rmdir none", files_.remove_directory(root + "/none"));
    note("rmdir dot", files_.remove_directory(root + "/d/."));
    note("rmdir dot dot", files_.remove_directory(root + "/d/.."));
    note("mkdir dot", files_.make_directory(root + "/x.y"));
    note("mkdir twice", files_.make_directory(root + "/d"));
    note("mkdir slash", files_.make_directory(root + "/e/"));
    note("unlink a directory", files_.unlink(root + "/d"));
    note("unlink none", files_.unlink(root + "/none"));
    for (const char* path :
         {"/of_fd0", "/of_fd1", "/d/m", "/d/y", "/d/z", "/x", "/slashes", "/link", "/out", "/loop"})
      note(std::string("unlink ") + path, files_.unlink(root + path));
    note("unlink long", files_.unlink(root + "/" + std::string(255, 'n')));
    note("rmdir", files_.remove_directory(root + "/d"));
    note("rmdir", files_.remove_directory(root + "/e"));
  }

 private:
  inline static const std::string root = "/sys/fs/bpf";

  void note(const std::string& what, long result) {
    side_.note(what + " = " + std::to_string(result));
  }
  void pin(const std::string& path, std::uint32_t fd) {
    const std::string whole = root + path;
    uapi::obj_attr attr{address_of(whole.c_str()), fd, 0, 0};
    side_.call("pin " + path.substr(0, 40), uapi::BPF_OBJ_PIN, attr, 20);
  }
  void get(const std::string& path, std::uint32_t flags) {
    const std::string whole = root + path;
    uapi::obj_attr attr{address_of(whole.c_str()), 0, flags, 0};
    const long fd =
        side_.call("get " + path + " flags " + std::to_string(flags), uapi::BPF_OBJ_GET, attr, 20);
    side_.close(fd);
  }

  Side& side_;
  FileSystem files_;
  std::uint32_t map_ = 0, read_only_ = 0, prog_ = 0;
  int count_ = 0;
};

TEST(DifferentialPins, EveryOperation) {
  SKEP_NEEDS_HOST();
  HostKernel host_kernel;
  SkepKernel skep_kernel;
  Side host(host_kernel, 1);
  Side skep(skep_kernel, 1);
  std::string unavailable;
  // A thread may have a mount namespace of its own; it ends with the thread.
  std::jthread([&] {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0) {
      unavailable = std::string("no bpffs can be mounted: ") + std::strerror(errno);
      return;
    }
    ::umask(022);
    PinScenario(host, host_file_system()).run();
  }).join();
  if (!unavailable.empty()) GTEST_SKIP() << unavailable;
  PinScenario(skep, skep_file_system(skep_kernel.syscalls().pins())).run();
  EXPECT_EQ(difference(host, skep), "");
}

}  // namespace
}  // namespace skep::testing
