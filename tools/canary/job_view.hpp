// job_view.hpp: fine-tune jobs in the shapes that JSON and tables give them.
#pragma once

#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/job.hpp"
#include "output.hpp"

namespace canary::cli {

/// Input   `shutdown_date`: of the version that came of it; empty: none is known.
[[nodiscard]] boost::json::object job_document(const Job& job, std::string_view shutdown_date = {});

/// A row for each job.
[[nodiscard]] Table jobs_table(const std::vector<Job>& jobs);

/// One job, a line for each thing that is known of it.
void write_job(Output& out, const Job& job, std::string_view shutdown_date = {});

}  // namespace canary::cli
