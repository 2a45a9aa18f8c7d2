#include <canary/adapters/webhook.hpp>

#include <cstdio>

int main() {
  canary::HttpClient client;
  try {
    static_cast<void>(client.send({.url = "http://127.0.0.1:1/"}));
  } catch (const canary::HttpError& error) {
    std::puts(error.what());
    return error.code == canary::HttpErrc::connect ? 0 : 1;
  }
  return 1;
}
