// One of two shared objects that both include canary, with hidden visibility: each has its own slots and thread caches.
#include "shared_objects_side.hpp"

namespace {

canary::Router* make() { return new canary::Router; }
void destroy(canary::Router* router) { delete router; }

canary::Task add(canary::Router* router, const char* task, const char* model) {
  return router->task(task, {.default_model = model});
}
canary::Decision route(const canary::Router* router, canary::Task task, std::uint64_t key) {
  return router->route(task, key);
}
bool split(canary::Router* router, canary::Task task, const char* model, std::uint32_t weight_ppm) {
  return static_cast<bool>(router->set_split(task, {{.model = model, .weight_ppm = weight_ppm}}));
}
std::size_t slots_held() {
  std::size_t held = 0;
  canary::detail::SlotDomain<canary::StdAtomics>::local().for_each_slot(
      [&](auto& slot) { held += slot.holder.load() != canary::detail::Holder::nobody; });
  return held;
}
const void* domain() { return &canary::detail::SlotDomain<canary::StdAtomics>::local(); }

canary::Reader take(canary::Reader& reader) { return std::move(reader); }
bool stand_in_is_clean() { return canary::detail::ThreadCache<canary::StdAtomics>::no_slot.pin.load() == nullptr; }

}  // namespace

extern "C" [[gnu::visibility("default")]] const Side canary_side{
    make, destroy, add, route, split, slots_held, domain, take, stand_in_is_clean};
