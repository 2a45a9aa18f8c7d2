// command_spool.hpp: a spool for one command, which delivers once and is gone when the command is over.
#pragma once

#include <memory>
#include <string>

#include "canary/control/interaction_store.hpp"

namespace canary::cli {

/// Its node is free again when it is closed; the next command closes those of commands that were killed.
class CommandSpool {
 public:
  explicit CommandSpool(InteractionStore& store);
  CommandSpool(const CommandSpool&) = delete;
  CommandSpool& operator=(const CommandSpool&) = delete;
  /// Closes it if that was not done; what the store says to that is not heard.
  ~CommandSpool();

  /// 32 hexadecimal digits.
  [[nodiscard]] const std::string& id() const noexcept { return id_; }

  /// Begins the transaction. Nothing is known to the store before.
  /// Errors  StoreError.
  [[nodiscard]] std::unique_ptr<Delivery> begin();
  /// For interaction ids; after begin().
  [[nodiscard]] std::uint32_t node() const noexcept { return record_.node; }

  /// Commits, and ends the transaction. A lost answer is made out.
  /// Errors  StoreError; with `unknown` set when it could not be made out.
  void commit(std::unique_ptr<Delivery> delivery);

  /// From now on another may claim it by its id, and deliver; close() comes after that.
  void lend();

  /// Puts what it counted into the store's own rows, and frees its node. What was committed stands whatever happens
  /// here: what goes wrong is left to the next command.
  void close() noexcept;

 private:
  void close_abandoned();

  InteractionStore& store_;
  std::string id_;
  SpoolRecord record_;
  bool claimed_ = false;
};

}  // namespace canary::cli
