// SPDX-License-Identifier: Apache-2.0
#include "object/object.hpp"

#include "rcu/rcu.hpp"

namespace skep {

// The count is poisoned by drop_reference(): a deletion past it is caught.
Object::~Object() { ASSERT(references_.load(std::memory_order_relaxed) == 0); }

void Object::take_reference() const {
  // relaxed: whoever adds a reference already has one that orders its accesses.
  const std::uint32_t before = references_.fetch_add(1, std::memory_order_relaxed);
  ASSERT(before != 0);  // touched after death
}

bool Object::try_take_reference() const {
  // relaxed: the caller's lock or read section orders its accesses; the count only decides life and
  // death.
  std::uint32_t count = references_.load(std::memory_order_relaxed);
  while (count != 0) {
    if (references_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Object::drop_reference() const {
  // acq_rel: what every owner did to the object happens before its destruction.
  const std::uint32_t before = references_.fetch_sub(1, std::memory_order_acq_rel);
  ASSERT(before != 0);
  if (before != 1) return;
  auto* const self = const_cast<Object*>(this);
  if (ids_ != nullptr) ids_->withdraw(id_);
  self->on_last_reference();
  rcu::retire(self, [](void* p) { delete static_cast<Object*>(p); });
}

void Object::take_user() {
  take_reference();
  // relaxed: as for references.
  users_.fetch_add(1, std::memory_order_relaxed);
}

void Object::drop_user() {
  // acq_rel: pairs with has_users(), and the last user sees what the others did.
  const std::uint32_t before = users_.fetch_sub(1, std::memory_order_acq_rel);
  ASSERT(before != 0);
  if (before == 1) on_last_user();
  drop_reference();
}

Result<std::uint32_t> IdTable::publish(Object& object) {
  return state_.with([&](State& state) -> Result<std::uint32_t> {
    ASSERT(object.id_ == 0);
    if (state.objects.size() >= last_id) return Errno{ENOSPC};
    std::uint32_t id = state.last;
    do {
      id = id >= last_id ? 1 : id + 1;
    } while (state.objects.contains(id));
    state.last = id;
    state.objects.emplace(id, &object);
    object.id_ = id;
    object.ids_ = this;
    return id;
  });
}

Result<Ref<Object>> IdTable::find(std::uint32_t id) const {
  return state_.with([&](const State& state) -> Result<Ref<Object>> {
    const auto found = state.objects.find(id);
    if (found == state.objects.end()) return Errno{ENOENT};
    // The object withdraws its id under our lock before it dies, so the pointer is good to ask.
    Ref<Object> object = Ref<Object>::try_share(*found->second);
    if (!object) return Errno{ENOENT};
    return object;
  });
}

Result<std::uint32_t> IdTable::next(std::uint32_t start) const {
  return state_.with([&](const State& state) -> Result<std::uint32_t> {
    const auto found = state.objects.upper_bound(start);
    if (found == state.objects.end()) return Errno{ENOENT};
    return found->first;
  });
}

void IdTable::withdraw(std::uint32_t id) {
  state_.with([&](State& state) { state.objects.erase(id); });
}

}  // namespace skep
