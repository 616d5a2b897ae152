// SPDX-License-Identifier: Apache-2.0
#include "loader/object_file.hpp"

#include "btf/btf.hpp"
#include "btf/text.hpp"
#include "loader/btf_references.hpp"
#include "object/budget.hpp"
#include "rcu/rcu.hpp"
#include "result/errno_name.hpp"
#include "result/log.hpp"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

namespace skep {
namespace {

constexpr std::string_view compile_hint =
    "compile it with: clang -O2 -g -target bpf -c PROGRAM.bpf.c -o PROGRAM.bpf.o";
constexpr std::size_t kernel_log_bytes = 1U << 20;
constexpr std::uint64_t btf_budget_bytes = 64U << 20;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return text;
}

std::string_view last_line(std::string_view text) {
  text = trimmed(text);
  const std::size_t newline = text.rfind('\n');
  return newline == std::string_view::npos ? text : text.substr(newline + 1);
}

/// The line of a verifier log that gives the reason: the last one before the counters.
std::string_view reason_line(std::string_view log) {
  std::string_view rest = trimmed(log);
  while (last_line(rest).starts_with("processed ")) {
    const std::size_t newline = rest.rfind('\n');
    if (newline == std::string_view::npos) return {};
    rest = trimmed(rest.substr(0, newline));
  }
  return last_line(rest);
}

/// libbpf writes `prog 'NAME': …` about the program that failed.
std::string_view failed_program(std::string_view warnings) {
  const std::size_t at = warnings.find("prog '");
  if (at == std::string_view::npos) return {};
  const std::string_view name = warnings.substr(at + 6);
  return name.substr(0, name.find('\''));
}

/// libbpf writes `map 'NAME': failed to create: …` about a map that was refused, after it has tried
/// once more without BTF.
std::string_view failed_map(std::string_view warnings) {
  const std::size_t end = warnings.find("': failed to create: ");
  if (end == std::string_view::npos) return {};
  const std::size_t quote = warnings.substr(0, end).rfind('\'');
  return quote == std::string_view::npos ? std::string_view()
                                         : warnings.substr(quote + 1, end - quote - 1);
}

std::string_view words(int error) {
  if (error == ENOTSUPP) return "not supported";
  return std::strerror(error);  // the messages live as long as the process for known numbers
}

/// Stands behind what objects need and in front of the references to them: objects are destroyed
/// after a grace period, on another thread.
struct GraceAtEnd {
  ~GraceAtEnd() { rcu::barrier(); }
};

/// libbpf has error numbers of its own, from 4000 on: an object that it cannot make sense of.
int system_errno(int error) { return error == 0 || error >= 4000 ? EINVAL : error; }

/// The errno with which the file at `path` cannot be read; 0 if it can.
int why_unreadable(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return errno;
  struct stat status{};
  const int error = ::fstat(fd, &status) != 0 ? errno : S_ISDIR(status.st_mode) ? EISDIR : 0;
  ::close(fd);
  return error;
}

}  // namespace

struct ObjectFile::Handle {
  ~Handle() { bpf_object__close(object); }
  bpf_object* object = nullptr;
  std::string log =
      std::string(kernel_log_bytes, '\0');  // where libbpf has the verifier's words put
};

ObjectFile::ObjectFile(std::string path, std::unique_ptr<Handle> handle)
    : path_(std::move(path)), handle_(std::move(handle)) {
  bpf_program* program;
  bpf_object__for_each_program(program, handle_->object) {
    programs_.push_back({.name = bpf_program__name(program),
                         .section = bpf_program__section_name(program),
                         .type = static_cast<std::uint32_t>(bpf_program__type(program)),
                         .expected_attach_type =
                             static_cast<std::uint32_t>(bpf_program__expected_attach_type(program)),
                         .is_optional = !bpf_program__autoload(program),
                         .skipped_because = {},
                         .fd = -1});
    if (programs_.back().is_optional)
      programs_.back().skipped_because = "it is optional, SEC(\"?…\"), and nobody asked for it";
  }
  bpf_map* map;
  bpf_object__for_each_map(map, handle_->object) {
    maps_.push_back({.name = bpf_map__name(map),
                     .type = static_cast<std::uint32_t>(bpf_map__type(map)),
                     .fd = -1});
  }
}

ObjectFile::~ObjectFile() = default;

Result<std::unique_ptr<ObjectFile>> ObjectFile::open(const std::string& path,
                                                     LoadProblem& problem) {
  // Looked at here, because libbpf has no words for a file that cannot be read.
  if (const int error = why_unreadable(path); error != 0) {
    problem.message =
        fmt::format("{}: cannot be read: {} ({})", path, words(error), errno_name(error));
    problem.hint = "give the path of an object that clang -target bpf made";
    return Errno{error};
  }
  SeamMessages messages;
  const Seam seam(messages);
  if (const std::string why = bad_btf_reference(path); !why.empty()) {
    problem.message =
        fmt::format("{}: damaged type information: {} ({})", path, why, errno_name(EINVAL));
    problem.hint = std::string(compile_hint);
    return Errno{EINVAL};
  }
  messages = {};  // what libbpf said of the BTF it says again
  auto handle = std::make_unique<Handle>();
  LIBBPF_OPTS(bpf_object_open_opts, options, .kernel_log_buf = handle->log.data(),
              .kernel_log_size = handle->log.size());
  handle->object = bpf_object__open_file(path.c_str(), &options);
  if (handle->object == nullptr) {
    const int error = system_errno(errno);
    const std::string_view said = last_line(messages.warnings);
    problem.message = fmt::format("{}: cannot be opened as a BPF object: {} ({})", path,
                                  said.empty() ? "it is damaged" : said, errno_name(error));
    problem.hint = std::string(compile_hint);
    return Errno{error};
  }
  return std::unique_ptr<ObjectFile>(new ObjectFile(path, std::move(handle)));
}

Result<void> ObjectFile::set_global(std::string_view section, std::string_view variable,
                                    std::string_view value, LoadProblem& problem) {
  const auto refuse = [&](int error, std::string message, std::string hint = {}) -> Result<void> {
    problem = {.message = fmt::format("{}: {} ({})", path_, message, errno_name(error)),
               .hint = std::move(hint),
               .log = {}};
    return Errno{error};
  };
  bpf_map* found = nullptr;
  bpf_map* map;
  bpf_object__for_each_map(map, handle_->object) {
    // libbpf prefixes the plain sections with the object's name: "forward.rodata".
    if (bpf_map__is_internal(map) && std::string_view(bpf_map__name(map)).ends_with(section))
      found = map;
  }
  if (found == nullptr)
    return refuse(ENOENT, fmt::format("no section {} with global variables", section),
                  "declare one: `const volatile __u32 limit = 10;` stands in .rodata");
  const btf* const types = bpf_object__btf(handle_->object);
  if (types == nullptr)
    return refuse(ENOTSUPP, "the object has no type information", "compile it with -g");
  std::uint32_t blob_bytes = 0;
  const void* const blob = btf__raw_data(types, &blob_bytes);
  Budget budget(btf_budget_bytes);
  const GraceAtEnd grace;
  Log log;
  auto parsed = Btf::parse({static_cast<const std::byte*>(blob), blob_bytes}, budget, log);
  if (!parsed) return refuse(parsed.error().code, fmt::format("type information: {}", log.text()));
  const Btf& btf = **parsed;

  const std::optional<std::uint32_t> datasec = btf.find(section, BtfKind::data_section);
  if (!datasec) return refuse(ENOENT, fmt::format("no type information for section {}", section));
  std::size_t image_bytes = 0;
  auto* const image =
      static_cast<std::byte*>(const_cast<void*>(bpf_map__initial_value(found, &image_bytes)));
  std::string known;
  for (const BtfVariable entry : btf.type(*datasec).variables()) {
    const BtfType var = btf.type(entry.type);
    if (var.name() != variable) {
      known += (known.empty() ? "" : ", ");
      known += var.name();
      continue;
    }
    if (image == nullptr || entry.offset > image_bytes || entry.bytes > image_bytes - entry.offset)
      return refuse(EINVAL,
                    fmt::format("variable {} lies outside of section {}", variable, section));
    std::string why;
    auto written = parse_value(btf, var.target(), value, {image + entry.offset, entry.bytes}, why);
    if (!written)
      return refuse(written.error().code, fmt::format("{}[{}]: {}", section, variable, why));
    return ok();
  }
  return refuse(ENOENT, fmt::format("section {} has no variable {}", section, variable),
                fmt::format("its variables are: {}", known));
}

Result<void> ObjectFile::set_max_entries(std::string_view name, std::uint32_t max_entries,
                                         LoadProblem& problem) {
  const auto refuse = [&](int error, std::string_view why) -> Result<void> {
    problem = {.message = fmt::format("{}: map {}: {} ({})", path_, name, why, errno_name(error)),
               .hint = {},
               .log = {}};
    return Errno{error};
  };
  if (max_entries == 0) return refuse(EINVAL, "a capacity of 0 entries");
  bpf_map* map;
  bpf_object__for_each_map(map, handle_->object) {
    if (bpf_map__name(map) != name) continue;
    const int result = bpf_map__set_max_entries(map, max_entries);
    if (result != 0) return refuse(system_errno(-result), "cannot be resized");
    return ok();
  }
  return refuse(ENOENT, "there is none of that name");
}

void ObjectFile::want(std::string_view name) {
  std::size_t index = 0;
  bpf_program* program;
  bpf_object__for_each_program(program, handle_->object) {
    ProgramEntry& entry = programs_[index++];
    if (!entry.is_optional || entry.name != name) continue;
    entry.skipped_because.clear();
    bpf_program__set_autoload(program, true);
  }
}

Result<void> ObjectFile::load(Syscalls& syscalls, Caller& caller, const ProgramTypes& program_types,
                              const MapTypes& map_types, LoadProblem& problem) {
  for (const MapEntry& map : maps_) {
    if (map_types.find(map.type) != nullptr) continue;
    const char* const type = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(map.type));
    problem.message = fmt::format("{}: map {}: skep does not have maps of type {} yet ({})", path_,
                                  map.name, type != nullptr ? type : "unknown", errno_name(EINVAL));
    problem.hint = "docs/parity.md lists the map types that work";
    return Errno{EINVAL};
  }
  std::size_t index = 0;
  bpf_program* program;
  bpf_object__for_each_program(program, handle_->object) {
    ProgramEntry& entry = programs_[index++];
    if (program_types.find(entry.type) == nullptr) {
      const char* const type = libbpf_bpf_prog_type_str(static_cast<bpf_prog_type>(entry.type));
      entry.skipped_because = entry.type == 0
                                  ? fmt::format("section {} is not known", entry.section)
                                  : fmt::format("skep does not have programs of type {} yet",
                                                type != nullptr ? type : "unknown");
      bpf_program__set_autoload(program, false);
    }
  }
  SeamMessages messages;
  const Seam seam(syscalls, caller, messages);
  return finish_load(bpf_object__load(handle_->object), messages, problem);
}

Result<void> ObjectFile::load_into_host(LoadProblem& problem) {
  SeamMessages messages;
  const Seam seam(messages);
  return finish_load(bpf_object__load(handle_->object), messages, problem);
}

Result<void> ObjectFile::finish_load(int result, const SeamMessages& messages,
                                     LoadProblem& problem) {
  if (result != 0) {
    const int error = system_errno(-result);
    problem.log = handle_->log.c_str();
    const std::string_view program = failed_program(messages.warnings);
    const std::string_view reason = reason_line(problem.log);
    if (!program.empty() && !reason.empty()) {
      problem.message =
          fmt::format("{}: program {}: {} ({})", path_, program, reason, errno_name(error));
    } else if (const std::string_view refused = failed_map(messages.warnings); !refused.empty()) {
      problem.message = fmt::format("{}: map {}: cannot be created: {} ({})", path_, refused,
                                    words(error), errno_name(error));
      if (error == ENOMEM) problem.hint = "it needs more memory than the runtime may use";
    } else {
      // libbpf's first warning is about the step that failed, the later ones about what it gave up
      // for it.
      const std::string_view first =
          trimmed(std::string_view(messages.warnings).substr(0, messages.warnings.find('\n')));
      problem.message = fmt::format("{}: {} ({})", path_, first.empty() ? words(error) : first,
                                    errno_name(error));
    }
    return Errno{error};
  }
  std::size_t index = 0;
  bpf_program* loaded;
  bpf_object__for_each_program(loaded, handle_->object) {
    ProgramEntry& entry = programs_[index++];
    if (entry.skipped_because.empty()) entry.fd = bpf_program__fd(loaded);
  }
  index = 0;
  bpf_map* map;
  bpf_object__for_each_map(map, handle_->object) maps_[index++].fd = bpf_map__fd(map);
  return ok();
}

}  // namespace skep
