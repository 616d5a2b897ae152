// SPDX-License-Identifier: Apache-2.0
// An object compiled by clang, opened and loaded by libbpf: relocations, CO-RE, global data,
// BTF-defined maps, static and global subprograms are its work; the bpf(2) calls it makes are
// served by skep through the seam.
#pragma once

#include "loader/seam.hpp"
#include "object/caller.hpp"
#include "result/result.hpp"
#include "syscall/commands.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// Why an object was refused, for people.
struct LoadProblem {
  std::string message;  // one sentence, names the object
  std::string hint;     // or empty
  std::string log;      // the verifier's log of the program that failed, or empty
};

class ObjectFile {
 public:
  struct ProgramEntry {
    std::string name, section;
    std::uint32_t type = 0;  // bpf_prog_type; 0 if libbpf does not know the section
    std::uint32_t expected_attach_type = 0;
    bool is_optional = false;     // SEC("?…"): loaded only if asked for
    std::string skipped_because;  // empty if it is (to be) loaded
    int fd = -1;                  // after load(); owned by this object
  };
  struct MapEntry {
    std::string name;
    std::uint32_t type = 0;
    int fd = -1;  // after load(); owned by this object
  };

  /// Reads and parses `path`. Errors: ENOENT, EACCES …, EISDIR, EINVAL (not a BPF object of this
  /// machine's byte order, or one with maps and no BTF).
  static Result<std::unique_ptr<ObjectFile>> open(const std::string& path, LoadProblem& problem);
  ~ObjectFile();

  const std::string& path() const { return path_; }
  const std::vector<ProgramEntry>& programs() const { return programs_; }
  const std::vector<MapEntry>& maps() const { return maps_; }

  /// Sets a global variable before load(): `section` is ".data", ".rodata", ".bss" or their dotted
  /// kin, `value` is typed by the object's BTF. Errors: ENOENT (section or variable), EINVAL
  /// (value), ENOTSUPP (no BTF).
  Result<void> set_global(std::string_view section, std::string_view variable,
                          std::string_view value, LoadProblem& problem);

  /// Gives a map another capacity than the object says. Before load(). Errors: ENOENT (no such
  /// map), EINVAL (0).
  Result<void> set_max_entries(std::string_view map, std::uint32_t max_entries,
                               LoadProblem& problem);

  /// Has the optional program of that name, SEC("?…"), loaded as well. Before load(); other names
  /// are left alone.
  void want(std::string_view program);

  /// Creates the maps and loads the programs into `syscalls` in the name of `caller`; programs of
  /// types that `program_types` lacks are skipped. Errors: those of MAP_CREATE, BTF_LOAD and
  /// PROG_LOAD. Call once.
  Result<void> load(Syscalls& syscalls, Caller& caller, const ProgramTypes& program_types,
                    const MapTypes& map_types, LoadProblem& problem);

  /// The same into the host's kernel. Errors: as the kernel answers.
  Result<void> load_into_host(LoadProblem& problem);

 private:
  struct Handle;  // libbpf's object
  ObjectFile(std::string path, std::unique_ptr<Handle> handle);
  Result<void> finish_load(int result, const SeamMessages& messages, LoadProblem& problem);

  const std::string path_;
  std::unique_ptr<Handle> handle_;
  std::vector<ProgramEntry> programs_;
  std::vector<MapEntry> maps_;
};

}  // namespace skep
