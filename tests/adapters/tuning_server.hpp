// tuning_server.hpp: a place that fine-tunes, on this machine, with whatever can go wrong there. It speaks as OpenAI, Azure
// and Together do (files, uploads in parts, jobs, events, checkpoints, models, chat), remembers what it really has, and does
// not keep the files: their size and a hash.
//
//   TuningServer server;                                 // OpenAI: url() + "/v1"; Azure: url(); Together: url() + "/v1"
//   server.rules([](TuningRules& rules) { rules.key = "sk-secret"; });
//   server.fault({.what = Trouble::reset_after, .on = "POST /fine_tuning/jobs"});   // made, and no answer
//   server.chaos({.seed = 7, .percent = 20});            // any of them, to any request
//
// Jobs go on a step at each look, or, with `steps` off, by finish() and fail().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "canary/control/time_text.hpp"
#include "tuning_form.hpp"
#include "tuning_wire.hpp"

namespace test {

/// What goes wrong with one request.
enum class Trouble : std::uint8_t {
  too_many,        ///< 429 with Retry-After and retry-after-ms: nothing is done
  broken,          ///< 500: nothing is done
  bad_gateway,     ///< 502, with HTML: nothing is done
  unavailable,     ///< 503: nothing is done
  closed,          ///< 403, to new users: nothing is done
  reset_before,    ///< the connection is reset before the body is read
  hold_before,     ///< nothing is done and nothing answered
  reset_after,     ///< it is done, and the connection is reset
  close_after,     ///< it is done, and the connection ends
  broken_after,    ///< it is done, and 500 is answered
  hold_after,      ///< it is done, and nothing answered for as long as the client waits
  truncate,        ///< it is done, and half of the answer comes
  malformed,       ///< it is done, and the answer is no JSON
  slow,            ///< it is done, and the answer comes byte by byte
  unknown_status,  ///< the answer has a status that nobody knows
  missing_fields,  ///< the answer has an id, and nothing else
  missing_id,      ///< or all but that
};

inline constexpr Trouble quick_troubles[] = {
    Trouble::too_many,    Trouble::broken,         Trouble::bad_gateway,    Trouble::unavailable, Trouble::reset_before,
    Trouble::reset_after, Trouble::close_after,    Trouble::broken_after,   Trouble::truncate,    Trouble::malformed,
    Trouble::slow,        Trouble::unknown_status, Trouble::missing_fields, Trouble::missing_id,
};

struct TuningFault {
  Trouble what = Trouble::broken;
  std::string on = {};  ///< `POST /fine_tuning/jobs`; * stands for anything; empty: any request
  std::uint32_t times = 1;
};

/// Faults by chance; none to chat.
struct TuningChaos {
  std::uint64_t seed = 1;
  std::uint32_t percent = 0;  ///< of the requests
  std::vector<Trouble> what{std::begin(quick_troubles), std::end(quick_troubles)};
};

/// How a job goes.
struct TuningPlan {
  std::vector<std::string> statuses = {};              ///< from its creation to its end; empty: all goes well
  std::string error = "the training file is no good";  ///< of one that ends badly
};

struct TuningRules {
  std::string key = {};            ///< that every request must have; empty: any, or none
  bool steps = true;               ///< jobs go on at each look
  bool metadata = true;            ///< is given back
  bool suffix = true;              ///< is given back
  bool closed = false;             ///< to new users
  bool oldest_first = false;       ///< lists are
  bool endless = false;            ///< lists say that there is always more
  std::uint32_t import_looks = 0;  ///< so often a file is pending when it is looked at
  std::int64_t now_s = 0;          ///< 0: the clock
  std::string retry_after = "Retry-After: 1\r\nretry-after-ms: 5\r\n";
  std::map<std::string, boost::json::value> models = {{"base-model", nullptr}};  ///< with their shutdown_date
  std::set<std::string> missing_models = {};                                     ///< for chat
};

struct TuningJob {
  std::string id;
  std::string made_for;  ///< our id, from the metadata as it was sent; empty: none was
  std::string status;
  std::string model;
  std::string base_model;
  std::string training_file;
  std::string validation_file;
  std::string suffix;
  std::string error;
  bool together = false;
  std::int64_t created_at_s = 0;
  std::int64_t finished_at_s = 0;
  std::deque<std::string> to_come;
  boost::json::object request;
  boost::json::array events;
};

struct TuningFile {
  std::string id;
  std::string name;
  std::uint64_t bytes = 0;
  ByteHash hash;
  std::uint32_t looks = 0;
};

struct TuningSeen {
  std::string line;  ///< `POST /fine_tuning/jobs?x=y`
  std::string head;
  std::string body;  ///< where it was JSON
};

class TuningServer final : public WireServer {
 public:
  TuningServer() { start(); }
  ~TuningServer() override { stop(); }

  void rules(const std::function<void(TuningRules&)>& change) {
    const std::lock_guard lock{mutex_};
    change(rules_);
  }
  void fault(TuningFault fault) {
    const std::lock_guard lock{mutex_};
    faults_.push_back(std::move(fault));
  }
  void chaos(TuningChaos chaos) {
    const std::lock_guard lock{mutex_};
    random_.seed(chaos.seed);
    chaos_ = std::move(chaos);
  }
  /// For the jobs to come, one after the other; then all goes well.
  void plan(TuningPlan plan) {
    const std::lock_guard lock{mutex_};
    plans_.push_back(std::move(plan));
  }
  void finish(const std::string& id) { end(id, true); }
  void fail(const std::string& id, const std::string& error) { end(id, false, error); }

  [[nodiscard]] std::vector<TuningJob> jobs() const {
    const std::lock_guard lock{mutex_};
    return jobs_;
  }
  /// How many jobs it has for one of ours.
  [[nodiscard]] std::size_t jobs_of(const std::string& ours) const {
    const std::lock_guard lock{mutex_};
    return static_cast<std::size_t>(std::count_if(jobs_.begin(), jobs_.end(), [&](const TuningJob& each) {
      return each.made_for == ours || (each.together && each.suffix.ends_with(ours));
    }));
  }
  [[nodiscard]] std::vector<TuningFile> files() const {
    const std::lock_guard lock{mutex_};
    return files_;
  }
  [[nodiscard]] std::uint64_t file_bytes() const {
    const std::lock_guard lock{mutex_};
    return file_bytes_;
  }
  [[nodiscard]] std::uint64_t largest_part() const {
    const std::lock_guard lock{mutex_};
    return largest_part_;
  }
  [[nodiscard]] std::vector<TuningSeen> seen() const {
    const std::lock_guard lock{mutex_};
    return seen_;
  }
  /// How many requests began so.
  [[nodiscard]] std::size_t seen(const std::string& on) const {
    const std::lock_guard lock{mutex_};
    return static_cast<std::size_t>(
        std::count_if(seen_.begin(), seen_.end(), [&](const TuningSeen& each) { return fits(on, each.line); }));
  }
  /// Faults that were met, chaos included.
  [[nodiscard]] std::size_t faults_met() const {
    const std::lock_guard lock{mutex_};
    return faults_met_;
  }

 private:
  struct Upload {
    std::string name;
    std::uint64_t bytes = 0;
    std::map<std::string, FormReader::File> parts;
    std::string file;  ///< once it is complete
  };

  class Asked;

  std::unique_ptr<Exchange> begin(const WireRequest& request) override;

  // All of these under the mutex.
  [[nodiscard]] std::optional<Trouble> trouble_of(const std::string& line);
  [[nodiscard]] WireReply route(const std::string& method, const std::string& path, const boost::json::object& body,
                                const FormReader* form);
  [[nodiscard]] WireReply job_route(const std::string& method, const std::string& rest, const boost::json::object& body,
                                    bool together);
  [[nodiscard]] WireReply one_job(TuningJob& job, const std::string& method, const std::string& verb);
  [[nodiscard]] WireReply make_job(const boost::json::object& body, bool together);
  [[nodiscard]] WireReply list_jobs(bool together) const;
  [[nodiscard]] WireReply take_file(const FormReader& form);
  [[nodiscard]] WireReply upload_route(const std::string& method, const std::string& rest,
                                       const boost::json::object& body, const FormReader* form);
  [[nodiscard]] WireReply complete(const std::string& id, Upload& upload, const boost::json::object& body);
  [[nodiscard]] WireReply models(const std::string& rest) const;
  [[nodiscard]] WireReply chat(const boost::json::object& body) const;
  [[nodiscard]] boost::json::object shown(const TuningJob& job) const;
  [[nodiscard]] WireReply page(const boost::json::array& newest_first) const;
  void step(TuningJob& job, std::string status);
  void end(const std::string& id, bool well, const std::string& error = {});
  [[nodiscard]] std::int64_t now_s() const { return rules_.now_s != 0 ? rules_.now_s : std::time(nullptr); }

  [[nodiscard]] static bool fits(std::string_view pattern, std::string_view text);
  [[nodiscard]] static WireReply say(const boost::json::value& value, int status = 200);
  [[nodiscard]] static WireReply refuse(int status, const std::string& message, const std::string& code);
  [[nodiscard]] static std::string text(const boost::json::object& object, std::string_view name);
  [[nodiscard]] std::string parameter(const std::string& name) const;
  static void spoil(WireReply& reply, Trouble trouble);

  mutable std::mutex mutex_;
  TuningRules rules_;
  std::deque<TuningFault> faults_;
  TuningChaos chaos_;
  std::mt19937_64 random_;
  std::deque<TuningPlan> plans_;
  std::vector<TuningJob> jobs_;
  std::vector<TuningFile> files_;
  std::map<std::string, Upload> uploads_;
  std::vector<TuningSeen> seen_;
  std::string query_;  ///< of the request that is answered
  std::uint64_t numbers_ = 0;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t largest_part_ = 0;
  std::size_t faults_met_ = 0;
};

// ---------------------------------------------------------------------------------------------------------------------

/// One request: its body as it comes, then what is done and answered.
class TuningServer::Asked : public Exchange {
 public:
  Asked(TuningServer& server, const WireRequest& request, std::string line, std::optional<Trouble> trouble)
      : server_{server}, request_{request}, line_{std::move(line)}, trouble_{trouble} {
    const auto type = request.headers.find("content-type");
    if (type == request.headers.end()) return;
    const std::size_t at = type->second.find("boundary=");
    if (at != std::string::npos) form_.emplace(type->second.substr(at + 9));
  }

  void take(std::string_view bytes) override {
    if (form_)
      form_->feed(bytes);
    else
      body_ += bytes.substr(0, 4'000'000 - std::min<std::size_t>(body_.size(), 4'000'000));
  }

  WireReply answer() override {
    const std::lock_guard lock{server_.mutex_};
    server_.seen_.push_back({line_, request_.head, body_});
    if (form_) {
      server_.file_bytes_ += form_->file().bytes;
      server_.largest_part_ = std::max(server_.largest_part_, form_->file().bytes);
    }
    if (std::optional<WireReply> reply = before()) return *std::move(reply);
    const std::size_t query = line_.find('?');
    const std::size_t space = line_.find(' ');
    server_.query_ = query == std::string::npos ? std::string{} : line_.substr(query + 1);
    boost::json::error_code error;
    boost::json::value body = boost::json::parse(body_.empty() ? "{}" : body_, error);
    WireReply reply = error || !body.is_object()
                          ? refuse(400, "the body is no JSON object", "invalid_json")
                          : server_.route(line_.substr(0, space), line_.substr(space + 1, query - space - 1),
                                          body.get_object(), form_ ? &*form_ : nullptr);
    if (trouble_) spoil(reply, *trouble_);
    return reply;
  }

 private:
  /// What is answered without anything being done.
  std::optional<WireReply> before() const {
    const std::string& key = server_.rules_.key;
    if (!key.empty() && header("authorization") != "Bearer " + key && header("api-key") != key)
      return refuse(401, "Incorrect API key provided: " + header("authorization") + header("api-key"),
                    "invalid_api_key");
    if (!trouble_) return {};
    switch (*trouble_) {
      case Trouble::too_many: {
        WireReply reply = refuse(429, "Rate limit reached", "rate_limit_exceeded");
        reply.headers += server_.rules_.retry_after;
        return reply;
      }
      case Trouble::broken:
        return refuse(500, "The server had an error", "server_error");
      case Trouble::bad_gateway:
        return WireReply{502, "Content-Type: text/html\r\n", {"<html><body>Bad\x1b[31m gateway</body></html>"}};
      case Trouble::unavailable:
        return refuse(503, "Overloaded", "overloaded");
      case Trouble::closed:
        return refuse(403, "Fine-tuning is no longer available to new users.", "training_not_available");
      case Trouble::hold_before:
        return WireReply{.how = WireReply::How::hold};
      default:
        return {};
    }
  }

  std::string header(const char* name) const {
    const auto at = request_.headers.find(name);
    return at == request_.headers.end() ? std::string{} : at->second;
  }

  TuningServer& server_;
  WireRequest request_;
  std::string line_;
  std::optional<Trouble> trouble_;
  std::optional<FormReader> form_;
  std::string body_;
};

inline std::unique_ptr<WireServer::Exchange> TuningServer::begin(const WireRequest& request) {
  std::string path = request.target;
  for (const std::string_view prefix : {"/openai/v1/", "/v1/"})
    if (path.starts_with(prefix)) path.erase(0, prefix.size() - 1);
  std::string line = request.method + ' ' + path;
  const std::lock_guard lock{mutex_};
  const std::optional<Trouble> trouble = trouble_of(line);
  if (trouble != Trouble::reset_before) return std::make_unique<Asked>(*this, request, std::move(line), trouble);
  seen_.push_back({std::move(line), request.head, {}});
  return nullptr;
}

inline bool TuningServer::fits(std::string_view pattern, std::string_view text) {
  text = text.substr(0, text.find('?'));
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern.empty() || pattern == text;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  const std::string_view end = pattern.substr(star + 1);
  return text.size() >= star + end.size() && text.ends_with(end);
}

inline std::optional<Trouble> TuningServer::trouble_of(const std::string& line) {
  for (auto each = faults_.begin(); each != faults_.end(); ++each) {
    if (!fits(each->on, line)) continue;
    const Trouble what = each->what;
    if (--each->times == 0) faults_.erase(each);
    ++faults_met_;
    return what;
  }
  if (chaos_.percent == 0 || chaos_.what.empty() || fits("POST /chat*", line)) return {};
  if (random_() % 100 >= chaos_.percent) return {};
  ++faults_met_;
  return chaos_.what[random_() % chaos_.what.size()];
}

inline WireReply TuningServer::say(const boost::json::value& value, int status) {
  return {status, "Content-Type: application/json\r\n", {boost::json::serialize(value)}};
}

inline WireReply TuningServer::refuse(int status, const std::string& message, const std::string& code) {
  return say({{"error", {{"message", message}, {"type", "some_error"}, {"param", nullptr}, {"code", code}}}}, status);
}

inline std::string TuningServer::text(const boost::json::object& object, std::string_view name) {
  const boost::json::value* value = object.if_contains(boost::json::string_view{name.data(), name.size()});
  return value != nullptr && value->is_string() ? std::string{value->get_string().c_str()} : std::string{};
}

/// Of the query; only plain ones.
inline std::string TuningServer::parameter(const std::string& name) const {
  const std::string all = '&' + query_;
  const std::size_t at = all.find('&' + name + '=');
  if (at == std::string::npos) return {};
  const std::size_t value = at + name.size() + 2;
  return all.substr(value, all.find('&', value) - value);
}

inline void TuningServer::spoil(WireReply& reply, Trouble trouble) {
  const auto each_object = [&](const auto& change) {
    boost::json::error_code error;
    boost::json::value value = boost::json::parse(reply.pieces.empty() ? "" : reply.pieces.front(), error);
    if (error || !value.is_object()) return;
    boost::json::value* data = value.get_object().if_contains("data");
    if (data != nullptr && data->is_array()) {
      for (boost::json::value& row : data->get_array())
        if (row.is_object()) change(row.get_object());
    } else {
      change(value.get_object());
    }
    reply.pieces = {boost::json::serialize(value)};
  };
  switch (trouble) {
    case Trouble::reset_after:
      reply.how = WireReply::How::reset;
      break;
    case Trouble::close_after:
      reply.how = WireReply::How::close;
      break;
    case Trouble::broken_after:
      reply = refuse(500, "The server had an error", "server_error");
      break;
    case Trouble::hold_after:
      reply.how = WireReply::How::hold;
      break;
    case Trouble::truncate:
      reply.how = WireReply::How::truncate;
      break;
    case Trouble::slow:
      reply.how = WireReply::How::slow;
      break;
    case Trouble::malformed:
      reply.pieces = {"{\"id\": \"ftjob-1\", \"status\": \xFF}, nonsense"};
      break;
    case Trouble::unknown_status:
      each_object([](boost::json::object& object) {
        if (object.contains("status")) object["status"] = "reticulating_splines";
      });
      break;
    case Trouble::missing_fields:
      each_object([](boost::json::object& object) {
        const boost::json::value id = object.contains("id") ? object["id"] : nullptr;
        object.clear();
        object["id"] = id;
      });
      break;
    case Trouble::missing_id:
      each_object([](boost::json::object& object) { object.erase("id"); });
      break;
    default:
      break;
  }
}

inline WireReply TuningServer::route(const std::string& method, const std::string& path,
                                     const boost::json::object& body, const FormReader* form) {
  const auto rest = [&path](std::string_view begin) { return path.substr(begin.size()); };
  if (path == "/files" || path == "/files/upload") {
    if (method != "POST" || form == nullptr) return refuse(405, "expected a form", "method_not_allowed");
    return take_file(*form);
  }
  if (path.starts_with("/files/")) {
    for (TuningFile& each : files_)
      if (each.id == rest("/files/")) {
        const bool pending = each.looks++ < rules_.import_looks;
        return say({{"id", each.id}, {"object", "file"}, {"status", pending ? "pending" : "processed"}});
      }
    return refuse(404, "No such File object", "not_found");
  }
  if (path.starts_with("/uploads")) return upload_route(method, rest("/uploads"), body, form);
  if (path.starts_with("/fine_tuning/jobs")) return job_route(method, rest("/fine_tuning/jobs"), body, false);
  if (path.starts_with("/fine-tunes")) return job_route(method, rest("/fine-tunes"), body, true);
  if (path.starts_with("/models")) return models(rest("/models"));
  if (path == "/chat/completions" && method == "POST") return chat(body);
  return refuse(404, "Unknown path " + path, "unknown_url");
}

inline WireReply TuningServer::take_file(const FormReader& form) {
  const FormReader::File& file = form.file();
  if (!form.complete() || file.field != "file" || file.bytes == 0)
    return refuse(400, "no file in the form", "missing_file");
  if (form.value("purpose") != "fine-tune") return refuse(400, "purpose is missing", "invalid_purpose");
  if (!file.name.ends_with(".jsonl")) return refuse(400, "expected .jsonl", "invalid_file_format");
  files_.push_back({"file-" + std::to_string(++numbers_), file.name, file.bytes, file.hash, 0});
  const std::uint64_t bytes = file.bytes;
  return say({{"id", files_.back().id},
              {"object", "file"},
              {"bytes", bytes},
              {"created_at", now_s()},
              {"filename", file.name},
              {"purpose", "fine-tune"},
              {"status", rules_.import_looks != 0 ? "pending" : "processed"}});
}

inline WireReply TuningServer::upload_route(const std::string& method, const std::string& rest,
                                            const boost::json::object& body, const FormReader* form) {
  if (method != "POST") return refuse(405, "POST", "method_not_allowed");
  if (rest.empty()) {
    if (text(body, "purpose") != "fine-tune" || text(body, "mime_type").empty() || text(body, "filename").empty())
      return refuse(400, "filename, purpose and mime_type are needed", "missing_required_parameter");
    const std::string id = "upload_" + std::to_string(++numbers_);
    const boost::json::value* bytes = body.if_contains("bytes");
    uploads_[id] = {text(body, "filename"),
                    bytes != nullptr && bytes->is_int64() ? static_cast<std::uint64_t>(bytes->get_int64()) : 0,
                    {},
                    {}};
    return say({{"id", id}, {"object", "upload"}, {"status", "pending"}});
  }
  const std::size_t slash = rest.find('/', 1);
  const auto upload = uploads_.find(rest.substr(1, slash - 1));
  if (upload == uploads_.end()) return refuse(404, "No such upload", "not_found");
  const std::string verb = slash == std::string::npos ? std::string{} : rest.substr(slash);
  if (!upload->second.file.empty()) return refuse(400, "The upload is completed already", "invalid_upload");
  if (verb == "/cancel") {
    uploads_.erase(upload);
    return say({{"id", rest.substr(1, slash - 1)}, {"status", "cancelled"}});
  }
  if (verb == "/complete") return complete(upload->first, upload->second, body);
  if (verb != "/parts" || form == nullptr) return refuse(404, "Unknown path", "unknown_url");
  if (form->file().field != "data" || form->file().bytes > 64'000'000)
    return refuse(400, "a part has up to 64 MB", "bad_part");
  const std::string id = "part_" + std::to_string(++numbers_);
  upload->second.parts[id] = form->file();
  return say({{"id", id}, {"object", "upload.part"}, {"upload_id", upload->first}});
}

inline WireReply TuningServer::complete(const std::string& id, Upload& upload, const boost::json::object& body) {
  TuningFile file{"file-" + std::to_string(++numbers_), upload.name, 0, {}, 0};
  const boost::json::value* parts = body.if_contains("part_ids");
  if (parts == nullptr || !parts->is_array()) return refuse(400, "part_ids is missing", "missing_required_parameter");
  for (const boost::json::value& each : parts->get_array()) {
    const auto part = upload.parts.find(each.is_string() ? each.get_string().c_str() : "");
    if (part == upload.parts.end()) return refuse(400, "No such part", "invalid_part");
    file.bytes += part->second.bytes;
    file.hash.append(part->second.hash);
  }
  if (file.bytes != upload.bytes) return refuse(400, "The bytes are not as many as were said", "invalid_upload");
  upload.file = file.id;
  files_.push_back(file);
  return say({{"id", id}, {"status", "completed"}, {"file", {{"id", file.id}, {"bytes", file.bytes}}}});
}

inline WireReply TuningServer::job_route(const std::string& method, const std::string& rest,
                                         const boost::json::object& body, bool together) {
  if (rest.empty()) return method == "POST" ? make_job(body, together) : list_jobs(together);
  const std::size_t slash = rest.find('/', 1);
  const std::string id = rest.substr(1, slash - 1);
  for (TuningJob& each : jobs_)
    if (each.id == id && each.together == together)
      return one_job(each, method, slash == std::string::npos ? std::string{} : rest.substr(slash));
  return refuse(404, "Could not find fine tune: " + id, "fine_tune_not_found");
}

inline WireReply TuningServer::one_job(TuningJob& job, const std::string& method, const std::string& verb) {
  const bool ended = job.to_come.empty();
  if (verb.empty() && method == "GET") {
    if ((rules_.steps || job.status == "cancel_requested") && !ended) step(job, job.to_come.front());
    return say(shown(job));
  }
  if (verb == "/cancel" && method == "POST") {
    if (ended) return refuse(400, "Job has already completed: " + job.id, "invalid_state");
    if (job.together && job.status != "cancel_requested") {
      job.to_come = {"cancel_requested", "cancelled"};
      step(job, "cancel_requested");
    } else if (!job.together) {
      job.to_come = {"cancelled"};
      step(job, "cancelled");
    }
    return say(shown(job));
  }
  if (verb == "/events" && method == "GET") {
    if (job.together) return say({{"object", "list"}, {"data", job.events}});
    boost::json::array newest_first = job.events;
    std::reverse(newest_first.begin(), newest_first.end());
    return page(newest_first);
  }
  if (verb == "/checkpoints" && method == "GET") {
    boost::json::array rows;
    if (job.finished_at_s != 0 && !job.model.empty())
      for (const int number : {200, 100})  // the newest first, as OpenAI has them
        rows.push_back({{"id", "ftckpt_" + std::to_string(number)},
                        {"step", number},
                        {"checkpoint_type", "Intermediate"},
                        {"step_number", number},
                        {"fine_tuned_model_checkpoint", job.model + ":ckpt-step-" + std::to_string(number)},
                        {"metrics", {{"train_loss", 0.5}, {"step", number}}}});
    return page(rows);
  }
  return refuse(404, "Unknown path", "unknown_url");
}

inline WireReply TuningServer::make_job(const boost::json::object& body, bool together) {
  if (rules_.closed) return refuse(403, "Fine-tuning is no longer available to new users.", "training_not_available");
  TuningJob job;
  job.base_model = text(body, "model");
  job.training_file = text(body, "training_file");
  job.validation_file = text(body, "validation_file");
  job.suffix = text(body, "suffix");
  if (job.base_model.empty()) return refuse(400, "you must provide a model parameter", "missing_required_parameter");
  for (const std::string* file : {&job.training_file, &job.validation_file})
    if (!(file == &job.validation_file && file->empty()) &&
        std::none_of(files_.begin(), files_.end(), [&](const TuningFile& each) { return each.id == *file; }))
      return refuse(400, "invalid training_file: " + *file, "invalid_file");
  if (job.suffix.size() > 64) return refuse(400, "suffix is too long", "invalid_suffix");
  job.together = together;
  job.id = (together ? "ft-" : "ftjob-") + std::to_string(++numbers_);
  job.created_at_s = now_s();
  job.request = body;
  if (const boost::json::value* metadata = body.if_contains("metadata"); metadata != nullptr && metadata->is_object()) {
    job.made_for = text(metadata->get_object(), "canary_job");
    for (const auto& [name, value] : metadata->get_object())
      if (!value.is_string() || name.size() > 64 || value.get_string().size() > 512)
        return refuse(400, "metadata has up to 64 and 512 characters", "invalid_metadata");
  }
  TuningPlan plan;
  if (!plans_.empty()) {
    plan = std::move(plans_.front());
    plans_.pop_front();
  }
  if (plan.statuses.empty())
    plan.statuses = together ? std::vector<std::string>{"pending", "queued", "running", "compressing", "completed"}
                             : std::vector<std::string>{"validating_files", "queued", "running", "succeeded"};
  job.error = plan.error;
  job.to_come.assign(plan.statuses.begin(), plan.statuses.end());
  step(job, job.to_come.front());
  jobs_.push_back(std::move(job));
  return say(shown(jobs_.back()));
}

inline void TuningServer::step(TuningJob& job, std::string status) {  // by value: it is taken away below
  job.status = status;
  if (!job.to_come.empty()) job.to_come.pop_front();
  const bool well = status == "succeeded" || status == "completed";
  if (job.to_come.empty()) job.finished_at_s = now_s();
  if (well) job.model = "ft:" + job.base_model + ":acme:" + job.suffix + ':' + job.id;
  const bool failed = job.to_come.empty() && !well && status != "cancelled";
  boost::json::object event{{"object", "fine_tuning.job.event"},
                            {"level", failed ? "error" : "info"},
                            {"message", failed ? job.error : "status: " + job.status},
                            {"type", "message"}};
  if (job.together) {
    event["created_at"] = canary::time_text(now_s() * 1'000'000);
  } else {
    event["id"] = "ftevent-" + std::to_string(++numbers_);
    event["created_at"] = now_s();
  }
  job.events.push_back(std::move(event));
}

inline void TuningServer::end(const std::string& id, bool well, const std::string& error) {
  const std::lock_guard lock{mutex_};
  for (TuningJob& job : jobs_) {
    if (job.id != id || job.to_come.empty()) continue;
    if (!well) job.error = error;
    const std::string last = well ? (job.together ? "completed" : "succeeded") : (job.together ? "error" : "failed");
    job.to_come = {last};
    step(job, last);
  }
}

inline boost::json::object TuningServer::shown(const TuningJob& job) const {
  const bool failed = job.status == "failed" || job.status == "error";
  boost::json::object object{{"id", job.id},
                             {"object", "fine_tuning.job"},
                             {"status", job.status},
                             {"model", job.base_model},
                             {"training_file", job.training_file}};
  if (job.together) {
    object["created_at"] = canary::time_text(job.created_at_s * 1'000'000);
    object["updated_at"] =
        canary::time_text((job.finished_at_s != 0 ? job.finished_at_s : job.created_at_s) * 1'000'000);
    object["model_output_name"] = "acme/" + job.base_model + '-' + job.suffix + "-0a1b2c3d";
    object["token_count"] = job.finished_at_s == 0 ? 0 : 1'234;
    object["events"] = job.events;
    if (rules_.suffix) object["suffix"] = job.suffix;
    return object;
  }
  for (const char* name : {"finished_at", "fine_tuned_model", "trained_tokens"}) object[name] = nullptr;
  object["created_at"] = job.created_at_s;
  if (job.finished_at_s != 0) object["finished_at"] = job.finished_at_s;
  if (!job.model.empty()) object["fine_tuned_model"] = job.model;
  if (job.finished_at_s != 0) object["trained_tokens"] = 1'234;
  object["error"] = boost::json::object{{"code", nullptr}, {"message", nullptr}, {"param", nullptr}};
  if (failed)
    object["error"] =
        boost::json::object{{"code", "invalid_training_file"}, {"message", job.error}, {"param", nullptr}};
  if (const boost::json::value* seed = job.request.if_contains("seed")) object["seed"] = *seed;
  if (const boost::json::value* metadata = job.request.if_contains("metadata"); metadata != nullptr && rules_.metadata)
    object["metadata"] = *metadata;
  if (rules_.suffix) object["user_provided_suffix"] = job.suffix;
  return object;
}

inline WireReply TuningServer::list_jobs(bool together) const {
  boost::json::array rows;
  for (auto job = jobs_.rbegin(); job != jobs_.rend(); ++job)
    if (job->together == together) rows.push_back(shown(*job));
  return together ? say({{"data", rows}}) : page(rows);
}

inline WireReply TuningServer::page(const boost::json::array& newest_first) const {
  boost::json::array rows = newest_first;
  if (rules_.oldest_first) std::reverse(rows.begin(), rows.end());
  const std::string after = parameter("after");
  const std::string wanted = parameter("limit");
  const std::size_t limit = wanted.empty() ? 20 : std::stoul(wanted);
  std::size_t begin = 0;
  for (std::size_t i = 0; i != rows.size() && !after.empty() && !rules_.endless; ++i)
    if (text(rows[i].get_object(), "id") == after) begin = i + 1;
  const std::size_t end = std::min(rows.size(), begin + limit);
  boost::json::array some(rows.begin() + static_cast<std::ptrdiff_t>(begin),
                          rows.begin() + static_cast<std::ptrdiff_t>(end));
  return say({{"object", "list"}, {"data", some}, {"has_more", rules_.endless || end != rows.size()}});
}

inline WireReply TuningServer::models(const std::string& rest) const {
  const auto model = [this](const std::string& name, const boost::json::value& date) {
    boost::json::object object{{"id", name}, {"object", "model"}, {"created", now_s()}, {"owned_by", "somebody"}};
    if (!date.is_null()) object["shutdown_date"] = date;
    return object;
  };
  if (rest.empty()) {
    boost::json::array rows;
    for (const auto& [name, date] : rules_.models) rows.push_back(model(name, date));
    return say({{"object", "list"}, {"data", rows}});
  }
  const auto found = rules_.models.find(rest.substr(1));
  if (found == rules_.models.end()) return refuse(404, "The model does not exist", "model_not_found");
  return say(model(found->first, found->second));
}

inline WireReply TuningServer::chat(const boost::json::object& body) const {
  const std::string model = text(body, "model");
  if (model.empty() || rules_.missing_models.contains(model))
    return refuse(404, "The model `" + model + "` does not exist", "model_not_found");
  std::string last;
  if (const boost::json::value* messages = body.if_contains("messages"); messages != nullptr && messages->is_array())
    for (const boost::json::value& each : messages->get_array())
      if (each.is_object()) last = text(each.get_object(), "content");
  const std::string answer = model + " says: " + last;
  const boost::json::object usage{{"prompt_tokens", last.size()},
                                  {"completion_tokens", answer.size()},
                                  {"total_tokens", last.size() + answer.size()}};
  const boost::json::value* stream = body.if_contains("stream");
  if (stream == nullptr || !stream->is_bool() || !stream->get_bool())
    return say(
        {{"id", "chatcmpl-1"},
         {"object", "chat.completion"},
         {"model", model},
         {"choices",
          {{{"index", 0}, {"message", {{"role", "assistant"}, {"content", answer}}}, {"finish_reason", "stop"}}}},
         {"usage", usage}});
  WireReply reply{200, "Content-Type: text/event-stream\r\n", {}};
  const auto event = [&](const boost::json::object& delta, const boost::json::value& finish) {
    reply.pieces.push_back("data: " +
                           boost::json::serialize(boost::json::object{
                               {"id", "chatcmpl-1"},
                               {"object", "chat.completion.chunk"},
                               {"model", model},
                               {"choices", {{{"index", 0}, {"delta", delta}, {"finish_reason", finish}}}}}) +
                           "\n\n");
  };
  event({{"role", "assistant"}, {"content", ""}}, nullptr);
  for (std::size_t at = 0; at < answer.size(); at += 7) event({{"content", answer.substr(at, 7)}}, nullptr);
  event({}, "stop");
  reply.pieces.push_back("data: " +
                         boost::json::serialize(boost::json::object{{"id", "chatcmpl-1"},
                                                                    {"object", "chat.completion.chunk"},
                                                                    {"model", model},
                                                                    {"choices", boost::json::array{}},
                                                                    {"usage", usage}}) +
                         "\n\n");
  reply.pieces.push_back("data: [DONE]\n\n");
  return reply;
}

}  // namespace test
