// SPDX-License-Identifier: Apache-2.0
#include "cli/run_command.hpp"

#include "cli/map_arguments.hpp"
#include "cli/report.hpp"
#include "cli/words.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <skep/runtime.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::cli {
namespace {

struct Options {
  std::string object;
  std::vector<std::string> ports, attachments, maps, map_files;
  std::string out_dir;
  std::string clock = "virtual";
  unsigned cpus = 1;
  std::uint64_t seed = 1;
  unsigned repeat = 1;
  std::uint64_t instruction_budget = RuntimeOptions{}.instruction_budget;
  bool dump_maps = false, json = false, log = false;
};

/// Takes `NAME=REST` apart; `shape` says what it is for `option`.
std::pair<std::string, std::string> split(const std::string& text, std::string_view option,
                                          std::string_view shape, const char* hint) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Misuse{fmt::format("{} {}: is not {}", option, text, shape), hint};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::pair<std::string, std::string> split_attachment(const std::string& text) {
  return split(text, "--xdp", "PORT=PROGRAM",
               "write --xdp PORT=PROGRAM, for example --xdp eth0=forward");
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

/// Programs that can be attached to a port: XDP, but not those for map entries.
std::vector<std::string> attachable(const LoadedObject& object) {
  std::vector<std::string> names;
  for (const ProgramSummary& program : object.programs()) {
    if (program.loaded && program.type == "xdp" && !program.section.starts_with("xdp/devmap") &&
        !program.section.starts_with("xdp/cpumap") &&
        !program.section.starts_with("xdp.frags/devmap") &&
        !program.section.starts_with("xdp.frags/cpumap")) {
      names.push_back(program.name);
    }
  }
  return names;
}

/// XDP programs that are loaded only if an --xdp names them.
std::vector<std::string> optional_programs(const LoadedObject& object) {
  std::vector<std::string> names;
  for (const ProgramSummary& program : object.programs())
    if (program.optional && program.type == "xdp") names.push_back(program.name);
  return names;
}

class RunCommand {
 public:
  explicit RunCommand(const Options& options) : options_(options) {}

  int execute() {
    collect_assignments();
    Runtime runtime = take(Runtime::make(
        {.cpus = options_.cpus,
         .clock = options_.clock == "real" ? ClockKind::real_time : ClockKind::virtual_time,
         .seed = options_.seed,
         .instruction_budget = options_.instruction_budget}));
    if (options_.ports.empty())
      throw Misuse{
          "no port: nothing to receive packets from",
          "add --port NAME=KIND, for example --port in0=pcap:capture.pcap --port out0=null"};
    LoadOptions load;
    for (const MapAssignment& entry : assignments_)
      if (entry.is_global()) load.globals.push_back({entry.map, entry.key, entry.value});
    for (const std::string& text : options_.attachments)
      load.programs.push_back(split_attachment(text).second);
    const LoadedObject object = take(runtime.load_object(options_.object, load));
    for (const ProgramSummary& program : object.programs())
      if (!program.loaded && !program.optional)
        fmt::print(stderr, "skep: note: program {} is not loaded: {}\n", program.name,
                   program.skipped_because);
    add_ports(runtime);  // after the object: ports empty their output files
    attach(runtime, object);
    for (const MapAssignment& entry : assignments_)
      if (!entry.is_global())
        take(runtime.set_map_entry(object, entry.map, entry.key, entry.value));

    Report report{.run = take(runtime.run({.repeat = options_.repeat})), .maps = {}};
    if (options_.dump_maps) dump_maps(runtime, object, report);
    const std::string text = options_.json ? as_json(report) : as_text(report);
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      throw Refusal{{.code = errno,
                     .message = fmt::format("the report cannot be written: {} ({})",
                                            std::strerror(errno), strerrorname_np(errno)),
                     .hint = {},
                     .log = {}}};

    int code = done;
    for (const PortReport& port : report.run.ports) {
      // One sentence a line, or the hint to the one before.
      std::istringstream lines(port.error);
      for (std::string line; std::getline(lines, line); code = refused) {
        if (line.starts_with("hint: ")) {
          fmt::print(stderr, "{}\n", line);
        } else {
          say(fmt::format("port {}: {}", port.name, line), {});
        }
      }
    }
    return code;
  }

 private:
  void collect_assignments() {
    for (const std::string& file : options_.map_files)
      for (MapAssignment& entry : parse_map_file(file)) assignments_.push_back(std::move(entry));
    for (const std::string& text : options_.maps) assignments_.push_back(parse_map_argument(text));
  }

  void add_ports(Runtime& runtime) {
    if (!options_.out_dir.empty()) {
      std::error_code error;
      std::filesystem::create_directories(options_.out_dir, error);
      if (error)
        throw Refusal{{.code = error.value(),
                       .message = fmt::format("--out {}: cannot be made: {} ({})", options_.out_dir,
                                              error.message(), strerrorname_np(error.value())),
                       .hint = "choose a directory that you may write",
                       .log = {}}};
    }
    for (const std::string& text : options_.ports) {
      auto [name, spec] =
          split(text, "--port", "NAME=KIND",
                "write --port NAME=KIND[:ARGS], for example --port eth0=pcap:in.pcap");
      ports_.push_back(name);
      take(runtime.add_port({.name = name, .spec = spec, .out_dir = options_.out_dir}));
    }
  }

  void attach(Runtime& runtime, const LoadedObject& object) {
    if (!options_.attachments.empty()) {
      for (const std::string& text : options_.attachments) {
        const auto [port, program] = split_attachment(text);
        take(runtime.attach_xdp(port, object, program));
      }
      return;
    }
    const std::vector<std::string> names = attachable(object);
    if (names.empty()) {
      const std::vector<std::string> optional = optional_programs(object);
      throw Misuse{fmt::format("{}: has no XDP program to attach", options_.object),
                   optional.empty()
                       ? std::string("put it into SEC(\"xdp\")")
                       : fmt::format("add --xdp PORT=PROGRAM; the optional programs are {}",
                                     joined(optional))};
    }
    if (names.size() > 1)
      throw Misuse{fmt::format("{}: has {} XDP programs: say which runs where", options_.object,
                               names.size()),
                   fmt::format("add --xdp PORT=PROGRAM; the programs are {}", joined(names))};
    for (const std::string& port : ports_) take(runtime.attach_xdp(port, object, names.front()));
  }

  void dump_maps(const Runtime& runtime, const LoadedObject& object, Report& report) {
    for (const MapSummary& map : object.maps()) {
      MapContent content{.map = map, .entries = {}, .error = {}};
      if (auto entries = runtime.dump_map(object, map.name)) {
        content.entries = std::move(*entries);
      } else {
        content.error = entries.error().message;
      }
      report.maps.push_back(std::move(content));
    }
  }

  const Options& options_;
  std::vector<std::string> ports_;
  std::vector<MapAssignment> assignments_;
};

}  // namespace

std::function<int()> add_run_command(CLI::App& app, CLI::App*& command) {
  auto options = std::make_shared<Options>();
  command = app.add_subcommand("run", "Send packets through the XDP programs of an object");
  command->add_option("object", options->object, "object compiled with clang -target bpf")
      ->required();
  command->add_option("--port", options->ports, "NAME=KIND[:ARGS]: pcap, null or gen")
      ->allow_extra_args(false);
  command
      ->add_option(
          "--xdp", options->attachments,
          "PORT=PROGRAM: what runs where; may be left out if the object has one XDP program")
      ->allow_extra_args(false);
  command
      ->add_option("--map", options->maps,
                   "NAME[KEY]=VALUE, typed by BTF; .rodata[VARIABLE]=VALUE sets a global")
      ->allow_extra_args(false);
  command->add_option("--map-file", options->map_files, "entries from a JSON file")
      ->allow_extra_args(false);
  command->add_option("--out", options->out_dir, "directory for PORT.out.pcap and PORT.host.pcap");
  command->add_option("--cpus", options->cpus, "possible CPUs that programs see")
      ->check(CLI::Range(1U, 256U));
  command->add_option("--seed", options->seed, "seed of hash tables and random numbers")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{0x7fff'ffff'ffff'ffff}));
  command
      ->add_option("--clock", options->clock,
                   "virtual: time follows the packets, reproducible; real: as fast as it goes")
      ->check(CLI::IsMember({"virtual", "real"}));
  command->add_option("--repeat", options->repeat, "how often the input is played")
      ->check(CLI::Range(1U, 1'000'000'000U));
  command
      ->add_option("--budget", options->instruction_budget,
                   "instructions that one run of a program may take")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000'000}));
  command->add_flag("--dump-maps", options->dump_maps, "list all maps after the run");
  command->add_flag("--json", options->json, "print one JSON document instead of tables");
  command->add_flag("--log", options->log,
                    "print the verifier's full log when a program is refused");
  return [options] {
    try {
      return RunCommand(*options).execute();
    } catch (Refusal& refusal) {
      if (options->log && !refusal.error.log.empty()) fmt::print(stderr, "{}", refusal.error.log);
      throw;
    }
  };
}

}  // namespace skep::cli
