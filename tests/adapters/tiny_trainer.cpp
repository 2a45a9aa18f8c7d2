// tiny_trainer: a real trainer, and a small one. It fits the odds of each character after the one before it to what
// assistants say in a file of chats, by gradient descent, and writes them as its model.
//   tiny_trainer TRAINING_FILE OUTPUT [--validation FILE] [--base NAME] [--job ID] [--epochs N] [--seed N]
// For tests of who runs it:
//   --ran FILE       appends a line to it, before anything else
//   --gate FIFO      after its first epoch, waits until somebody opens that to write and closes it again
//   --orders         before its first epoch, makes OUTPUT/orders, a FIFO, and waits for a byte in it: `f` is to fail
//   --deaf           does not hear SIGTERM;  --polite  ends well on SIGTERM, with a result
//   --crash, --exit N, --no-result, --say TEXT (a line on stdout), --complain LINES (on stderr), --garbage, --flood
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

namespace {

namespace json = boost::json;

constexpr std::size_t letters = 96;  // of ASCII, and one for all else

std::size_t letter(char c) { return c >= ' ' && c <= '~' ? static_cast<std::size_t>(c - ' ') : letters - 1; }

/// How often each letter follows each other.
using Pairs = std::vector<double>;

std::uint64_t count_pairs(const std::string& file, Pairs& pairs) {
  std::ifstream in{file};
  if (!in) {
    std::fprintf(stderr, "tiny_trainer: %s cannot be read\n", file.c_str());
    std::exit(1);
  }
  std::uint64_t count = 0;
  for (std::string line; std::getline(in, line);) {
    const json::value example = json::parse(line);
    for (const json::value& message : example.at("messages").as_array()) {
      if (message.at("role").as_string() != "assistant") continue;
      std::size_t last = letter('\n');
      for (const char c : std::string_view{message.at("content").as_string()}) {
        const std::size_t now = letter(c);
        ++pairs[last * letters + now];
        last = now;
        ++count;
      }
    }
  }
  return count;
}

/// Odds of each letter after each other, as logits.
class Model {
 public:
  explicit Model(std::uint64_t seed) : logits_(letters * letters) {
    std::mt19937_64 random{seed};
    std::normal_distribution<double> small{0, 0.01};
    for (double& each : logits_) each = small(random);
  }

  /// A step down the gradient, if `rate` is not 0. Output: the mean loss before it, in nats.
  double step(const Pairs& pairs, double rate) {
    double loss = 0;
    double all = 0;
    for (std::size_t last = 0; last != letters; ++last) {
      double* row = logits_.data() + last * letters;
      std::array<double, letters> odds{};
      double sum = 0;
      for (std::size_t i = 0; i != letters; ++i) sum += odds[i] = std::exp(row[i]);
      double count = 0;
      for (std::size_t i = 0; i != letters; ++i) count += pairs[last * letters + i];
      if (count == 0) continue;
      for (std::size_t i = 0; i != letters; ++i) {
        const double seen = pairs[last * letters + i];
        if (seen != 0) loss -= seen * std::log(odds[i] / sum);
        row[i] += rate * (seen / count - odds[i] / sum);
      }
      all += count;
    }
    return all == 0 ? 0 : loss / all;
  }

  [[nodiscard]] bool write(const std::string& path) const {
    std::ofstream out{path};
    for (const double each : logits_) out << each << '\n';
    return static_cast<bool>(out.flush());
  }

 private:
  std::vector<double> logits_;
};

void say(const json::value& event) {
  std::puts(json::serialize(event).c_str());
  std::fflush(stdout);
}

volatile sig_atomic_t asked_to_end = 0;

struct Options {
  std::map<std::string, std::string, std::less<>> values;
  [[nodiscard]] bool has(std::string_view name) const { return values.contains(name); }
  [[nodiscard]] std::string text(std::string_view name) const {
    const auto at = values.find(name);
    return at == values.end() ? std::string{} : at->second;
  }
  [[nodiscard]] std::uint64_t number(std::string_view name, std::uint64_t otherwise) const {
    const std::string value = text(name);
    const std::uint64_t number = value.empty() ? 0 : std::strtoull(value.c_str(), nullptr, 10);
    return number == 0 ? otherwise : number;
  }
};

void misbehave_early(const Options& options) {
  if (options.has("--ran")) {
    const int fd = ::open(options.text("--ran").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const std::string line = std::to_string(::getpid()) + '\n';
    if (::write(fd, line.data(), line.size()) < 0) std::exit(1);
    ::close(fd);
  }
  if (options.has("--deaf")) ::signal(SIGTERM, SIG_IGN);
  if (options.has("--polite")) {
    struct sigaction action {};
    action.sa_handler = [](int) { asked_to_end = 1; };  // without SA_RESTART: the gate lets go
    ::sigaction(SIGTERM, &action, nullptr);
  }
  for (std::uint64_t i = 0; i != options.number("--complain", 0); ++i)
    std::fprintf(stderr, "complaint %llu of a trainer\n", static_cast<unsigned long long>(i + 1));
  if (options.has("--garbage")) {
    std::fwrite("\0\xFF\xFE{\"event\":\n{]\n\n\x1B[31m{\"event\":7}\n", 1, 30, stdout);
    std::puts("{\"event\":\"progress\",\"step\":-1,\"of\":1e999,\"loss\":\"x\"}");
    std::puts(("[" + std::string(200'000, '[')).c_str());
    std::puts((R"({"event":"result","model":")" + std::string(100'000, 'm') + "\"}").c_str());  // longer than is read
  }
  if (options.has("--say")) std::puts(options.text("--say").c_str());
  std::fflush(stdout);
  while (options.has("--flood")) std::puts("all work and no play makes a trainer dull");
}

void wait_at_gate(const Options& options) {
  if (!options.has("--gate")) return;
  const int fd = ::open(options.text("--gate").c_str(), O_RDONLY);  // waits for somebody who writes
  char byte = 0;
  while (fd >= 0 && ::read(fd, &byte, 1) > 0) continue;
  ::close(fd);
}

/// False if it is to fail.
bool take_orders(const std::string& output, const Options& options) {
  if (!options.has("--orders")) return true;
  const std::string path = output + "/orders";
  if (::mkfifo(path.c_str(), 0600) != 0) return false;
  const int fd = ::open(path.c_str(), O_RDONLY);
  char order = 'f';
  const ssize_t got = ::read(fd, &order, 1);
  ::close(fd);
  return got == 1 && order != 'f';
}

int train(const std::string& file, const std::string& output, const Options& options) {
  if (!take_orders(output, options)) {
    say({{"event", "error"}, {"message", "told to fail"}});
    return 4;
  }
  Pairs pairs(letters * letters);
  const std::uint64_t tokens = count_pairs(file, pairs);
  Pairs held_out(letters * letters);
  if (!options.text("--validation").empty()) count_pairs(options.text("--validation"), held_out);
  Model model{options.number("--seed", 1)};
  const std::uint64_t epochs = options.number("--epochs", 3);
  const std::string path = output + "/model.txt";
  for (std::uint64_t epoch = 1; epoch <= epochs; ++epoch) {
    const double loss = model.step(pairs, 2.0);
    say({{"event", "progress"}, {"step", epoch}, {"of", epochs}, {"loss", loss}});
    const std::string checkpoint = output + "/model-" + std::to_string(epoch) + ".txt";
    if (!model.write(checkpoint)) return 1;
    say({{"event", "checkpoint"},
         {"model", checkpoint},
         {"step", epoch},
         {"metrics", {{"train_loss", loss}, {"valid_loss", model.step(held_out, 0)}}}});
    if (epoch == 1) wait_at_gate(options);
    if (asked_to_end != 0) break;
    if (options.has("--crash")) std::abort();
    if (options.has("--exit")) {
      say({{"event", "error"}, {"message", "told to fail"}});
      return static_cast<int>(options.number("--exit", 1));
    }
  }
  if (!model.write(path)) return 1;
  if (!options.has("--no-result"))
    say({{"event", "result"}, {"model", path}, {"trained_tokens", tokens * epochs}, {"base", options.text("--base")}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  Options options;
  for (int i = 3; i < argc; ++i) {
    const std::string name = argv[i];
    const bool takes_value = i + 1 < argc && !std::string_view{argv[i + 1]}.starts_with("--");
    options.values[name] = takes_value ? argv[++i] : "";
  }
  misbehave_early(options);
  return train(argv[1], argv[2], options);
}
