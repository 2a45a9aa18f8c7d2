// The providers of the network keep the contract, each against a server of this process that speaks as theirs do.
#include <memory>
#include <string>

#include "../adapters/temporary_folder.hpp"
#include "../adapters/tuning_server.hpp"
#include "canary/adapters/openai_provider.hpp"
#include "canary/adapters/together_provider.hpp"

namespace {

class ServerPlace {
 public:
  ServerPlace() {
    server_.rules([](test::TuningRules& rules) {
      rules.key = "sk-0123456789abcdef";
      rules.steps = false;
    });
    std::string text;
    for (int i = 0; i != 20'000; ++i) text += "{\"messages\":[]}\n";
    folder_.write("train.jsonl", text);
  }

  [[nodiscard]] std::string training_file() const { return (folder_.path() / "train.jsonl").string(); }
  void finish(const std::string& id) { server_.finish(id); }
  void fail(const std::string& id) { server_.fail(id, "the file is no good"); }
  [[nodiscard]] std::size_t jobs_of(const std::string& ours) const { return server_.jobs_of(ours); }

 protected:
  template <class Options>
  [[nodiscard]] Options options(const std::string& path) const {
    Options options;
    options.base_url = server_.url() + path;
    options.environment = [](const char*) { return "sk-0123456789abcdef"; };
    return options;
  }

  TemporaryFolder folder_;
  test::TuningServer server_;
};

struct OpenAiPlace : ServerPlace {
  [[nodiscard]] std::unique_ptr<canary::Provider> open() const {
    return std::make_unique<canary::OpenAiProvider>(options<canary::OpenAiOptions>("/v1"));
  }
};

/// A compatible server that takes metadata and forgets it.
struct ForgetfulPlace : OpenAiPlace {
  ForgetfulPlace() {
    server_.rules([](test::TuningRules& rules) { rules.metadata = false; });
  }
};

struct AzurePlace : ServerPlace {
  [[nodiscard]] std::unique_ptr<canary::Provider> open() const {
    auto azure = options<canary::OpenAiOptions>("/");
    azure.dialect = canary::OpenAiDialect::azure;
    return std::make_unique<canary::OpenAiProvider>(azure);
  }
};

struct TogetherPlace : ServerPlace {
  [[nodiscard]] std::unique_ptr<canary::Provider> open() const {
    return std::make_unique<canary::TogetherProvider>(options<canary::TogetherOptions>("/v1/"));
  }
};

}  // namespace

#define CANARY_PROVIDER_PLACE OpenAiPlace, ForgetfulPlace, AzurePlace, TogetherPlace
#include "provider_contract.hpp"
