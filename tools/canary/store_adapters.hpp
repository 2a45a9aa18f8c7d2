// store_adapters.hpp: one door per database, so that no file but its own compiles an adapter. See stores.hpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "canary/control/store.hpp"

namespace canary::cli {

[[nodiscard]] std::unique_ptr<Store> open_sqlite(std::string_view url, std::uint32_t timeout_ms, bool create);
[[nodiscard]] std::unique_ptr<Store> open_postgres(std::string_view url, std::uint32_t timeout_ms, bool create);

}  // namespace canary::cli
