// job_view.hpp: fine-tune jobs in the shapes that JSON and tables give them.
#pragma once

#include <vector>

#include <boost/json.hpp>

#include "canary/control/job.hpp"
#include "output.hpp"

namespace canary::cli {

[[nodiscard]] boost::json::object job_document(const Job& job);

/// A row for each job.
[[nodiscard]] Table jobs_table(const std::vector<Job>& jobs);

/// One job, a line for each thing that is known of it.
void write_job(Output& out, const Job& job);

}  // namespace canary::cli
