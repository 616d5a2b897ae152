// SPDX-License-Identifier: Apache-2.0
#include "net/port/port_spec.hpp"

#include "net/device.hpp"
#include "net/port/gen_port.hpp"
#include "net/port/null_port.hpp"
#include "net/port/pcap_port.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace skep {
namespace {

/// One of the ARGS.
struct Argument {
  std::string key;                   // empty: a bare word
  std::optional<std::string> value;  // the word itself if bare; none for a flag
  std::string text() const {
    if (key.empty()) return value.value_or("");
    return value ? key + "=" + *value : key;
  }
};

/// A word or value up to the next comma, quotes taken off. Moves `text` behind it. Null if a quote
/// is not closed.
std::optional<std::string> take_word(std::string_view& text) {
  std::string word;
  bool quoted = false;
  while (!text.empty() && (quoted || text.front() != ',')) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted && c == '\\' && !text.empty()) {
      word += text.front();
      text.remove_prefix(1);
    } else {
      word += c;
    }
  }
  if (quoted) return std::nullopt;
  return word;
}

/// Splits ARGS. A word without '=' is bare; what it means is for the kind to say.
Result<std::vector<Argument>> split(std::string_view text, std::string& why) {
  std::vector<Argument> arguments;
  while (!text.empty()) {
    Argument argument;
    const std::size_t key_end = text.find_first_of("=,\"");
    if (key_end != std::string_view::npos && text[key_end] == '=') {
      argument.key = text.substr(0, key_end);
      text.remove_prefix(key_end + 1);
      if (argument.key.empty()) {
        why = "an option without a name before \"=\"";
        return Errno{EINVAL};
      }
    }
    argument.value = take_word(text);
    if (!argument.value) {
      why = "a quote is not closed\nhint: write \"…\" around a path with commas";
      return Errno{EINVAL};
    }
    arguments.push_back(std::move(argument));
    if (!text.empty()) {
      text.remove_prefix(1);  // the comma
      if (text.empty())
        arguments.emplace_back(Argument{.key = {}, .value = ""});  // a trailing one: refused below
    }
  }
  return arguments;
}

/// A decimal number with k, M or G behind it.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t scale = 1;
  if (!text.empty()) {
    if (text.back() == 'k') scale = 1'000;
    if (text.back() == 'M') scale = 1'000'000;
    if (text.back() == 'G') scale = 1'000'000'000;
    if (scale != 1) text.remove_suffix(1);
  }
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (number > std::numeric_limits<std::uint64_t>::max() / scale) return std::nullopt;
  return number * scale;
}

/// Sets `field` from a number that fits its type; otherwise gives the reason.
template <class Number>
std::string set_number(Number& field, const std::string& value) {
  const auto number = parse_number(value);
  if (!number || *number > std::numeric_limits<Number>::max())
    return fmt::format("must be a number up to {}", std::numeric_limits<Number>::max());
  field = static_cast<Number>(*number);
  return {};
}

/// A path, or `none`.
std::string set_path(std::string& field, const std::string& value) {
  if (value.empty()) return "must be a path, or none";
  field = value == "none" ? std::string() : value;
  return {};
}

/// How one option changes the options of its kind. `set` returns the reason why it cannot, or
/// nothing.
template <class Options>
struct Option {
  std::string_view name;
  std::string (*set)(Options& options, const std::string& value);
  bool is_flag = false;
};

constexpr std::array<Option<PcapOptions>, 5> pcap_options = {{
    {"in",
     [](PcapOptions& o, const std::string& v) -> std::string {
       if (v.empty()) return "must be a path";
       if (!o.in.empty()) return "the input is already " + o.in;
       o.in = v;
       return {};
     }},
    {"out", [](PcapOptions& o, const std::string& v) { return set_path(o.out, v); }},
    {"host", [](PcapOptions& o, const std::string& v) { return set_path(o.host, v); }},
    {"queues", [](PcapOptions& o, const std::string& v) { return set_number(o.queues, v); }},
    {"snaplen", [](PcapOptions& o, const std::string& v) { return set_number(o.snaplen, v); }},
}};

struct NullOptions {
  std::uint32_t queues;
};
constexpr std::array<Option<NullOptions>, 1> null_options = {{
    {"queues", [](NullOptions& o, const std::string& v) { return set_number(o.queues, v); }},
}};

constexpr std::array<Option<GenOptions>, 9> gen_options = {{
    {"flows", [](GenOptions& o, const std::string& v) { return set_number(o.flows, v); }},
    {"frames", [](GenOptions& o, const std::string& v) { return set_number(o.frames, v); }},
    {"bytes",
     [](GenOptions& o, const std::string& v) { return set_number(o.frame_bytes.emplace(), v); }},
    {"rate", [](GenOptions& o, const std::string& v) { return set_number(o.rate, v); }},
    {"proto",
     [](GenOptions& o, const std::string& v) -> std::string {
       if (v != "udp" && v != "tcp") return "must be udp or tcp";
       o.proto = v == "udp" ? GenProto::udp : GenProto::tcp;
       return {};
     }},
    {"ipv6",
     [](GenOptions& o, const std::string&) -> std::string {
       o.ip = IpVersion::v6;
       return {};
     },
     true},
    {"vlan", [](GenOptions& o, const std::string& v) { return set_number(o.vlan.emplace(), v); }},
    {"queues", [](GenOptions& o, const std::string& v) { return set_number(o.queues, v); }},
    {"seed", [](GenOptions& o, const std::string& v) { return set_number(o.seed, v); }},
}};

template <class Options>
std::string names_of(std::span<const Option<Options>> known) {
  std::string names;
  for (const Option<Options>& option : known)
    names +=
        fmt::format("{}{}{}", names.empty() ? "" : ", ", option.name, option.is_flag ? "" : "=");
  return names;
}

/// Applies `arguments` to `options`. A bare word that is no flag is for `bare`, which returns false
/// if it has no use for it.
template <class Options, class Bare>
Result<void> apply(std::span<const Argument> arguments, std::span<const Option<Options>> known,
                   Options& options, std::string& why, Bare&& bare) {
  for (const Argument& argument : arguments) {
    const bool is_word = argument.key.empty();
    const std::string& name = is_word ? *argument.value : argument.key;
    const Option<Options>* option = nullptr;
    for (const Option<Options>& candidate : known)
      if (candidate.name == name && candidate.is_flag == is_word) option = &candidate;
    if (option == nullptr) {
      if (is_word && bare(name)) continue;
      why = fmt::format("unknown option \"{}\"\nhint: options are {}", argument.text(),
                        names_of(known));
      return Errno{EINVAL};
    }
    std::string reason = option->set(options, *argument.value);
    if (!reason.empty()) {
      why = fmt::format("{}: {}", argument.text(), reason);
      return Errno{EINVAL};
    }
  }
  return ok();
}

Result<std::unique_ptr<Port>> make_pcap(std::span<const Argument> arguments,
                                        const PortContext& context, std::string& why) {
  PcapOptions options = {.queues = context.queues};
  if (!context.out_dir.empty()) {
    options.out = fmt::format("{}/{}.out.pcap", context.out_dir, context.name);
    options.host = fmt::format("{}/{}.host.pcap", context.out_dir, context.name);
  }
  const auto take_input = [&](const std::string& word) {
    if (&word != &*arguments.front().value || word.empty()) return false;  // only the first one
    options.in = word;
    return true;
  };
  TRY(apply<PcapOptions>(arguments, pcap_options, options, why, take_input));
  return TRY(PcapPort::open(options, context.pool, why));
}

Result<std::unique_ptr<Port>> make_null(std::span<const Argument> arguments,
                                        const PortContext& context, std::string& why) {
  NullOptions options = {.queues = context.queues};
  TRY(apply<NullOptions>(arguments, null_options, options, why,
                         [](const std::string&) { return false; }));
  if (options.queues == 0 || options.queues > PcapPort::max_queues) {
    why = fmt::format("queues={}: must be 1 … {}", options.queues, PcapPort::max_queues);
    return Errno{EINVAL};
  }
  return std::make_unique<NullPort>(options.queues);
}

Result<std::unique_ptr<Port>> make_gen(std::span<const Argument> arguments,
                                       const PortContext& context, std::string& why) {
  GenOptions options = {.queues = context.queues, .seed = context.seed};
  TRY(apply<GenOptions>(arguments, gen_options, options, why,
                        [](const std::string&) { return false; }));
  return TRY(GenPort::make(options, context.pool, why));
}

}  // namespace

Result<std::unique_ptr<Port>> make_port(std::string_view spec, const PortContext& context,
                                        std::string& why) {
  // The name becomes part of file names.
  if (!NetNamespace::is_valid_name(context.name)) {
    why = fmt::format(
        "\"{}\" is no name for a port\nhint: use up to 15 characters without '/', ':' and blanks",
        context.name);
    return Errno{EINVAL};
  }
  const std::size_t colon = spec.find(':');
  const std::string_view kind = spec.substr(0, colon);
  const std::string_view text =
      colon == std::string_view::npos ? std::string_view() : spec.substr(colon + 1);
  if (kind != "pcap" && kind != "null" && kind != "gen") {
    why = fmt::format("unknown kind \"{}\"\nhint: kinds are pcap, null and gen", kind);
    return Errno{EINVAL};
  }
  const std::vector<Argument> arguments = TRY(split(text, why));
  if (kind == "pcap") return make_pcap(arguments, context, why);
  if (kind == "null") return make_null(arguments, context, why);
  return make_gen(arguments, context, why);
}

}  // namespace skep
