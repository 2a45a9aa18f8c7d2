// canary.hpp: contents page, in the order data flows. core + control; adapters are included by who wants them.
#pragma once

// clang-format off
#include "canary/core/types.hpp"        // the words: Task, VersionShare, Decision, Reason, Errc
#include "canary/control/config.hpp"    // what a configuration means
#include "canary/control/splits.hpp"    // configuration -> tasks and splits of a router
#include "canary/core/hash.hpp"         // key -> Point
#include "canary/core/partition.hpp"    // weights -> who owns which part of the ring
#include "canary/core/alias_table.hpp"  // Partition -> columns
#include "canary/core/snapshot.hpp"     // every task's columns, immutable
#include "canary/core/publish.hpp"      // one writer swaps, readers never wait
#include "canary/core/router.hpp"       // route(task, key) -> Decision
#include "canary/core/outcome.hpp"      // what became of a request
#include "canary/core/recorder.hpp"     // record(decision, outcome) -> a lane of this thread
#include "canary/control/window.hpp"    // interactions -> counts of a version that add up
#include "canary/control/evidence.hpp"  // assignments and outcomes -> counts that the guard reads
#include "canary/control/guard.hpp"         // evidence -> verdict -> action
#include "canary/control/guard_look.hpp"    // what a store has -> a verdict for each candidate
#include "canary/control/trip.hpp"          // one process's own evidence -> stop a candidate here at once
#include "canary/control/trip_watch.hpp"    // its lanes' entries -> that evidence
#include "canary/control/guard_pass.hpp"    // each of them judged, and acted on: rollback, next step
#include "canary/control/guard_news.hpp"    // what is new in a pass
#include "canary/control/guard_plan.hpp"    // how much traffic a verdict takes
#include "canary/control/guard_replay.hpp"  // what the guard would have done on recorded outcomes
#include "canary/control/degradation.hpp"   // a version in use against its own past
#include "canary/control/alert_watch.hpp"   // facts -> alerts
#include "canary/control/alert_round.hpp"   // a pass of the guard, and what a store holds -> those facts
#include "canary/control/alert_desk.hpp"    // alerts -> every sink
#include "canary/control/dataset.hpp"       // training data -> findings, an estimate
#include "canary/control/dataset_pass.hpp"  // a file's lines -> those findings
#include "canary/control/provider.hpp"      // what a place that fine-tunes can be asked
#include "canary/control/tuner.hpp"         // a job's row -> its next step, up to a version
#include "canary/control/tuner_follow.hpp"  // many jobs, followed by one thread
#include "canary/control/sse.hpp"           // an event stream's bytes -> its events
