// store_adapters.hpp: one door per database, so that no file but its own compiles an adapter. See stores.hpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "canary/control/store.hpp"

namespace canary::cli {

/// Input   `missing_hint`: what to do about a file that is not there and is not made; empty: the adapter's own words.
[[nodiscard]] std::unique_ptr<Store> open_sqlite(std::string_view url, std::uint32_t timeout_ms, bool create,
                                                 const std::string& missing_hint);
[[nodiscard]] std::unique_ptr<Store> open_postgres(std::string_view url, std::uint32_t timeout_ms, bool create);

}  // namespace canary::cli
