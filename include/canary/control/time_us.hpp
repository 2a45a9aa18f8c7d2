// time_us.hpp: the unit of every stored time. Layer control.
#pragma once

#include <cstdint>

namespace canary {

/// Microseconds since 1970-01-01T00:00:00Z.
using TimeUs = std::int64_t;

}  // namespace canary
