// Every template of core, whole, once: an error in a member nobody calls shows here.
#include <catch2/catch_test_macros.hpp>

#include "canary/core/router.hpp"

template class canary::Publication<canary::detail::Snapshot>;
template class canary::BasicRouter<canary::StdAtomics>;
template class canary::BasicReader<canary::StdAtomics>;

TEST_CASE("router: the members of a reader or a router that noexcept promises for are noexcept", "[core][router]") {
  const canary::Router router;
  CHECK(noexcept(router.route(canary::Task{}, "key")));
  CHECK(noexcept(router.route(canary::Task{}, std::uint64_t{1})));
  CHECK(noexcept(router.route(canary::Task{})));
}
