#pragma once

#include "canary/core/router.hpp"

/// What a shared object offers the test.
struct Side {
  canary::Router* (*make)();
  void (*destroy)(canary::Router*);
  canary::Task (*add)(canary::Router*, const char* task, const char* model);
  canary::Decision (*route)(const canary::Router*, canary::Task, std::uint64_t key);
  bool (*split)(canary::Router*, canary::Task, const char* model, std::uint32_t weight_ppm);
  std::size_t (*slots_held)();
  const void* (*domain)();
  canary::Reader (*take)(canary::Reader&);  ///< moves out of it
  bool (*stand_in_is_clean)();
};
