// SPDX-License-Identifier: Apache-2.0
#include "prog/assembler_test_support.hpp"

#include <cctype>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace skep::testing {
namespace {

using namespace uapi;

/// Reads one line from left to right. A part that does not match leaves the position where it was.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool accept(std::string_view word) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool at_end() {
    skip_spaces();
    return at_ == text_.size();
  }
  std::optional<std::int64_t> number() {
    skip_spaces();
    const std::size_t start = at_;
    bool negative = false;
    if (peek() == '+' || peek() == '-') negative = text_[at_++] == '-';
    skip_spaces();
    std::uint64_t base = 10;
    if (text_.substr(at_).starts_with("0x")) {
      base = 16;
      at_ += 2;
    }
    std::uint64_t value = 0;
    const std::size_t first = at_;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      std::uint64_t digit;
      if (c >= '0' && c <= '9')
        digit = static_cast<std::uint64_t>(c - '0');
      else if (base == 16 && c >= 'a' && c <= 'f')
        digit = static_cast<std::uint64_t>(c - 'a' + 10);
      else
        break;
      value = value * base + digit;
    }
    if (at_ == first) {
      at_ = start;
      return std::nullopt;
    }
    return static_cast<std::int64_t>(negative ? 0 - value : value);
  }
  /// "r3" or "w3"; `narrow` is set for the second.
  std::optional<std::uint8_t> reg(bool* narrow = nullptr) {
    skip_spaces();
    const char kind = peek();
    if ((kind != 'r' && kind != 'w') || at_ + 1 >= text_.size() ||
        std::isdigit(static_cast<unsigned char>(text_[at_ + 1])) == 0)
      return std::nullopt;
    ++at_;
    if (narrow != nullptr) *narrow = kind == 'w';
    return static_cast<std::uint8_t>(*number());
  }
  std::string name() {
    skip_spaces();
    const std::size_t start = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_'))
      ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_spaces() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

struct Memory {
  std::uint8_t size;
  bool is_signed;
  std::uint8_t base;
  std::int16_t off;
};

class Assembler {
 public:
  Assembled run(std::string_view text) {
    while (!text.empty() && result_.error.empty()) {
      const std::size_t end = std::min(text.find_first_of("\n;"), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(text.size(), end + 1));
      line = line.substr(0, line.find("//"));
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      if (!statement(line)) result_.error = "cannot assemble '" + std::string(line) + "'";
    }
    if (result_.error.empty()) link();
    return std::move(result_);
  }

 private:
  void emit(unsigned code, unsigned dst, unsigned src, std::int64_t off, std::int64_t imm) {
    bpf_insn insn{};
    insn.code = static_cast<std::uint8_t>(code);
    insn.dst_reg = dst & 15U;
    insn.src_reg = src & 15U;
    insn.off = static_cast<std::int16_t>(off);
    insn.imm = static_cast<std::int32_t>(imm);
    result_.instructions.push_back(insn);
  }
  void emit_wide(unsigned dst, unsigned src, std::uint64_t low, std::uint64_t high) {
    emit(BPF_LD | BPF_DW | BPF_IMM, dst, src, 0, static_cast<std::int64_t>(low));
    emit(0, 0, 0, 0, static_cast<std::int64_t>(high));
  }

  bool statement(std::string_view line) {
    Scanner s(line);
    {
      Scanner label = s;
      const std::string name = label.name();
      if (!name.empty() && label.accept(":")) {
        labels_[name] = result_.instructions.size();
        if (label.at_end()) return true;
        s = label;
      }
    }
    if (s.accept(".raw")) return raw(s);
    if (s.accept("exit")) {
      emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
      return s.at_end();
    }
    if (s.accept("call")) return call(s);
    if (s.accept("gotol")) return jump(s, BPF_JMP32 | BPF_JA, 0, 0, 0);
    if (s.accept("goto")) return jump(s, BPF_JMP | BPF_JA, 0, 0, 0);
    if (s.accept("may_goto")) return jump(s, BPF_JMP | BPF_JCOND, 0, 0, 0);
    if (s.accept("if")) return conditional(s);
    if (s.accept("lock")) return locked(s);
    if (s.accept("store_release(")) return store_release(s);
    if (s.accept("*(")) return store(s);
    return assignment(s);
  }

  bool raw(Scanner& s) {
    std::int64_t part[5];
    for (std::int64_t& value : part) {
      const auto number = s.number();
      if (!number) return false;
      value = *number;
    }
    emit(static_cast<unsigned>(part[0]), static_cast<unsigned>(part[1]),
         static_cast<unsigned>(part[2]), part[3], part[4]);
    return s.at_end();
  }

  bool call(Scanner& s) {
    if (s.accept("@")) {
      fixups_.push_back({result_.instructions.size(), s.name(), true});
      emit(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
      return s.at_end();
    }
    if (s.accept("pc")) {
      const auto offset = s.number();
      emit(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, offset.value_or(0));
      return offset && s.at_end();
    }
    if (s.accept("kfunc#")) {
      const auto id = s.number();
      emit(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, id.value_or(0));
      return id && s.at_end();
    }
    Scanner named = s;
    if (!named.name().empty() && named.accept("#")) s = named;
    const auto id = s.number();
    emit(BPF_JMP | BPF_CALL, 0, 0, 0, id.value_or(0));
    return id && s.at_end();
  }

  bool jump(Scanner& s, unsigned code, unsigned dst, unsigned src, std::int64_t imm) {
    const bool far = code == (BPF_JMP32 | BPF_JA);
    s.accept("pc");
    if (const auto offset = s.number()) {
      if (far)
        emit(code, dst, src, 0, *offset);
      else
        emit(code, dst, src, *offset, imm);
      return s.at_end();
    }
    fixups_.push_back({result_.instructions.size(), s.name(), far});
    emit(code, dst, src, 0, imm);
    return s.at_end();
  }

  bool conditional(Scanner& s) {
    bool narrow = false;
    const auto dst = s.reg(&narrow);
    if (!dst) return false;
    // Longer spellings first.
    static constexpr std::pair<std::string_view, unsigned> comparisons[] = {
        {"s>=", BPF_JSGE}, {"s<=", BPF_JSLE}, {"s>", BPF_JSGT}, {"s<", BPF_JSLT},
        {"==", BPF_JEQ},   {"!=", BPF_JNE},   {">=", BPF_JGE},  {"<=", BPF_JLE},
        {">", BPF_JGT},    {"<", BPF_JLT},    {"&", BPF_JSET}};
    for (const auto& [text, operation] : comparisons) {
      if (!s.accept(text)) continue;
      const unsigned klass = narrow ? BPF_JMP32 : BPF_JMP;
      const auto src = s.reg();
      const auto imm = src ? std::optional<std::int64_t>(0) : s.number();
      if (!imm || !s.accept("goto")) return false;
      return jump(s, klass | operation | (src ? BPF_X : BPF_K), *dst, src.value_or(0), *imm);
    }
    return false;
  }

  /// "u32 *)(r10 - 4)", after the first parenthesis.
  std::optional<Memory> memory(Scanner& s) {
    Memory m{};
    m.is_signed = s.accept("s");
    if (!m.is_signed && !s.accept("u")) return std::nullopt;
    const auto bits = s.number();
    if (!bits) return std::nullopt;
    switch (*bits) {
      case 8:
        m.size = BPF_B;
        break;
      case 16:
        m.size = BPF_H;
        break;
      case 32:
        m.size = BPF_W;
        break;
      case 64:
        m.size = BPF_DW;
        break;
      default:
        return std::nullopt;
    }
    if (!s.accept("*") || !s.accept(")")) return std::nullopt;
    if (!s.accept("(")) return std::nullopt;
    const auto base = s.reg();
    if (!base) return std::nullopt;
    m.base = *base;
    m.off = static_cast<std::int16_t>(s.number().value_or(0));
    return s.accept(")") ? std::optional(m) : std::nullopt;
  }

  bool store(Scanner& s) {
    const auto m = memory(s);
    if (!m || !s.accept("=")) return false;
    if (const auto src = s.reg()) {
      emit(BPF_STX | BPF_MEM | m->size, m->base, *src, m->off, 0);
      return s.at_end();
    }
    const auto imm = s.number();
    emit(BPF_ST | BPF_MEM | m->size, m->base, 0, m->off, imm.value_or(0));
    return imm && s.at_end();
  }

  bool locked(Scanner& s) {
    if (!s.accept("*(")) return false;
    s.accept("(");
    const auto m = memory(s);
    if (!m) return false;
    static constexpr std::pair<std::string_view, unsigned> operations[] = {
        {"+=", BPF_ADD}, {"|=", BPF_OR}, {"&=", BPF_AND}, {"^=", BPF_XOR}};
    for (const auto& [text, operation] : operations) {
      if (!s.accept(text)) continue;
      const auto src = s.reg();
      emit(BPF_STX | BPF_ATOMIC | m->size, m->base, src.value_or(0), m->off, operation);
      return src && s.at_end();
    }
    return false;
  }

  bool store_release(Scanner& s) {
    if (!s.accept("(")) return false;
    const auto m = memory(s);
    if (!m || !s.accept(",")) return false;
    const auto src = s.reg();
    emit(BPF_STX | BPF_ATOMIC | m->size, m->base, src.value_or(0), m->off, BPF_STORE_REL);
    return src && s.accept(")") && s.at_end();
  }

  bool atomic(Scanner& s) {
    static constexpr std::pair<std::string_view, std::int32_t> operations[] = {
        {"_fetch_add", BPF_ADD | BPF_FETCH},
        {"_fetch_or", BPF_OR | BPF_FETCH},
        {"_fetch_and", BPF_AND | BPF_FETCH},
        {"_fetch_xor", BPF_XOR | BPF_FETCH},
        {"_xchg", BPF_XCHG},
        {"_cmpxchg", BPF_CMPXCHG}};
    s.accept("64");
    for (const auto& [text, operation] : operations) {
      if (!s.accept(text)) continue;
      if (!s.accept("((")) return false;
      const auto m = memory(s);
      if (!m || !s.accept(",")) return false;
      if (operation == BPF_CMPXCHG && (!s.reg() || !s.accept(","))) return false;
      const auto src = s.reg();
      emit(BPF_STX | BPF_ATOMIC | m->size, m->base, src.value_or(0), m->off, operation);
      return src && s.accept(")") && s.at_end();
    }
    return false;
  }

  bool packet_load(Scanner& s, std::uint8_t size) {
    if (const auto src = s.reg()) {
      emit(BPF_LD | BPF_IND | size, 0, *src, 0, s.number().value_or(0));
    } else {
      const auto offset = s.number();
      if (!offset) return false;
      emit(BPF_LD | BPF_ABS | size, 0, 0, 0, *offset);
    }
    return s.accept("]") && s.at_end();
  }

  bool map_load(Scanner& s, std::uint8_t dst, unsigned plain, unsigned value) {
    const auto fd = s.number();
    if (!fd) return false;
    const auto offset = s.number();
    emit_wide(dst, offset ? value : plain, static_cast<std::uint64_t>(*fd),
              static_cast<std::uint64_t>(offset.value_or(0)));
    return s.at_end();
  }

  bool move(Scanner& s, std::uint8_t dst, bool narrow) {
    const unsigned klass = narrow ? BPF_ALU : BPF_ALU64;
    if (s.accept("*(")) {
      Scanner packet = s;
      if (packet.accept("u")) {
        const auto bits = packet.number();
        if (packet.accept("*)") && packet.accept("skb["))
          return packet_load(packet, bits == 8 ? BPF_B : bits == 16 ? BPF_H : BPF_W);
      }
      const auto m = memory(s);
      if (!m) return false;
      emit(BPF_LDX | (m->is_signed ? BPF_MEMSX : BPF_MEM) | m->size, dst, m->base, m->off, 0);
      return s.at_end();
    }
    if (s.accept("(s")) {
      const auto bits = s.number();
      if (!bits || !s.accept(")")) return false;
      const auto src = s.reg();
      emit(klass | BPF_MOV | BPF_X, dst, src.value_or(0), *bits, 0);
      return src && s.at_end();
    }
    if (s.accept("atomic")) return atomic(s);
    if (s.accept("load_acquire((")) {
      const auto m = memory(s);
      if (!m) return false;
      emit(BPF_STX | BPF_ATOMIC | m->size, dst, m->base, m->off, BPF_LOAD_ACQ);
      return s.accept(")") && s.at_end();
    }
    if (s.accept("map_idx")) return map_load(s, dst, BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE);
    if (s.accept("map")) return map_load(s, dst, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE);
    if (s.accept("func")) {
      fixups_.push_back({result_.instructions.size(), s.name(), true});
      emit_wide(dst, BPF_PSEUDO_FUNC, 0, 0);
      return s.at_end();
    }
    static constexpr std::pair<std::string_view, unsigned> orders[] = {
        {"bswap", BPF_ALU64 | BPF_TO_LE}, {"be", BPF_ALU | BPF_TO_BE}, {"le", BPF_ALU | BPF_TO_LE}};
    for (const auto& [text, code] : orders) {
      if (!s.accept(text)) continue;
      const auto bits = s.number();
      emit(code | BPF_END, dst, 0, 0, bits.value_or(0));
      return bits && s.reg() == dst && s.at_end();
    }
    {
      Scanner negation = s;
      if (negation.accept("-") && negation.reg() == dst) {
        emit(klass | BPF_NEG, dst, 0, 0, 0);
        return negation.at_end();
      }
    }
    if (const auto src = s.reg()) {
      emit(klass | BPF_MOV | BPF_X, dst, *src, 0, 0);
      return s.at_end();
    }
    const auto imm = s.number();
    if (!imm) return false;
    if (s.accept("ll")) {
      const auto value = static_cast<std::uint64_t>(*imm);
      emit_wide(dst, 0, value & 0xffff'ffff, value >> 32);
    } else {
      emit(klass | BPF_MOV | BPF_K, dst, 0, 0, *imm);
    }
    return s.at_end();
  }

  bool assignment(Scanner& s) {
    bool narrow = false;
    const auto dst = s.reg(&narrow);
    if (!dst) return false;
    if (s.accept("=")) return move(s, *dst, narrow);
    struct Operation {
      std::string_view text;
      unsigned code;
      int off;
    };
    static constexpr Operation operations[] = {
        {"s>>=", BPF_ARSH, 0}, {"s/=", BPF_DIV, 1}, {"s%=", BPF_MOD, 1}, {"<<=", BPF_LSH, 0},
        {">>=", BPF_RSH, 0},   {"+=", BPF_ADD, 0},  {"-=", BPF_SUB, 0},  {"*=", BPF_MUL, 0},
        {"/=", BPF_DIV, 0},    {"|=", BPF_OR, 0},   {"&=", BPF_AND, 0},  {"%=", BPF_MOD, 0},
        {"^=", BPF_XOR, 0}};
    for (const Operation& operation : operations) {
      if (!s.accept(operation.text)) continue;
      const unsigned code = (narrow ? BPF_ALU : BPF_ALU64) | operation.code;
      if (const auto src = s.reg()) {
        emit(code | BPF_X, *dst, *src, operation.off, 0);
        return s.at_end();
      }
      const auto imm = s.number();
      emit(code | BPF_K, *dst, 0, operation.off, imm.value_or(0));
      return imm && s.at_end();
    }
    return false;
  }

  void link() {
    for (const auto& [at, label, in_imm] : fixups_) {
      const auto target = labels_.find(label);
      if (target == labels_.end()) {
        result_.error = "no label '" + label + "'";
        return;
      }
      const auto offset =
          static_cast<std::int64_t>(target->second) - static_cast<std::int64_t>(at) - 1;
      bpf_insn& insn = result_.instructions[at];
      if (in_imm)
        insn.imm = static_cast<std::int32_t>(offset);
      else
        insn.off = static_cast<std::int16_t>(offset);
    }
  }

  struct Fixup {
    std::size_t at;
    std::string label;
    bool in_imm;
  };
  Assembled result_;
  std::map<std::string, std::size_t> labels_;
  std::vector<Fixup> fixups_;
};

}  // namespace

Assembled assemble(std::string_view text) { return Assembler().run(text); }

}  // namespace skep::testing
