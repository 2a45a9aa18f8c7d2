// Every template of core, whole, once: an error in a member nobody calls shows here.
#include <catch2/catch_test_macros.hpp>

#include "canary/core/router.hpp"

template class canary::Publication<canary::detail::Snapshot>;
template class canary::BasicRouter<canary::StdAtomics>;
template class canary::BasicReader<canary::StdAtomics>;

TEST_CASE("router: deciding is noexcept, by router and by reader", "[core][router]") {
  const canary::Router router;
  canary::Reader reader = router.reader();
  CHECK(noexcept(reader.route(canary::Task{}, "key")));
  CHECK(noexcept(reader.route(canary::Task{}, std::uint64_t{1})));
  CHECK(noexcept(reader.route(canary::Task{})));
  CHECK(noexcept(router.route(canary::Task{}, "key")));
  CHECK(noexcept(router.route(canary::Task{}, std::uint64_t{1})));
  CHECK(noexcept(router.route(canary::Task{})));
}
