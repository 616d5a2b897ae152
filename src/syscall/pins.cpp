// SPDX-License-Identifier: Apache-2.0
#include "syscall/pins.hpp"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

namespace skep {
namespace {

constexpr std::size_t max_path_bytes = 4096;  // with the NUL
constexpr std::size_t max_name_bytes = 255;
constexpr int max_links = 40;

/// The names between the slashes; doubled slashes and "." say nothing.
std::deque<std::string> split(std::string_view path) {
  std::deque<std::string> names;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (!name.empty() && name != ".") names.emplace_back(name);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return names;
}

/// Whether the last name can only be a directory: "a/" and "a/.".
bool ends_in_slash(std::string_view path) { return path.ends_with('/') || path.ends_with("/."); }

bool ends_in_parent(std::string_view path) { return path.ends_with("/.."); }

}  // namespace

struct Pins::Node {
  PinKind kind;
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint64_t inode;
  Node* parent = nullptr;                                 // null: the root, or not placed
  std::map<std::string, std::unique_ptr<Node>> children;  // directory
  std::string target;                                     // symlink
  UserRef object;                                         // object

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  // One node after the other: a client may have made a tree deeper than our stack.
  ~Node() {
    std::vector<std::unique_ptr<Node>> pending;
    take_children(pending);
    while (!pending.empty()) {
      const std::unique_ptr<Node> node = std::move(pending.back());
      pending.pop_back();
      node->take_children(pending);
    }
  }

  void take_children(std::vector<std::unique_ptr<Node>>& into) {
    for (auto& [name, node] : children) into.push_back(std::move(node));
    children.clear();
  }

  Node* child(const std::string& name) const {
    const auto found = children.find(name);
    return found == children.end() ? nullptr : found->second.get();
  }
};

/// Where a path leads. Outside of the file system `directory` is null.
struct Pins::Place {
  Node* directory = nullptr;  // that holds the last name; the node itself if it is the root or was
                              // reached by ".."
  std::string name;           // the last name; empty if `directory` is the place itself
  Node* node = nullptr;       // null: the name is free

  bool is_outside() const { return directory == nullptr; }
};

struct Pins::State {
  std::deque<std::string> mount;  // the names that lead to the root
  std::unique_ptr<Node> root;
  std::uint64_t last_inode = 1;

  std::unique_ptr<Node> make(PinKind kind, std::uint32_t mode, std::uint32_t uid) {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->mode = mode;
    node->uid = uid;
    node->inode = ++last_inode;
    return node;
  }
};

struct Pins::Tree {
  Locked<State, LockRank::pins> state;
};

Pins::Pins(std::string_view mount) : tree_(std::make_unique<Tree>()) {
  tree_->state.with([&](State& state) {
    state.mount = split(mount);
    state.root = state.make(PinKind::directory, 01777, 0);
  });
}

Pins::~Pins() = default;

/// Errors: the common ones; a missing last name is none.
Result<Pins::Place> Pins::walk(const State& state, std::string_view path, Follow last) {
  if (path.empty()) return Errno{ENOENT};
  if (path.size() >= max_path_bytes) return Errno{ENAMETOOLONG};
  if (path.front() != '/') return Place{};  // relative to a directory of the machine: outside

  std::deque<std::string> names = split(path);
  bool must_be_directory = ends_in_slash(path);
  std::deque<std::string> outside;  // names of the machine's file system walked so far
  Node* here = nullptr;             // null while outside
  int links = 0;
  // Bound: each turn takes a name, and links add names at most `max_links` times.
  while (true) {
    if (here == nullptr && outside == state.mount) here = state.root.get();
    if (names.empty()) break;
    std::string name = std::move(names.front());
    names.pop_front();
    if (name.size() > max_name_bytes) return Errno{ENAMETOOLONG};

    if (name == "..") {
      if (here == state.root.get() || here == nullptr) {
        here = nullptr;
        if (!outside.empty()) outside.pop_back();
      } else {
        here = here->parent;
      }
      continue;
    }
    if (here == nullptr) {
      outside.push_back(std::move(name));
      continue;
    }

    Node* const next = here->child(name);
    const bool is_last = names.empty();
    if (next == nullptr) {
      if (!is_last) return Errno{ENOENT};
      return Place{here, std::move(name), nullptr};
    }
    if (next->kind == PinKind::symlink && (!is_last || must_be_directory || last == Follow::yes)) {
      if (++links > max_links) return Errno{ELOOP};
      if (ends_in_slash(next->target)) must_be_directory |= is_last;
      const std::deque<std::string> target = split(next->target);
      names.insert(names.begin(), target.begin(), target.end());
      if (next->target.starts_with('/')) {
        here = nullptr;
        outside.clear();
      }
      continue;
    }
    if (next->kind == PinKind::directory) {
      if (is_last) return Place{here, std::move(name), next};
      here = next;
      continue;
    }
    if (!is_last || must_be_directory) return Errno{ENOTDIR};
    return Place{here, std::move(name), next};
  }
  if (here == nullptr) return Place{};
  return Place{here, "", here};
}

/// The place for a node that is to be made. Errors: EEXIST, EPERM (a dot in the name; outside), the
/// common ones.
Result<Pins::Place> Pins::place_for_new(const State& state, std::string_view path) {
  Place place = TRY(walk(state, path, Follow::no));
  if (ends_in_parent(path)) return Errno{EEXIST};
  if (place.is_outside()) return Errno{EPERM};
  if (place.node != nullptr) return Errno{EEXIST};
  if (place.name.find('.') != std::string::npos) return Errno{EPERM};
  return place;
}

bool Pins::covers(std::string_view path) const {
  return tree_->state.with([&](const State& state) {
    const std::deque<std::string> names = split(path);
    // By the text where nothing else is known: a missing directory inside is still inside.
    const Result<Place> place = walk(state, path, Follow::yes);
    if (place) return !place->is_outside();
    return path.starts_with('/') && names.size() >= state.mount.size() &&
           std::equal(state.mount.begin(), state.mount.end(), names.begin());
  });
}

Result<void> Pins::pin(std::string_view path, Ref<Object> object, std::uint32_t uid) {
  return tree_->state.with([&](State& state) -> Result<void> {
    Place place = TRY(place_for_new(state, path));
    if (ends_in_slash(path)) return Errno{ENOENT};  // only a directory could be made there
    auto node = state.make(PinKind::object, 0600, uid);
    node->object = UserRef(std::move(object));
    node->parent = place.directory;
    place.directory->children.emplace(std::move(place.name), std::move(node));
    return ok();
  });
}

Result<Ref<Object>> Pins::get(std::string_view path, std::uint32_t uid) const {
  return tree_->state.with([&](const State& state) -> Result<Ref<Object>> {
    const Place place = TRY(walk(state, path, Follow::yes));
    if (place.node == nullptr) return Errno{ENOENT};
    if (place.node->kind != PinKind::object) return Errno{EACCES};
    if (uid != 0 && uid != place.node->uid) return Errno{EACCES};
    return place.node->object.object();
  });
}

Result<void> Pins::mkdir(std::string_view path, std::uint32_t mode, std::uint32_t uid) {
  return tree_->state.with([&](State& state) -> Result<void> {
    Place place = TRY(place_for_new(state, path));
    auto node = state.make(PinKind::directory, mode & 01777, uid);
    node->parent = place.directory;
    place.directory->children.emplace(std::move(place.name), std::move(node));
    return ok();
  });
}

void Pins::clear() {
  std::map<std::string, std::unique_ptr<Node>> removed;  // dies outside of the lock
  tree_->state.with([&](State& state) { removed.swap(state.root->children); });
}

Result<void> Pins::unlink(std::string_view path) {
  std::unique_ptr<Node>
      removed;  // dies outside of the lock: a last user may run code of its object
  return tree_->state.with([&](State& state) -> Result<void> {
    const Place place = TRY(walk(state, path, Follow::no));
    if (place.node == nullptr) return Errno{ENOENT};
    if (place.node->kind == PinKind::directory) return Errno{EISDIR};
    const auto found = place.directory->children.find(place.name);
    removed = std::move(found->second);
    place.directory->children.erase(found);
    return ok();
  });
}

Result<void> Pins::rmdir(std::string_view path) {
  return tree_->state.with([&](State& state) -> Result<void> {
    const Place place = TRY(walk(state, path, Follow::no));
    if (path.ends_with("/.")) return Errno{EINVAL};
    if (ends_in_parent(path)) return Errno{ENOTEMPTY};
    if (place.node == nullptr) return Errno{ENOENT};
    if (place.node == state.root.get()) return Errno{EBUSY};
    if (place.node->kind != PinKind::directory) return Errno{ENOTDIR};
    if (!place.node->children.empty()) return Errno{ENOTEMPTY};
    place.directory->children.erase(place.name);
    return ok();
  });
}

Result<void> Pins::rename(std::string_view from, std::string_view to) {
  std::unique_ptr<Node> replaced;  // dies outside of the lock
  return tree_->state.with([&](State& state) -> Result<void> {
    const Place source = TRY(walk(state, from, Follow::no));
    Place target = TRY(walk(state, to, Follow::no));
    if (source.is_outside() && target.is_outside()) return Errno{ENOENT};
    if (source.is_outside() || target.is_outside()) return Errno{EXDEV};
    if (source.name.empty() || target.name.empty()) return Errno{EBUSY};
    if (source.node == nullptr) return Errno{ENOENT};
    const bool moves_directory = source.node->kind == PinKind::directory;
    if (!moves_directory && (ends_in_slash(from) || ends_in_slash(to))) return Errno{ENOTDIR};
    for (const Node* node = target.directory; node != nullptr; node = node->parent)
      if (node == source.node) return Errno{EINVAL};
    if (target.node == source.node) return ok();
    if (target.node != nullptr) {
      const bool onto_directory = target.node->kind == PinKind::directory;
      if (onto_directory && !moves_directory) return Errno{EISDIR};
      if (!onto_directory && moves_directory) return Errno{ENOTDIR};
      if (!target.node->children.empty()) return Errno{ENOTEMPTY};
    } else if (target.name.find('.') != std::string::npos) {
      return Errno{EPERM};
    }

    const auto found = source.directory->children.find(source.name);
    std::unique_ptr<Node> moved = std::move(found->second);
    source.directory->children.erase(found);
    moved->parent = target.directory;
    replaced = std::exchange(target.directory->children[target.name], std::move(moved));
    return ok();
  });
}

Result<void> Pins::symlink(std::string_view target, std::string_view path, std::uint32_t uid) {
  if (target.empty()) return Errno{ENOENT};
  if (target.size() >= max_path_bytes) return Errno{ENAMETOOLONG};
  return tree_->state.with([&](State& state) -> Result<void> {
    Place place = TRY(place_for_new(state, path));
    if (ends_in_slash(path)) return Errno{ENOENT};
    auto node = state.make(PinKind::symlink, 0777, uid);
    node->target = target;
    node->parent = place.directory;
    place.directory->children.emplace(std::move(place.name), std::move(node));
    return ok();
  });
}

Result<PinStatus> Pins::status(const State& state, std::string_view path, Follow last) {
  const Place place = TRY(walk(state, path, last));
  if (place.node == nullptr) return Errno{ENOENT};
  std::uint32_t links = 1;
  if (place.node->kind == PinKind::directory) {
    links = 2;
    for (const auto& [name, child] : place.node->children)
      if (child->kind == PinKind::directory) ++links;
  }
  return PinStatus{place.node->kind, place.node->mode, place.node->uid, links, place.node->inode};
}

Result<PinStatus> Pins::stat(std::string_view path) const {
  return tree_->state.with([&](const State& state) { return status(state, path, Follow::yes); });
}

Result<PinStatus> Pins::lstat(std::string_view path) const {
  return tree_->state.with([&](const State& state) { return status(state, path, Follow::no); });
}

Result<std::string> Pins::readlink(std::string_view path) const {
  return tree_->state.with([&](const State& state) -> Result<std::string> {
    const Place place = TRY(walk(state, path, Follow::no));
    if (place.node == nullptr) return Errno{ENOENT};
    if (place.node->kind != PinKind::symlink) return Errno{EINVAL};
    return place.node->target;
  });
}

Result<std::vector<PinEntry>> Pins::list(std::string_view path) const {
  return tree_->state.with([&](const State& state) -> Result<std::vector<PinEntry>> {
    const Place place = TRY(walk(state, path, Follow::yes));
    if (place.node == nullptr) return Errno{ENOENT};
    if (place.node->kind != PinKind::directory) return Errno{ENOTDIR};
    std::vector<PinEntry> entries;
    for (const auto& [name, child] : place.node->children)
      entries.push_back({name, child->kind, child->inode});
    return entries;
  });
}

}  // namespace skep
