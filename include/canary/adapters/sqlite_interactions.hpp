// sqlite_interactions.hpp: an InteractionStore in the file of an SqliteStore. Layer adapters; a part of sqlite_store.hpp.
//
// SQLite has one writer at a time: a Delivery takes the lock when it begins, and others wait for it. Reading goes page by
// page, each in a transaction of its own, since a log cannot be cut while somebody reads from before its end.
#pragma once

#if !__has_include(<sqlite3.h>)
#error "sqlite_store.hpp needs SQLite: install libsqlite3-dev and link canary::sqlite"
#endif

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canary/adapters/sqlite_connection.hpp"
#include "canary/adapters/sqlite_delivery.hpp"
#include "canary/adapters/sqlite_file.hpp"
#include "canary/adapters/sqlite_recorded.hpp"
#include "canary/control/interaction_store.hpp"
#include "canary/control/window.hpp"
#include "canary/core/recorder.hpp"

namespace canary::detail {

class SqliteInteractions final : public InteractionStore {
 public:
  explicit SqliteInteractions(std::shared_ptr<SqlitePlace> place)
      : recording_{std::make_shared<SqliteRecording>(std::move(place))} {}

  [[nodiscard]] SpoolRecord claim(std::string_view spool, TimeUs now_us) override;
  [[nodiscard]] std::vector<SpoolRecord> spools() override;
  [[nodiscard]] std::unique_ptr<Delivery> begin(const SpoolRecord& spool) override;
  bool fold(const SpoolRecord& spool,
            const std::function<std::string(CountsKind, std::string_view, std::string_view)>& merge) override;
  [[nodiscard]] std::optional<std::uint32_t> find_task(std::string_view task) override;
  [[nodiscard]] std::vector<std::pair<std::uint32_t, std::string>> task_names() override;
  [[nodiscard]] std::vector<CountsRow> counts(const CountsFilter& filter) override;
  void read(const InteractionFilter& filter,
            const std::function<bool(const Interaction&, const Payload&)>& take) override;
  void find(std::span<const std::uint64_t> ids, const std::function<void(const Interaction&)>& take) override;
  bool forget_before(TimeUs time_us) override;
  bool forget_units(std::uint32_t task, std::uint32_t to, std::span<const std::uint32_t> living) override;

 private:
  static_assert(InteractionId::nodes == 4'096, "as the table of spools has it");

  /// Interactions as they were read, with their texts in one piece.
  struct Page {
    struct Row {
      Interaction interaction;
      std::size_t request = 0;  ///< sizes of its texts
      std::size_t response = 0;
    };
    std::vector<Row> rows;
    std::string texts;
    bool last = false;         ///< there are no more
    std::uint64_t end_id = 0;  ///< the last that was looked at
  };

  /// A part of the work of forget_before() and forget_units() takes so many rows.
  static constexpr std::int64_t rows_a_part = 10'000;

  void refuse_if_lent() const {
    if (!recording_->lent) return;
    throw StoreError{StoreErrc::invalid, "`" + recording_->path + "`: a delivery is under way",
                     "end it first, or take another interactions() of the store"};
  }
  template <class Work>
  auto read_view(Work work) {
    refuse_if_lent();
    return recording_->session.read([&](SqliteConnection& db, const SqliteStoreRow& row) {
      check_records(recording_->path, row);
      return work(db);
    });
  }
  template <class Work>
  auto write_whole(Work work) {
    refuse_if_lent();
    return recording_->session.write([&](SqliteConnection& db, const SqliteStoreRow& row) {
      check_records(recording_->path, row);
      return work(db);
    });
  }

  [[nodiscard]] static const char* page_text(const InteractionFilter& filter);
  [[nodiscard]] static Page read_page(SqliteConnection& db, const InteractionFilter& filter);
  /// True when it was the last part of the interactions.
  [[nodiscard]] bool forget_interactions(SqliteConnection& db);
  [[nodiscard]] bool forget_windows(SqliteConnection& db) const;

  std::shared_ptr<SqliteRecording> recording_;
  TimeUs forget_us_ = 0;            ///< time of the forget_before() that is under way
  std::uint64_t forgotten_to_ = 0;  ///< and the last id that it has looked at
};

// ---------------------------------------------------------------------------------------------------------------------

inline SpoolRecord SqliteInteractions::claim(std::string_view spool, TimeUs now_us) {
  auto known = read_view([&](SqliteConnection& db) { return find_spool(db, spool); });
  if (known) return *std::move(known);
  return write_whole([&](SqliteConnection& db) {
    if (auto meanwhile = find_spool(db, spool)) return *std::move(meanwhile);
    std::uint32_t node = 0;
    {
      SqliteQuery free{db,
                       "SELECT node FROM (SELECT 0 AS node UNION ALL SELECT node + 1 FROM spools) "
                       "WHERE node < ?1 AND node NOT IN (SELECT node FROM spools) ORDER BY node LIMIT 1",
                       InteractionId::nodes};
      if (!free.next())
        throw StoreError{StoreErrc::full,
                         "`" + db.path() + "`: all " + std::to_string(InteractionId::nodes) + " nodes have their spool",
                         "close the spools of servers that are gone"};
      node = free.number(0);
    }
    run(db, "INSERT INTO spools (spool, node, generation, at_us, lanes) VALUES (?1, ?2, 0, ?3, ?4)", spool, node,
        now_us, SqliteBlob{});
    auto made = find_spool(db, spool);
    if (!made) db.fail_corrupt("a spool that was just written is not there");
    return *std::move(made);
  });
}

inline std::vector<SpoolRecord> SqliteInteractions::spools() {
  return read_view([](SqliteConnection& db) {
    SqliteQuery query{db, "SELECT serial, spool, node, generation, at_us, lanes FROM spools ORDER BY serial"};
    std::vector<SpoolRecord> all;
    while (query.next()) all.push_back(read_spool(db, query));
    return all;
  });
}

inline std::unique_ptr<Delivery> SqliteInteractions::begin(const SpoolRecord& spool) {
  refuse_if_lent();
  return recording_->session.guarded([&]() -> std::unique_ptr<Delivery> {
    auto delivery = std::make_unique<SqliteDelivery>(recording_);
    if (!delivery->begins(spool)) return nullptr;
    return delivery;
  });
}

inline bool SqliteInteractions::fold(
    const SpoolRecord& spool, const std::function<std::string(CountsKind, std::string_view, std::string_view)>& merge) {
  return write_whole([&](SqliteConnection& db) {
    if (!is_current(db, spool)) return false;
    for (const CountsKind kind : counts_kinds) {
      for (CountsRow& row : read_counts(db, {.kind = kind, .serial = spool.serial})) {
        row.serial = 0;
        {
          SqliteQuery ours{
              db,
              "SELECT bytes FROM counts WHERE kind = ?1 AND task = ?2 AND of = ?3 AND at = ?4 AND serial = 0",
              static_cast<std::uint8_t>(kind),
              row.task,
              row.of,
              row.at};
          if (ours.next()) row.bytes = merge(kind, ours.bytes(0), row.bytes);
        }
        put_counts(db, row);
      }
    }
    run(db, "DELETE FROM counts INDEXED BY counts_by_serial WHERE serial = ?1", spool.serial);
    run(db, "DELETE FROM spools WHERE serial = ?1", spool.serial);
    return true;
  });
}

inline std::optional<std::uint32_t> SqliteInteractions::find_task(std::string_view task) {
  using Found = std::optional<std::uint32_t>;
  return read_view([&](SqliteConnection& db) -> Found {
    SqliteQuery query{db, "SELECT number FROM recorded_tasks WHERE name = ?1", task};
    if (!query.next()) return {};
    return query.number(0);
  });
}

inline std::vector<std::pair<std::uint32_t, std::string>> SqliteInteractions::task_names() {
  return read_view([](SqliteConnection& db) {
    SqliteQuery query{db, "SELECT number, name FROM recorded_tasks ORDER BY number"};
    std::vector<std::pair<std::uint32_t, std::string>> names;
    while (query.next()) names.emplace_back(query.number(0), query.text(1));
    return names;
  });
}

inline std::vector<CountsRow> SqliteInteractions::counts(const CountsFilter& filter) {
  return read_view([&](SqliteConnection& db) { return read_counts(db, filter); });
}

inline const char* SqliteInteractions::page_text(const InteractionFilter& filter) {
  const auto text = [](std::string_view texts, std::string_view from, std::string_view order) {
    std::string sql{"SELECT "};
    (((sql += interaction_column_names) += texts) += " FROM ") += from;
    return (sql += " WHERE id BETWEEN ?1 AND ?2 ORDER BY id") += order;
  };
  // CROSS: those with texts are fewer, so these lead.
  static constexpr std::string_view both = "payloads CROSS JOIN interactions USING (id)";
  static const std::string texts[] = {text("", "interactions", ""), text("", "interactions", " DESC"),
                                      text(", request, response", both, ""),
                                      text(", request, response", both, " DESC")};
  return texts[(filter.with_payload ? 2 : 0) + (filter.newest_first ? 1 : 0)].c_str();
}

/// Which rows are wanted is looked at here: left to SQLite, a page of rare ones would be a transaction without an end.
inline SqliteInteractions::Page SqliteInteractions::read_page(SqliteConnection& db, const InteractionFilter& filter) {
  constexpr std::size_t most_rows = 4'096;
  constexpr std::size_t most_looks = 65'536;
  constexpr std::size_t most_bytes = 1 << 20;
  SqliteQuery query{db, page_text(filter), filter.from, filter.to};
  Page page;
  for (std::size_t looks = 0; looks != most_looks && page.rows.size() != most_rows && page.texts.size() < most_bytes;
       ++looks) {
    if (!query.next()) {
      page.last = true;
      break;
    }
    page.end_id = query.number<std::uint64_t>(0);
    if (filter.task && query.integer(2) != *filter.task) continue;
    if (filter.number && query.integer(5) != *filter.number) continue;
    Page::Row& row = page.rows.emplace_back();
    row.interaction = read_interaction(query);
    if (!filter.with_payload) continue;
    const std::size_t before = page.texts.size();
    row.request = (page.texts += query.bytes(interaction_columns)).size() - before;
    row.response = (page.texts += query.bytes(interaction_columns + 1)).size() - before - row.request;
  }
  return page;
}

inline void SqliteInteractions::read(const InteractionFilter& filter,
                                     const std::function<bool(const Interaction&, const Payload&)>& take) {
  InteractionFilter rest = filter;
  rest.to = std::min(rest.to, sqlite_most);
  while (rest.most != 0 && rest.from <= rest.to) {
    const Page page = read_view([&](SqliteConnection& db) { return read_page(db, rest); });
    std::string_view texts = page.texts;
    for (const Page::Row& row : page.rows) {
      const Payload payload{row.interaction.id, texts.substr(0, row.request), texts.substr(row.request, row.response)};
      texts.remove_prefix(row.request + row.response);
      if (!take(row.interaction, payload) || --rest.most == 0) return;
    }
    if (page.last) return;
    (rest.newest_first ? rest.to : rest.from) = page.end_id + (rest.newest_first ? std::uint64_t(-1) : 1);
  }
}

inline void SqliteInteractions::find(std::span<const std::uint64_t> ids,
                                     const std::function<void(const Interaction&)>& take) {
  constexpr std::size_t at_once = 4'096;
  static const std::string sql = "SELECT " + std::string{interaction_column_names} + " FROM interactions WHERE id = ?1";
  while (!ids.empty()) {
    const auto part = ids.first(std::min(at_once, ids.size()));
    ids = ids.subspan(part.size());
    const std::vector<Interaction> rows = read_view([&](SqliteConnection& db) {
      std::vector<Interaction> found;
      for (const std::uint64_t id : part)
        if (SqliteQuery query{db, sql.c_str(), id}; query.next()) found.push_back(read_interaction(query));
      return found;
    });
    for (const Interaction& row : rows) take(row);
  }
}

/// Ids rise with time, but for the length of a request and for nodes that run ahead: past the first id of the time, a part
/// without anything old is the last.
inline bool SqliteInteractions::forget_interactions(SqliteConnection& db) {
  std::uint64_t to = sqlite_most;
  {
    SqliteQuery end{db, "SELECT id FROM interactions WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2", forgotten_to_,
                    rows_a_part - 1};
    if (end.next()) to = end.number<std::uint64_t>(0);
  }
  const std::uint64_t first = InteractionId::first_at(forget_us_);
  run(db,
      "DELETE FROM payloads WHERE id > ?1 AND id <= ?2 AND "
      "coalesce((SELECT at_us < ?3 FROM interactions WHERE interactions.id = payloads.id), payloads.id < ?4)",
      forgotten_to_, to, forget_us_, first);
  run(db, "DELETE FROM interactions WHERE id > ?1 AND id <= ?2 AND at_us < ?3", forgotten_to_, to, forget_us_);
  const bool none = sqlite3_changes(db.get()) == 0;
  forgotten_to_ = to;
  return to == sqlite_most || (none && to >= first);
}

inline bool SqliteInteractions::forget_windows(SqliteConnection& db) const {
  static_assert(static_cast<int>(CountsKind::window) == 1);
  run(db,
      "DELETE FROM counts WHERE (kind, task, of, at, serial) IN "
      "(SELECT kind, task, of, at, serial FROM counts INDEXED BY counts_by_serial "
      "WHERE serial IN (SELECT 0 UNION ALL SELECT serial FROM spools) AND kind = 1 AND at < ?1 LIMIT ?2)",
      window_of(forget_us_), rows_a_part);
  return sqlite3_changes(db.get()) < rows_a_part;
}

inline bool SqliteInteractions::forget_before(TimeUs time_us) {
  if (time_us != forget_us_) {
    forget_us_ = time_us;
    forgotten_to_ = 0;
  }
  const std::uint64_t before = forgotten_to_;
  try {
    const bool done = write_whole([&](SqliteConnection& db) {
      // The interactions first; when they are done, the windows.
      if (forgotten_to_ != sqlite_most && !forget_interactions(db)) return false;
      forgotten_to_ = sqlite_most;
      return forget_windows(db);
    });
    if (done) forgotten_to_ = 0;
    return done;
  } catch (...) {
    forgotten_to_ = before;
    throw;
  }
}

/// From life to life: those that go on, a million rows each, are passed over.
inline bool SqliteInteractions::forget_units(std::uint32_t task, std::uint32_t to,
                                             std::span<const std::uint32_t> living) {
  return write_whole([&](SqliteConnection& db) {
    const auto life_from = [&](std::int64_t from) -> std::optional<std::uint32_t> {
      SqliteQuery query{db, "SELECT life FROM units WHERE task = ?1 AND life BETWEEN ?2 AND ?3 ORDER BY life LIMIT 1",
                        task, from, to};
      if (!query.next()) return {};
      return query.number(0);
    };
    std::int64_t room = rows_a_part;
    for (auto life = life_from(0); life && room != 0; life = life_from(std::int64_t{*life} + 1)) {
      if (std::find(living.begin(), living.end(), *life) != living.end()) continue;
      run(db,
          "DELETE FROM units WHERE (task, life, point) IN "
          "(SELECT task, life, point FROM units WHERE task = ?1 AND life = ?2 ORDER BY point LIMIT ?3)",
          task, *life, room);
      room -= sqlite3_changes(db.get());
    }
    return room != 0;
  });
}

}  // namespace canary::detail
