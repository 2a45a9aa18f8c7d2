#include "command_spool.hpp"

#include <exception>
#include <random>
#include <string_view>
#include <utility>

#include "canary/control/merge_counts.hpp"
#include "canary/control/registry.hpp"
#include "output.hpp"

namespace canary::cli {
namespace {

/// How ids of such spools begin; one of 2^32 servers' does by chance.
constexpr std::string_view spool_mark = "c0ffee00";
constexpr TimeUs abandoned_us = 86'400'000'000;

std::string fresh_id() {
  constexpr char digits[] = "0123456789abcdef";
  std::random_device random;
  std::string id{spool_mark};
  while (id.size() != 32) id += digits[random() % 16];
  return id;
}

}  // namespace

CommandSpool::CommandSpool(InteractionStore& store) : store_{store}, id_{fresh_id()} {}

CommandSpool::~CommandSpool() { close(); }

std::unique_ptr<Delivery> CommandSpool::begin() {
  close_abandoned();
  record_ = store_.claim(id_, Registry::system_time());
  claimed_ = true;
  std::unique_ptr<Delivery> delivery = store_.begin(record_);
  if (!delivery)
    throw StoreError{StoreErrc::unreachable, "the store was restored from a backup this very moment", "say it again"};
  return delivery;
}

void CommandSpool::commit(std::unique_ptr<Delivery> delivery) {
  try {
    delivery->commit({}, Registry::system_time());
    ++record_.generation;
  } catch (const StoreError& error) {
    delivery.reset();
    if (!error.unknown) throw;
    const SpoolRecord now = store_.claim(id_, Registry::system_time());
    if (now.serial == record_.serial && now.generation > record_.generation) {
      record_ = now;
      return;
    }
    throw StoreError{error.code, error.what(), error.hint};  // it was not committed
  }
}

void CommandSpool::lend() {
  close_abandoned();
  claimed_ = true;
}

void CommandSpool::close() noexcept {
  if (!claimed_) return;
  claimed_ = false;
  try {
    for (int attempt = 0; attempt != 3; ++attempt) {
      record_ = store_.claim(id_, Registry::system_time());
      if (store_.fold(record_, merge_counts)) return;
    }
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    // What it counted counts where it stands.
  }
}

/// An import that is still under way has its transaction open, and is not touched: its lock is waited for, and then it
/// is either committed, or gone.
void CommandSpool::close_abandoned() {
  const TimeUs now_us = Registry::system_time();
  for (const SpoolRecord& spool : store_.spools())
    if (spool.spool.starts_with(spool_mark) && spool.at_us < now_us - abandoned_us)
      (void)store_.fold(spool, merge_counts);
}

}  // namespace canary::cli
