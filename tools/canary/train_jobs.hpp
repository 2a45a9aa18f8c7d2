// train_jobs.hpp: the verbs of `canary train` that start, follow and cancel jobs.
#pragma once

#include "context.hpp"

namespace canary::cli {

/// Adds start, status, watch and cancel.
void add_train_jobs(Syntax train, Context& context);

}  // namespace canary::cli
