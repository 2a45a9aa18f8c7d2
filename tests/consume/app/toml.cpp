#include <canary/adapters/toml_config.hpp>

#include <cstdio>
#include <exception>

int main() {
  try {
    canary::Config config = canary::load_config("/nonexistent/canary.toml");
    static_cast<void>(config);
  } catch (const std::exception& error) {
    std::puts(error.what());
    return 0;
  }
  return 1;
}
