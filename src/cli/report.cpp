// SPDX-License-Identifier: Apache-2.0
#include "cli/report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace skep::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Columns of text; the first is left-aligned, the others right-aligned, a last one of words
/// left-aligned again.
class Table {
 public:
  explicit Table(std::vector<std::string> head, bool last_is_words)
      : rows_{std::move(head)}, last_is_words_(last_is_words) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  std::string text() const {
    std::vector<std::size_t> widths(rows_[0].size());
    for (const auto& row : rows_)
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    std::string out;
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        const bool words = i == 0 || (last_is_words_ && i + 1 == row.size());
        line += i == 0 ? "" : "  ";
        line += words ? fmt::format("{:<{}}", row[i], widths[i])
                      : fmt::format("{:>{}}", row[i], widths[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
  bool last_is_words_;
};

std::string number(std::uint64_t n) { return fmt::format("{}", n); }

std::string counts(const std::vector<NamedCount>& list) {
  std::string out;
  for (const NamedCount& entry : list)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", entry.name, entry.count);
  return out;
}

Json counts_json(const std::vector<NamedCount>& list) {
  Json out = Json::object();
  for (const NamedCount& entry : list) out[entry.name] = entry.count;
  return out;
}

std::string ports_text(const RunReport& run) {
  Table table({"port", "received", "passed", "dropped", "aborted", "redirected", "transmitted",
               "redirected to"},
              true);
  std::string notes;
  for (const PortReport& port : run.ports) {
    table.add({port.name, number(port.received), number(port.passed), number(port.dropped),
               number(port.aborted), number(port.redirected), number(port.transmitted),
               counts(port.redirected_to)});
    if (!port.drops.empty()) notes += fmt::format("  {}: {}\n", port.name, counts(port.drops));
  }
  std::string out = table.text();
  if (!notes.empty()) out += "\ndrop reasons\n" + notes;
  return out;
}

std::string programs_text(const RunReport& run) {
  Table table({"program", "port", "runs", "faults", "ns/packet"}, false);
  std::string faults;
  for (const ProgramReport& program : run.programs) {
    table.add({program.name, program.port, number(program.runs), number(program.faults),
               program.ns_per_packet ? fmt::format("{:.1f}", *program.ns_per_packet) : "-"});
    if (!program.last_fault.empty())
      faults += fmt::format("  {}: last fault: {}\n", program.name, program.last_fault);
  }
  return table.text() + faults;
}

std::string map_text(const MapContent& content) {
  const bool array = content.map.type == "array" || content.map.type == "percpu_array";
  std::size_t zero = 0;
  std::string lines;
  for (const MapEntry& entry : content.entries) {
    if (array && entry.zero) {
      ++zero;
      continue;
    }
    lines += fmt::format("  {}: {}\n", entry.key, entry.value);
  }
  std::string out = fmt::format("map {} ({}, {} of {} entries)\n", content.map.name,
                                content.map.type, content.entries.size(), content.map.max_entries);
  out += lines;
  if (zero != 0) out += fmt::format("  {} more {} zero\n", zero, zero == 1 ? "is" : "are");
  if (!content.error.empty()) out += fmt::format("  {}\n", content.error);
  return out;
}

/// JSON text that the library made: it is valid by construction of the BTF printer, and checked
/// here all the same.
Json parsed(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(text) : json;
}

}  // namespace

std::string as_text(const Report& report) {
  std::string out = ports_text(report.run);
  if (!report.run.programs.empty()) out += "\n" + programs_text(report.run);
  for (const MapContent& map : report.maps) out += "\n" + map_text(map);
  if (!report.run.trace.empty() || report.run.trace_lost != 0) {
    out += "\ntrace\n";
    for (const std::string& line : report.run.trace) out += fmt::format("  {}\n", line);
    if (report.run.trace_lost != 0)
      out += fmt::format("  {} more lines were lost\n", report.run.trace_lost);
  }
  return out;
}

std::string as_json(const Report& report) {
  Json ports = Json::array();
  for (const PortReport& port : report.run.ports) {
    Json json = {{"name", port.name},
                 {"kind", port.kind},
                 {"ifindex", port.ifindex},
                 {"received", port.received},
                 {"received_bytes", port.received_bytes},
                 {"passed", port.passed},
                 {"dropped", port.dropped},
                 {"aborted", port.aborted},
                 {"redirected", port.redirected},
                 {"transmitted", port.transmitted},
                 {"transmitted_bytes", port.transmitted_bytes},
                 {"xdp_tx", port.xdp_tx},
                 {"redirected_to", counts_json(port.redirected_to)},
                 {"drop_reasons", counts_json(port.drops)}};
    if (!port.error.empty()) json["error"] = port.error;
    ports.push_back(std::move(json));
  }
  Json programs = Json::array();
  for (const ProgramReport& program : report.run.programs) {
    Json json = {{"name", program.name},
                 {"port", program.port},
                 {"id", program.id},
                 {"runs", program.runs},
                 {"faults", program.faults}};
    json["ns_per_packet"] = program.ns_per_packet ? Json(*program.ns_per_packet) : Json(nullptr);
    if (!program.last_fault.empty()) json["last_fault"] = program.last_fault;
    programs.push_back(std::move(json));
  }
  Json document = {{"frames", report.run.frames},
                   {"seconds", report.run.seconds},
                   {"ports", std::move(ports)},
                   {"programs", std::move(programs)}};
  if (!report.maps.empty()) {
    Json maps = Json::array();
    for (const MapContent& content : report.maps) {
      Json entries = Json::array();
      for (const MapEntry& entry : content.entries)
        entries.push_back({{"key", parsed(entry.key_json)}, {"value", parsed(entry.value_json)}});
      Json json = {{"name", content.map.name},
                   {"type", content.map.type},
                   {"id", content.map.id},
                   {"max_entries", content.map.max_entries},
                   {"entries", std::move(entries)}};
      if (!content.error.empty()) json["error"] = content.error;
      maps.push_back(std::move(json));
    }
    document["maps"] = std::move(maps);
  }
  document["trace"] = report.run.trace;
  document["trace_lost"] = report.run.trace_lost;
  // Strings of programs and file names may be no UTF-8; what is not is replaced.
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace skep::cli
