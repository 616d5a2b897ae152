// SPDX-License-Identifier: Apache-2.0
#include "cli/map_arguments.hpp"

#include "cli/words.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace skep::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* argument_hint =
    "write --map 'NAME[KEY]=VALUE', for example --map 'ports[0]=lan1' or --map "
    "'vips[{address=10.0.0.1,port=80}]={id=1}'";

/// Lists and objects inside each other. Values of types are not as deep, and are written out
/// recursively.
constexpr int max_json_depth = 64;

/// Position of the bracket that closes the one at `open`, or npos.
std::size_t closing_bracket(std::string_view text, std::size_t open) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = open; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
      continue;
    }
    if (c == '"') quoted = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') {
      if (--depth == 0) return c == ']' ? i : std::string_view::npos;
    }
  }
  return std::string_view::npos;
}

/// Words of the typed text form that need no quotes.
bool is_plain(const std::string& text) {
  return !text.empty() && text.find_first_of(" ,={}[]\"\\\t\n") == std::string::npos;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

/// JSON in the words that BTF-typed values are written in.
std::string to_text(const Json& json) {
  std::string out;
  switch (json.type()) {
    case Json::value_t::object:
      for (const auto& [field, value] : json.items())
        out += fmt::format("{}{}={}", out.empty() ? "" : ",", field, to_text(value));
      return "{" + out + "}";
    case Json::value_t::array:
      for (const auto& value : json) out += (out.empty() ? "" : ",") + to_text(value);
      return "[" + out + "]";
    case Json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      return is_plain(text) ? text : quoted(text);
    }
    default:
      return json.dump();  // numbers, true, false; null is refused as a value by its type
  }
}

}  // namespace

MapAssignment parse_map_argument(std::string_view text) {
  const std::size_t open = text.find('[');
  if (open == std::string_view::npos || open == 0)
    throw Misuse{fmt::format("--map {}: has no NAME[KEY]", text), argument_hint};
  const std::size_t close = closing_bracket(text, open);
  if (close == std::string_view::npos)
    throw Misuse{fmt::format("--map {}: the key's brackets do not close", text), argument_hint};
  if (close + 1 >= text.size() || text[close + 1] != '=')
    throw Misuse{fmt::format("--map {}: no = after the key", text), argument_hint};
  return {.map = std::string(text.substr(0, open)),
          .key = std::string(text.substr(open + 1, close - open - 1)),
          .value = std::string(text.substr(close + 2))};
}

std::vector<MapAssignment> parse_map_json(std::string_view text, const std::string& name) {
  constexpr const char* shape =
      R"(write {"MAP": [{"key": KEY, "value": VALUE}, …], …}; docs/maps.md has examples)";
  std::set<std::string> maps;
  const auto check = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    if (depth > max_json_depth)
      throw Misuse{fmt::format("{}: nested deeper than {}", name, max_json_depth), shape};
    if (depth == 1 && event == Json::parse_event_t::key && !maps.insert(parsed).second)
      throw Misuse{fmt::format("{}: {}: is there twice", name, parsed.get<std::string>()), shape};
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, check);
  } catch (const Json::parse_error& error) {
    throw Misuse{fmt::format("{}: byte {}: not JSON", name, error.byte), shape};
  } catch (const Json::out_of_range&) {
    throw Misuse{fmt::format("{}: a number is out of range", name), shape};
  }
  if (!json.is_object()) throw Misuse{fmt::format("{}: is not an object of maps", name), shape};
  std::vector<MapAssignment> out;
  for (const auto& [map, entries] : json.items()) {
    if (!entries.is_array())
      throw Misuse{fmt::format("{}: {}: is not a list of entries", name, map), shape};
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Json& entry = entries[i];
      if (!entry.is_object() || !entry.contains("key") || !entry.contains("value") ||
          entry.size() != 2)
        throw Misuse{
            fmt::format("{}: {}: entry {} is not {{\"key\": …, \"value\": …}}", name, map, i),
            shape};
      out.push_back({.map = map, .key = to_text(entry["key"]), .value = to_text(entry["value"])});
    }
  }
  return out;
}

std::vector<MapAssignment> parse_map_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  int error = file ? 0 : errno;
  // A directory opens as a file does, and throws when it is read.
  if (file && std::filesystem::is_directory(path)) error = EISDIR;
  if (error != 0)
    throw Misuse{fmt::format("--map-file {}: cannot be read: {} ({})", path, std::strerror(error),
                             strerrorname_np(error)),
                 "check the path"};
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_map_json(text, path);
}

}  // namespace skep::cli
