// fragile_store.hpp: a store that others share, and that can go away, or lose the answer to a commit.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/control/memory_store.hpp"
#include "canary/control/store.hpp"

namespace canary::test {

class FragileStore final : public Store {
 public:
  struct Shared {
    explicit Shared(std::unique_ptr<Store> made = std::make_unique<MemoryStore>()) : real{std::move(made)} {}

    std::unique_ptr<Store> real;
    Store& store = *real;
    std::atomic<bool> down = false;
    std::atomic<int> asked = 0;
    std::atomic<int> histories = 0;       ///< answers about history
    std::atomic<int> lost_answers = 0;    ///< so many deliveries are committed, and end with an error all the same
    std::atomic<int> broken_commits = 0;  ///< so many are not, and do
    std::atomic<int> lost_changes = 0;    ///< the same of so many changes of a task
    std::atomic<int> lost_jobs = 0;       ///< and of so many of a job
    std::atomic<int> payloads = 0;        ///< texts that were delivered
  };
  explicit FragileStore(std::shared_ptr<Shared> shared) : shared_{std::move(shared)} {}

  StoreInfo info() override { return up().info(); }
  std::vector<std::string> tasks() override { return up().tasks(); }
  TaskRecord load(std::string_view task, const VersionFilter& filter) override { return up().load(task, filter); }
  CommitResult commit(const Commit& change) override {
    const CommitResult result = up().commit(change);
    if (take_one(shared_->lost_changes)) fail(true);
    return result;
  }
  std::vector<HistoryRow> history(std::string_view task, const HistoryFilter& filter) override {
    std::vector<HistoryRow> rows = up().history(task, filter);
    ++shared_->histories;
    return rows;
  }
  std::vector<Job> jobs(const JobFilter& filter) override { return up().jobs(filter); }
  std::optional<Job> find_job(std::string_view id) override { return up().find_job(id); }
  CommitResult put_job(const Job& job) override {
    const CommitResult result = up().put_job(job);
    if (take_one(shared_->lost_jobs)) fail(true);
    return result;
  }
  std::unique_ptr<Follower> follow() override { return std::make_unique<FragileFollower>(shared_); }
  void read_all(const std::function<void(TaskContents&&)>& take) override { up().read_all(take); }
  void replace_all(const std::function<std::optional<TaskContents>()>& next) override { up().replace_all(next); }
  std::unique_ptr<InteractionStore> interactions() override { return std::make_unique<FragileInteractions>(shared_); }
  std::uint32_t migrate() override { return up().migrate(); }

 private:
  class FragileFollower final : public Follower {
   public:
    explicit FragileFollower(std::shared_ptr<Shared> shared)
        : shared_{std::move(shared)}, follower_{shared_->store.follow()} {}
    StoreDelta changes(const StorePosition& since) override {
      check(*shared_);
      return follower_->changes(since);
    }
    std::optional<std::uint32_t> find_model(std::string_view task, std::string_view model) override {
      check(*shared_);
      return follower_->find_model(task, model);
    }
    void wait(std::chrono::milliseconds at_most) noexcept override { follower_->wait(at_most); }
    void interrupt() noexcept override { follower_->interrupt(); }

   private:
    std::shared_ptr<Shared> shared_;
    std::unique_ptr<Follower> follower_;
  };

  class FragileDelivery final : public Delivery {
   public:
    FragileDelivery(std::shared_ptr<Shared> shared, std::unique_ptr<Delivery> real)
        : shared_{std::move(shared)}, real_{std::move(real)} {}
    std::uint32_t task_number(std::string_view task) override { return up().task_number(task); }
    std::vector<std::uint64_t> add(std::span<const Interaction> rows) override { return up().add(rows); }
    void add_payloads(std::span<const Payload> rows) override {
      up().add_payloads(rows);
      shared_->payloads += static_cast<int>(rows.size());
    }
    void claim_units(std::span<const UnitKey> units, std::vector<bool>& fresh) override {
      up().claim_units(units, fresh);
    }
    void settle_units(std::span<const UnitKey> units, std::vector<bool>& first) override {
      up().settle_units(units, first);
    }
    void find_units(std::span<const UnitKey> units, std::vector<bool>& counted) override {
      up().find_units(units, counted);
    }
    void join(std::span<const Feedback> rows, std::vector<JoinedFeedback>& joined) override { up().join(rows, joined); }
    void put_waiting(std::span<const Feedback> rows) override { up().put_waiting(rows); }
    std::size_t waiting(WaitingPlace& from, std::size_t most, std::vector<Feedback>& ready) override {
      return up().waiting(from, most, ready);
    }
    void drop_waiting(std::span<const std::uint64_t> ids) override { up().drop_waiting(ids); }
    std::size_t drop_waiting_before(TimeUs time_us) override { return up().drop_waiting_before(time_us); }
    void put(const CountsRow& row) override { up().put(row); }
    void commit(std::span<const LanePosition> lanes, TimeUs now_us) override {
      Delivery& real = up();
      if (take_one(shared_->broken_commits)) fail(true);
      real.commit(lanes, now_us);
      if (take_one(shared_->lost_answers)) fail(true);
    }

   private:
    Delivery& up() {
      check(*shared_);
      return *real_;
    }
    std::shared_ptr<Shared> shared_;
    std::unique_ptr<Delivery> real_;
  };

  class FragileInteractions final : public InteractionStore {
   public:
    explicit FragileInteractions(std::shared_ptr<Shared> shared)
        : shared_{std::move(shared)}, real_{shared_->store.interactions()} {}
    SpoolRecord claim(std::string_view spool, TimeUs now_us) override { return up().claim(spool, now_us); }
    std::vector<SpoolRecord> spools() override { return up().spools(); }
    std::unique_ptr<Delivery> begin(const SpoolRecord& spool) override {
      std::unique_ptr<Delivery> real = up().begin(spool);
      if (real == nullptr) return nullptr;
      return std::make_unique<FragileDelivery>(shared_, std::move(real));
    }
    bool fold(const SpoolRecord& spool,
              const std::function<std::string(CountsKind, std::string_view, std::string_view)>& merge) override {
      return up().fold(spool, merge);
    }
    std::optional<std::uint32_t> find_task(std::string_view task) override { return up().find_task(task); }
    std::vector<std::pair<std::uint32_t, std::string>> task_names() override { return up().task_names(); }
    std::vector<CountsRow> counts(const CountsFilter& filter) override { return up().counts(filter); }
    void read(const InteractionFilter& filter,
              const std::function<bool(const Interaction&, const Payload&)>& take) override {
      up().read(filter, take);
    }
    void find(std::span<const std::uint64_t> ids, const std::function<void(const Interaction&)>& take) override {
      up().find(ids, take);
    }
    bool forget_before(TimeUs time_us) override { return up().forget_before(time_us); }
    bool forget_units(std::uint32_t task, std::uint32_t to, std::span<const std::uint32_t> living) override {
      return up().forget_units(task, to, living);
    }

   private:
    InteractionStore& up() {
      check(*shared_);
      return *real_;
    }
    std::shared_ptr<Shared> shared_;
    std::unique_ptr<InteractionStore> real_;
  };

  [[noreturn]] static void fail(bool unknown) {
    StoreError error{StoreErrc::unreachable, "the store is down"};
    error.unknown = unknown;
    throw error;
  }
  static void check(Shared& shared) {
    ++shared.asked;
    if (shared.down) fail(false);
  }
  static bool take_one(std::atomic<int>& left) { return left > 0 && left-- > 0; }
  Store& up() {
    check(*shared_);
    return shared_->store;
  }

  std::shared_ptr<Shared> shared_;
};

}  // namespace canary::test
