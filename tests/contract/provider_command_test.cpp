// The provider that runs a program keeps the contract, with a program that trains something small.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "../adapters/temporary_folder.hpp"
#include "canary/adapters/command_provider.hpp"

namespace {

class CommandPlace {
 public:
  CommandPlace() {
    std::string chats;
    for (int i = 0; i != 20; ++i)
      chats += R"({"messages":[{"role":"user","content":"Who?"},{"role":"assistant","content":"Me."}]})"
               "\n";
    folder_.write("train.jsonl", chats);
  }
  /// What still waits for its orders would wait for ever.
  ~CommandPlace() {
    const auto provider = open();
    std::error_code none;
    for (const auto& each : std::filesystem::directory_iterator{jobs(), none}) {
      const std::string id = each.path().filename().string();
      try {
        (void)provider->cancel_job(id);
        while (!canary::has_ended(provider->get_job(id).status)) std::this_thread::yield();
      } catch (const canary::ProviderError&) {  // it has ended, or never began
      }
    }
  }
  CommandPlace(const CommandPlace&) = delete;
  CommandPlace& operator=(const CommandPlace&) = delete;

  [[nodiscard]] std::unique_ptr<canary::Provider> open() const {
    canary::CommandProviderOptions options;
    options.command = {CANARY_TEST_TINY_TRAINER,
                       "{training_file}",
                       "{output}",
                       "--orders",
                       "--epochs",
                       "{epochs}",
                       "--ran",
                       "{output}/ran"};
    options.folder = jobs();
    return std::make_unique<canary::CommandProvider>(options);
  }
  [[nodiscard]] std::string training_file() const { return (folder_.path() / "train.jsonl").string(); }
  void finish(const std::string& id) const { order(id, 'g'); }
  void fail(const std::string& id) const { order(id, 'f'); }
  /// Trainers that have begun.
  [[nodiscard]] std::size_t jobs_of(const std::string& id) const {
    if (!std::filesystem::exists(jobs() + '/' + id + "/process")) return 0;
    const auto lines = [&] {
      std::ifstream in{jobs() + '/' + id + "/output/ran"};
      std::size_t count = 0;
      for (std::string line; std::getline(in, line);) ++count;
      return count;
    };
    while (lines() == 0) std::this_thread::yield();  // it is on its way
    return lines();
  }

 private:
  [[nodiscard]] std::string jobs() const { return (folder_.path() / "jobs").string(); }

  void order(const std::string& id, char what) const {
    const std::string path = jobs() + '/' + id + "/output/orders";
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{120};
    int fd = -1;
    while ((fd = ::open(path.c_str(), O_WRONLY | O_NONBLOCK)) < 0 && (errno == ENOENT || errno == ENXIO)) {
      if (std::chrono::steady_clock::now() > patience) throw std::runtime_error{"the trainer takes no orders"};
      std::this_thread::yield();
    }
    if (::write(fd, &what, 1) != 1) throw std::runtime_error{"the trainer takes no orders"};
    ::close(fd);
  }

  TemporaryFolder folder_;
};

}  // namespace

#define CANARY_PROVIDER_PLACE CommandPlace
#include "provider_contract.hpp"
