// SPDX-License-Identifier: Apache-2.0
// The checked interpreter: runs decoded instructions and proves each memory access, helper argument
// and call when it happens. It is the reference for what programs mean and stays as the debugging
// engine.
//
// Guarantees
// G1  Whatever the instructions are, only these bytes are touched: frames of this run, the packet
// window, values that
//     helpers returned in this run, direct values of the program's maps, and the context through
//     `Context`.
// G2  A run ends after at most `ProgramEnvironment::instruction_budget` instructions.
// G3  No lock of a map value outlives the run.
#pragma once

#include "prog/code.hpp"
#include "prog/grants.hpp"
#include "prog/program.hpp"
#include "prog/run.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace skep {

class Interpreter final : public Run {
 public:
  Interpreter(Slot& slot, Context& context, const Program& program);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  /// Runs the program from its start. Once per object.
  Outcome run();
  /// What ended the run, if something did.
  std::optional<Fault>& fault() { return fault_; }

  void grant_value(const Map& map, std::byte* value) override;
  bool call_back(std::uint64_t callback, std::uint64_t r1, std::uint64_t r2, std::uint64_t r3,
                 std::uint64_t r4, std::uint64_t& result) override;
  void lend(const std::byte* begin, std::uint64_t bytes) override;
  void take_back() override;
  bool tail_call(const Program& target) override;
  const std::byte* readable(std::uint64_t address, std::uint64_t bytes) override;
  void lock(std::uint64_t address) override;
  void unlock(std::uint64_t address) override;

 private:
  enum class Access : std::uint8_t { read, write, update };  // update: both
  using Registers = std::array<std::uint64_t, uapi::MAX_BPF_REG>;

  /// Frames of one program, as on Linux; a program that a subprogram tail-calls has its own.
  static constexpr std::uint32_t max_program_frames = 8;
  /// Frames of all programs of a run: a tail call hands its frame on, so each adds seven at most.
  static constexpr std::uint32_t max_frames =
      max_program_frames + uapi::MAX_TAIL_CALL_CNT * (max_program_frames - 1);
  /// Each frame has 512 bytes of stack and as many beyond it that nobody may touch: an overrun hits
  /// those first.
  static constexpr std::uint32_t frame_stride = 2 * uapi::MAX_BPF_STACK;
  static constexpr std::uint64_t max_may_goto = 8U << 20;

  /// What a call puts aside.
  struct Frame {
    std::array<std::uint64_t, 4> saved;  // r6-r9 of the caller
    const Program* caller;
    std::uint32_t return_pc;
    std::uint32_t caller_frames;   // program_frames_ of the caller
    std::uint64_t may_goto_count;  // of this frame itself
  };

  /// Bytes shown to a running callback.
  struct Loan {
    std::uint64_t begin, bytes;
  };

  bool execute(std::uint32_t pc, Registers& r);
  bool call_helper(const Helper& helper, std::uint32_t pc, Registers& r);
  bool check_arguments(const Helper& helper, std::uint32_t pc, const Registers& r,
                       std::array<std::uint64_t, 5>& arguments);
  bool check_map_rights(const Helper& helper, const Map& map, std::uint32_t pc, std::uint8_t reg);
  const std::byte* private_key(const Map& map, std::uint64_t address);
  bool push_frame(std::uint32_t pc, const Registers& r);
  void pop_frame();
  void enter_frame();
  bool may_goto_jumps(std::uint64_t left);
  bool load_packet(const Instruction& i, std::uint32_t pc, Registers& r);

  bool in_context(std::uint64_t address) const {
    return address - context_address < program_->type().context_bytes();
  }
  std::uint64_t stack_begin() const { return reinterpret_cast<std::uint64_t>(stack_); }
  std::uint64_t frame_end() const {
    return stack_begin() + std::uint64_t{top_} * frame_stride + uapi::MAX_BPF_STACK;
  }
  void read_packet_window() {
    const Context::Window window = context_.packet();
    packet_begin_ = reinterpret_cast<std::uint64_t>(window.begin);
    packet_bytes_ = static_cast<std::uint64_t>(window.end - window.begin);
  }

  /// The memory at [address, address + bytes), or null if the program may not access it so.
  template <Access access>
  std::byte* memory(std::uint64_t address, std::uint64_t bytes) {
    const std::uint64_t in_stack = address - stack_begin();
    if (in_stack < std::uint64_t{top_ + 1} * frame_stride) {
      const std::uint64_t in_frame = in_stack % frame_stride;
      if (in_frame < uapi::MAX_BPF_STACK && bytes <= uapi::MAX_BPF_STACK - in_frame)
        return reinterpret_cast<std::byte*>(address);
      return nullptr;
    }
    const std::uint64_t in_packet = address - packet_begin_;
    if (in_packet < packet_bytes_ && bytes <= packet_bytes_ - in_packet)
      return reinterpret_cast<std::byte*>(address);
    return value_memory(address, bytes, access);
  }
  std::byte* value_memory(std::uint64_t address, std::uint64_t bytes, Access access);
  /// The value or memory of a helper that holds these bytes, or null.
  const Region* find_region(std::uint64_t address, std::uint64_t bytes);
  /// Memory for an atomic operation: aligned, and not in the packet.
  template <Access access>
  std::byte* atomic_memory(std::uint64_t address, std::uint64_t bytes) {
    if (address % bytes != 0 || address - packet_begin_ < packet_bytes_) return nullptr;
    return memory<access>(address, bytes);
  }

  template <class T, bool sign>
  bool load(std::uint64_t address, std::uint64_t& into);
  template <class T>
  bool store(std::uint64_t address, std::uint64_t value);

  [[gnu::cold, gnu::noinline]] bool fail(FaultKind kind, std::uint32_t pc, unsigned reg = 0,
                                         std::uint64_t bytes = 0, std::uint64_t address = 0,
                                         std::string_view why = {});
  [[gnu::cold, gnu::noinline]] bool fail_access(Access access, std::uint32_t pc, unsigned reg,
                                                std::uint64_t bytes, std::uint64_t address);
  /// The words for Fault::where.
  std::string describe_address(std::uint64_t address, std::uint64_t bytes) const;
  const Region* nearest_region(std::uint64_t address) const;
  bool stopped() const { return fault_.has_value() || ended_; }

  std::uint64_t packet_begin_ = 0, packet_bytes_ = 0;
  std::uint32_t top_ = 0;             // index of the active frame
  std::uint32_t program_frames_ = 1;  // frames of the active program
  std::uint32_t tail_calls_ = 0;
  std::uint32_t helper_pc_ = 0;       // the call that is being served
  std::uint64_t left_;                // instructions that may still run
  const Program* pending_ = nullptr;  // tail call asked for by the helper just run
  std::byte* lock_ = nullptr;         // the bpf_spin_lock held, if any
  bool ended_ = false;      // LD_ABS/LD_IND beyond the packet: the run is over with value 0
  std::uint32_t lent_ = 0;  // entries of loans_ in use
  std::array<Loan, max_frames> loans_;  // keys shown to callbacks that are running
  Grants grants_;
  std::optional<Fault> fault_;
  std::vector<std::byte> long_key_;  // a key beyond key_copy_, rare
  alignas(8) std::array<std::byte, 512> key_copy_;
  std::array<Frame, max_frames> frames_;
  // Not initialised: a frame's 512 bytes are zeroed when it is entered.
  alignas(16) std::byte stack_[std::size_t{max_frames} * frame_stride];
};

}  // namespace skep
