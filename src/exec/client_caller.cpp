// SPDX-License-Identifier: Apache-2.0
#include "exec/client_caller.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace skep::exec {
namespace {

/// What is read ahead or held back at most, in one piece.
constexpr std::size_t stretch_bytes = std::size_t{64} << 10;
/// Pieces held back at most: counters, cursors, keys and values.
constexpr std::size_t max_held_back = 6;

}  // namespace

Result<Ref<Object>> ClientCaller::object(int fd, ObjectKind kind, Access* access) {
  const Result<OwnedFd> copy = threads_.copy_descriptor(call_.thread, fd);
  if (!copy) return Errno{copy.error().code == EMFILE ? EMFILE : EBADF};
  return descriptors_.find(copy->get(), kind, access);
}

Result<int> ClientCaller::receive(int fd) {
  descriptor_ = OwnedFd(fd);
  return 0;
}

Result<void> ClientCaller::check_still_waiting() const {
  if (!listener_.is_waiting(call_.id)) return Errno{EFAULT};
  return ok();
}

Result<void> ClientCaller::read(std::uint64_t address, std::span<std::byte> into) {
  if (into.empty()) return ok();
  TRY(flush());  // the client's own order of things
  const bool is_first = reads_++ == 0;
  if (copying_ == Copying::streamed)
    TRY(read_ahead(address, into));
  else if (is_first)
    TRY(read_first(address, into));
  else
    TRY(read_guessed(address, into));
  // The first read is the attribute block. If the client still waits now, it was the client's own
  // and not that of a process which got its number. Where nothing but the client's memory changes,
  // the check before writing there is enough.
  if (is_first && effect_ == Effect::some) TRY(check_still_waiting());
  return ok();
}

Result<void> ClientCaller::read_first(std::uint64_t address, std::span<std::byte> into) {
  const ClientThreads::Habit& habit = threads_.habit(call_.thread);
  std::array<Piece, 3> pieces = {Piece{address, into}};
  for (std::size_t i = 0; i < guesses_.size(); ++i) {
    guesses_[i].address = habit.addresses[i];
    pieces[i + 1] = {habit.addresses[i], std::span(guesses_[i].bytes).first(habit.bytes[i])};
  }
  std::size_t bytes = TRY(read_pieces(call_.thread, pieces));
  if (bytes < into.size()) return Errno{EFAULT};
  bytes -= into.size();
  for (std::size_t i = 0; i < guesses_.size(); ++i) {
    guesses_[i].size = std::min<std::size_t>(bytes, habit.bytes[i]);
    bytes -= guesses_[i].size;
  }
  return ok();
}

Result<void> ClientCaller::read_guessed(std::uint64_t address, std::span<std::byte> into) {
  const std::size_t which = reads_ - 2;  // of the reads after the first
  if (which < guesses_.size()) {
    ClientThreads::Habit& habit = threads_.habit(call_.thread);
    habit.addresses[which] = address;
    habit.bytes[which] = into.size() <= guess_bytes ? static_cast<std::uint32_t>(into.size()) : 0;
    Guess& guess = guesses_[which];
    // Used once: a command that reads a place again wants to see what is there then.
    if (guess.address == address && into.size() <= std::exchange(guess.size, 0)) {
      std::memcpy(into.data(), guess.bytes.data(), into.size());
      return ok();
    }
  }
  return read_memory(call_.thread, address, into);
}

Result<void> ClientCaller::read_ahead(std::uint64_t address, std::span<std::byte> into) {
  for (const Stretch& stretch : read_ahead_) {
    if (address < stretch.address || address + into.size() > stretch.end()) continue;
    std::memcpy(into.data(), stretch.bytes.data() + (address - stretch.address), into.size());
    return ok();
  }
  // Reads that go on where one before ended are a walk through an array.
  for (std::size_t i = 0; i < read_ahead_.size(); ++i) {
    Stretch& stretch = read_ahead_[i];
    const bool goes_on =
        address == last_end_[i] ||
        (!stretch.bytes.empty() && address >= stretch.address && address <= stretch.end());
    if (!goes_on || into.size() > stretch_bytes) continue;
    stretch.address = address;
    stretch.bytes.resize(stretch_bytes);
    const auto bytes = read_some(call_.thread, address, stretch.bytes);
    stretch.bytes.resize(bytes ? *bytes : 0);
    if (!bytes) return bytes.error();
    if (stretch.bytes.size() < into.size()) return Errno{EFAULT};
    std::memcpy(into.data(), stretch.bytes.data(), into.size());
    return ok();
  }
  TRY(read_memory(call_.thread, address, into));
  last_end_[0] = std::exchange(last_end_[1], address + into.size());
  std::swap(read_ahead_[0], read_ahead_[1]);
  read_ahead_[1].bytes.clear();
  return ok();
}

Result<void> ClientCaller::write(std::uint64_t address, std::span<const std::byte> from) {
  if (from.empty()) return ok();
  if (copying_ == Copying::at_once || from.size() > stretch_bytes) {
    TRY(flush());
    // Not into a process that got the number of a client which was killed.
    TRY(check_still_waiting());
    return write_memory(call_.thread, address, from);
  }
  for (Stretch& stretch : held_back_) {
    if (stretch.end() != address || stretch.bytes.size() + from.size() > stretch_bytes) continue;
    stretch.bytes.insert(stretch.bytes.end(), from.begin(), from.end());
    return ok();
  }
  if (held_back_.size() == max_held_back) TRY(flush());
  held_back_.push_back({address, {from.begin(), from.end()}});
  held_back_.back().bytes.reserve(stretch_bytes);
  return ok();
}

Result<void> ClientCaller::flush() {
  if (held_back_.empty()) return ok();
  const std::vector<Stretch> stretches = std::exchange(held_back_, {});
  TRY(check_still_waiting());
  // In order, and nothing after a bad address: the counter that tells how much there is comes last.
  for (const Stretch& stretch : stretches)
    TRY(write_memory(call_.thread, stretch.address, stretch.bytes));
  return ok();
}

Result<PathBase> ClientCaller::path_base(int directory, OwnedFd& copy) {
  if (directory < 0) return PathBase{.thread = call_.thread, .directory = -1};
  Result<OwnedFd> copied = threads_.copy_descriptor(call_.thread, directory);
  if (!copied) return Errno{EBADF};
  copy = std::move(copied).take();
  return PathBase{.thread = call_.thread, .directory = copy.get()};
}

Result<void> ClientCaller::pin(std::string_view path, int directory, Ref<Object> object) {
  OwnedFd copy;
  const NamedPlace place = TRY(open_parent(TRY(path_base(directory, copy)), path));
  TRY(check_still_waiting());  // the path was followed through the client's own root
  if (place.name.empty()) return Errno{path.ends_with('/') ? ENOENT : EEXIST};
  return pins_->pin(place.directory.get(), place.name, std::move(object));
}

Result<Ref<Object>> ClientCaller::get(std::string_view path, int directory, Access access) {
  OwnedFd copy;
  const OwnedFd place = TRY(open_path(TRY(path_base(directory, copy)), path, LastLink::follow));
  TRY(check_still_waiting());
  return pins_->get(place.get(), access);
}

}  // namespace skep::exec
