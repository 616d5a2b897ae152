// SPDX-License-Identifier: Apache-2.0
// What all kernel objects have in common: references, users and an id.
//
// References keep the memory; users (descriptors, pins) are counted apart, as Linux does: when the
// last user leaves, `on_last_user()` runs although programs may still hold references. With the
// last reference the id disappears at once and the object is destroyed after a grace period, so
// that data-path readers may use what they found without counting.
#pragma once

#include "result/result.hpp"
#include "sync/locked.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <utility>

namespace skep {

enum class ObjectKind : std::uint8_t { map, prog, btf, link, net_namespace, device, stats };

class IdTable;

/// Base of everything that is counted. Created with one reference that `Ref<T>::adopt` takes over.
class Object {
 public:
  explicit Object(ObjectKind kind) : kind_(kind) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  ObjectKind kind() const { return kind_; }
  /// The id that commands see; 0 before it was published.
  std::uint32_t id() const { return id_; }

  void take_reference() const;
  /// Takes a reference unless the last one is already gone.
  [[nodiscard]] bool try_take_reference() const;
  void drop_reference() const;

  /// A user holds a reference too.
  void take_user();
  void drop_user();

  /// True while a descriptor or pin exists. Timers, for one, may not be armed without.
  bool has_users() const {
    // acquire: pairs with drop_user(); what on_last_user() took away is gone for who sees 0.
    return users_.load(std::memory_order_acquire) != 0;
  }

 protected:
  virtual ~Object();
  /// The last user left; references may remain. Called at most once for each time the count falls
  /// to 0.
  virtual void on_last_user() {}
  /// The last reference is gone and the id withdrawn; called before the grace period. Must not
  /// resurrect the object.
  virtual void on_last_reference() {}

 private:
  friend class IdTable;
  const ObjectKind kind_;
  std::uint32_t id_ = 0;    // set once by IdTable::publish, before the object is shared
  IdTable* ids_ = nullptr;  // likewise; outlives the object
  mutable std::atomic<std::uint32_t> references_{1};
  std::atomic<std::uint32_t> users_{0};
};

/// A shared owner. Move it where possible.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  /// Takes over the reference that a fresh object is born with.
  static Ref adopt(T* object) { return Ref(object, Adopt{}); }
  /// Adds a reference to an object that is known to be alive.
  static Ref share(T& object) {
    object.take_reference();
    return Ref(&object, Adopt{});
  }
  /// Adds a reference unless the object is dying; null then. The caller's read section or lock
  /// keeps the memory.
  static Ref try_share(T& object) {
    return object.try_take_reference() ? Ref(&object, Adopt{}) : Ref();
  }

  Ref(const Ref& other) : object_(other.object_) {
    if (object_ != nullptr) object_->take_reference();
  }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
    requires std::is_convertible_v<U*, T*>
  Ref(Ref<U> other) : object_(other.release()) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->drop_reference();
  }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  friend bool operator==(const Ref& a, const Ref& b) { return a.object_ == b.object_; }
  /// Lets go without dropping: the caller now owns the reference.
  T* release() { return std::exchange(object_, nullptr); }

 private:
  struct Adopt {};
  Ref(T* object, Adopt /*tag*/) : object_(object) {}
  T* object_ = nullptr;
};

/// Makes a counted object.
template <class T, class... Args>
Ref<T> make_object(Args&&... args) {
  return Ref<T>::adopt(new T(std::forward<Args>(args)...));
}

/// A reference downcast to the type that its kind promises.
template <class T>
Ref<T> ref_cast(Ref<Object> object) {
  ASSERT(!object || object->kind() == T::object_kind);
  return Ref<T>::adopt(static_cast<T*>(object.release()));
}

/// A shared owner that counts as a user: what a descriptor or a pin holds.
class UserRef {
 public:
  UserRef() = default;
  explicit UserRef(Ref<Object> object) : object_(std::move(object)) {
    if (object_) object_->take_user();
  }
  UserRef(UserRef&& other) noexcept = default;
  UserRef& operator=(UserRef&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~UserRef() {
    if (object_) object_->drop_user();
  }
  const Ref<Object>& object() const { return object_; }

 private:
  Ref<Object> object_;
};

/// The ids of one kind of object: positive, increasing, reused only after wrap-around. Thread: any.
class IdTable {
 public:
  static constexpr std::uint32_t last_id = 0x7ffffffe;  // INT_MAX - 1

  /// Gives `object` its id and makes it findable. Call once, before the object is shared. Errors:
  /// ENOSPC (no id left).
  Result<std::uint32_t> publish(Object& object);
  /// Errors: ENOENT (unknown, or its last reference is gone).
  Result<Ref<Object>> find(std::uint32_t id) const;
  /// The smallest id above `start`. Errors: ENOENT (none).
  Result<std::uint32_t> next(std::uint32_t start) const;

 private:
  friend class Object;
  void withdraw(std::uint32_t id);

  struct State {
    std::map<std::uint32_t, Object*> objects;
    std::uint32_t last = 0;  // the id given most recently
  };
  Locked<State, LockRank::ids> state_;
};

}  // namespace skep
