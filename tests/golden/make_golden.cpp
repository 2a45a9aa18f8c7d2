// Writes the golden file:  canary_make_golden tests/golden/assignment.json
// Run it to add cases. If a value that stood before comes out different, users would change version by an upgrade of
// the library: that is a defect, not a new golden value.
#include <canary/core/router.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using canary::Owner;
using canary::Point;

struct Key {
  std::string bytes;
  std::uint64_t number = 0;
  bool is_number = false;
};

struct Share {
  std::string model;
  std::uint32_t ppm = 0;
  std::string id = {};
};

struct Step {
  std::string about;
  std::vector<Share> shares;
  bool untouched = false;  ///< what the task answers before its first split
};

struct TaskCase {
  std::string task;
  std::string about;
  std::string default_model = {};
  std::string salt = {};
  std::string forced_model = {};
  std::vector<Step> steps = {};
};

// --- JSON out: ASCII only, so that no editor or tool can change a key by normalising it
// ---------------------------------

/// Decodes one character of UTF-8 at `at`; 0xFFFFFFFF if there is none. Overlong forms and surrogates are not UTF-8.
std::uint32_t decode(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const std::uint32_t lead = byte(at);
  const int length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0) return 0xFFFF'FFFF;
  std::uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
  for (int i = 1; i < length; ++i) {
    const std::uint32_t next = byte(at + static_cast<std::size_t>(i));
    if ((next & 0xC0) != 0x80) return 0xFFFF'FFFF;
    code = code << 6 | (next & 0x3F);
  }
  at += static_cast<std::size_t>(length);
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x1'0000);
  return overlong || code > 0x10'FFFF || (code >= 0xD800 && code < 0xE000) ? 0xFFFF'FFFF : code;
}

/// False if the bytes are not UTF-8 text that reads well.
bool quote(std::string_view text, std::string& out) {
  out = "\"";
  for (std::size_t at = 0; at != text.size();) {
    const std::uint32_t code = decode(text, at);
    if (code == 0xFFFF'FFFF || code < 0x20 || code == 0x7F) return false;
    char escaped[16];
    if (code > 0xFFFF)
      std::snprintf(escaped, sizeof escaped, "\\u%04x\\u%04x", 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
    else if (code > 0x7F)
      std::snprintf(escaped, sizeof escaped, "\\u%04x", code);
    else
      std::snprintf(escaped, sizeof escaped, code == '"' || code == '\\' ? "\\%c" : "%c", static_cast<int>(code));
    out += escaped;
  }
  out += '"';
  return true;
}

std::string quoted(std::string_view text) {
  std::string out;
  if (quote(text, out)) return out;
  out = "\"hex:";
  for (const char c : text) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += digits;
  }
  return out + '"';
}

std::string key_member(const Key& key) {
  return key.is_number ? "\"u64\": \"" + std::to_string(key.number) + '"' : "\"key\": " + quoted(key.bytes);
}

std::string hex64(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "\"0x%08x%08x\"", static_cast<unsigned>(value >> 32), static_cast<unsigned>(value));
  return text;
}

/// `[` or `{`, an item per line, the end.
std::string lines(char open, const std::vector<std::string>& items, int indent) {
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  std::string out(1, open);
  for (const std::string& item : items) out += (&item == items.data() ? "\n  " : ",\n  ") + margin + item;
  if (!items.empty()) out += '\n' + margin;
  return out + (open == '[' ? ']' : '}');
}

// --- the cases
// --------------------------------------------------------------------------------------------------------

constexpr std::string_view nfc = "Zo\xC3\xAB";  // the same name to a reader, two keys to canary
constexpr std::string_view nfd = "Zoe\xCC\x88";
constexpr std::string_view city = "\xE6\x9D\xB1\xE4\xBA\xAC";
constexpr std::string_view bird = "\xF0\x9F\x90\xA4";

std::string text_of(std::size_t size) {
  constexpr std::string_view pattern = "user-0123456789/tenant.acme:session_";
  std::string text;
  for (std::size_t i = 0; i != size; ++i) text += pattern[i % pattern.size()];
  return text;
}

/// Every byte value but no UTF-8.
std::string bytes_of(std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; i != size; ++i) bytes += static_cast<char>(static_cast<unsigned char>(0xFF - i * 37));
  return bytes;
}

std::vector<std::string> salts() {
  return {
      "checklist_enrichment", "document_check",  "risk_explanation", "a",          "ab",         "abc",         "abcd",
      "2024-winter-cohort",   std::string{city}, text_of(128),       text_of(240), text_of(241), text_of(1'000)};
}

std::vector<Key> hash_keys() {
  std::vector<Key> keys;
  for (const std::size_t size :
       {0u,  1u,  2u,  3u,  4u,   5u,   7u,   8u,   9u,   15u,  16u,  17u,  32u,  33u,  36u,
        64u, 65u, 96u, 97u, 128u, 129u, 160u, 161u, 239u, 240u, 241u, 256u, 512u, 513u, 1'000u}) {
    keys.push_back({text_of(size)});
    if (size != 0) keys.push_back({bytes_of(size)});
  }
  for (const std::string_view text : {nfc, nfd, city, bird}) keys.push_back({std::string{text}});
  keys.push_back({std::string("\0", 1)});
  keys.push_back({std::string("a\0b", 3)});
  keys.push_back({std::string("\x2a\0\0\0\0\0\0\0", 8)});  // the number 42 as its bytes
  for (const std::uint64_t number :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{42}, std::uint64_t{0x7FFF'FFFF}, std::uint64_t{0x8000'0000},
        std::uint64_t{0xFFFF'FFFF}, std::uint64_t{1} << 32, (std::uint64_t{1} << 53) + 1,
        std::uint64_t{0x0102'0304'0506'0708}, std::uint64_t{1} << 63, ~std::uint64_t{0}})
    keys.push_back({{}, number, true});
  return keys;
}

/// Keys that every step of every task decides.
std::vector<Key> common_keys() {
  std::vector<Key> keys;
  for (const std::string_view text :
       {"", "0", "user-42", "user-43", "user-44", "user-45", "alice@example.org", "tenant/acme", "session:5f1d7a84db00",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"})
    keys.push_back({std::string{text}});
  for (const std::string_view text : {nfc, nfd, city, bird}) keys.push_back({std::string{text}});
  keys.push_back({bytes_of(16)});
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{42}, std::uint64_t{1'000'003}, ~std::uint64_t{0}})
    keys.push_back({{}, number, true});
  return keys;
}

/// Versions `first`.. of a family, uneven.
std::vector<Share> family(std::size_t count, std::uint32_t base_ppm, std::uint32_t spread_ppm) {
  std::vector<Share> shares;
  for (std::size_t i = 0; i != count; ++i)
    shares.push_back(
        {"model-" + std::to_string(i + 1), base_ppm + static_cast<std::uint32_t>(i * 7 % 16) * spread_ppm});
  return shares;
}

std::vector<TaskCase> few_versions() {
  const std::string v7 = "ft:gpt-4o-mini:acme:v7";
  const std::string v8 = "ft:gpt-4o-mini:acme:v8";
  return {
      {"checklist_enrichment",
       "a canary's life: ramp, a second one joins, the first is rolled back, the second wins",
       "gpt-4o-mini",
       "",
       "",
       {{"before any split", {}, true},
        {"first split", {{v7, 100'000}}},
        {"ramp", {{v7, 250'000}}},
        {"a second version joins", {{v7, 250'000}, {v8, 50'000}}},
        {"the middle version is rolled back: its keys move, no others", {{v8, 50'000}}},
        {"the second version takes all", {{v8, 1'000'000}}},
        {"everything goes back to the default", {}}}},
      {"document_check",
       "no default: what no version holds is a fallback with an empty model",
       "",
       "",
       "",
       {{"before any split", {}, true},
        {"90/10", {{"gpt-4o-mini", 900'000}, {v7, 100'000}}},
        {"a tenth belongs to nobody", {{"gpt-4o-mini", 800'000}, {v7, 100'000}}},
        {"nothing left", {}},
        {"the first version again: same id, same number", {{v7, 100'000}}}}},
      {"risk_explanation", "a salt of its own", "base", "2024-winter-cohort", "", {{"half", {{"next", 500'000}}}}},
      {"risk_explanation_twin",
       "the same salt as risk_explanation: the same points",
       "base",
       "2024-winter-cohort",
       "",
       {{"half", {{"next", 500'000}}}}},
      {"rules_extraction",
       "three versions and a default; the middle one leaves and returns",
       "base",
       "",
       "",
       {{"first split", {{"a", 200'000}, {"b", 300'000}, {"c", 400'000}}},
        {"b is rolled back", {{"a", 200'000}, {"c", 400'000}}},
        {"b returns", {{"a", 200'000}, {"c", 400'000}, {"b", 300'000}}},
        {"a and c trade, b stays", {{"a", 350'000}, {"b", 300'000}, {"c", 250'000}}},
        {"a version waits at 0", {{"a", 350'000}, {"b", 300'000}, {"c", 250'000}, {"d", 0}}}}},
      {"thirds",
       "largest remainder: the parts sum to the ring exactly",
       "",
       "",
       "",
       {{"equal parts tie, the lower owner goes first", {{"a", 333'333}, {"b", 333'333}, {"c", 333'333}}},
        {"two parts change, the third keeps its points", {{"a", 333'334}, {"b", 333'333}, {"c", 333'333}}},
        {"no part keeps its weight", {{"a", 250'001}, {"b", 250'002}, {"c", 250'003}}}}},
      {"sevenths",
       "seven equal remainders",
       "base",
       "",
       "",
       {{"first split",
         {{"a", 142'857},
          {"b", 142'857},
          {"c", 142'857},
          {"d", 142'857},
          {"e", 142'857},
          {"f", 142'857},
          {"g", 142'857}}}}},
      {"one_ppm",
       "shares far below a percent",
       "base",
       "",
       "",
       {{"the least share there is", {{"a", 1}}},
        {"three of them", {{"a", 1}, {"b", 1}, {"c", 1}}},
        {"one doubles", {{"a", 1}, {"b", 2}, {"c", 1}}},
        {"all but the least", {{"a", 1}, {"b", 999'999}}}}},
      {"explicit_ids",
       "ids of the caller's own; numbering passes over a taken one",
       "base",
       "",
       "",
       {{"one model, two versions of it", {{"gpt-4o-mini", 100'000, "prompt-a"}, {"gpt-4o-mini", 200'000, "prompt-b"}}},
        {"a model without an id means its first version", {{"gpt-4o-mini", 150'000}}},
        {"an id that looks like a number's",
         {{"gpt-4o-mini", 150'000}, {"other", 50'000, "explicit_ids@4"}, {"third", 50'000}}}}},
      {"forced_unknown",
       "a forced model that is no version of the task",
       "base",
       "",
       "emergency",
       {{"before any split", {}, true}, {"the split stands behind it", {{"a", 100'000}}}}},
      {"forced_known",
       "a forced model that is a version of the task, from its first split on",
       "base",
       "",
       "a",
       {{"before any split", {}, true}, {"the version's own id", {{"a", 100'000}, {"b", 100'000}}}}},
      {"unicode",
       "texts outside ASCII are bytes like any others",
       std::string{city},
       std::string{nfc},
       "",
       {{"first split", {{std::string{bird}, 400'000}, {std::string{nfd}, 100'000}}}}},
  };
}

std::vector<TaskCase> many_versions() {
  TaskCase sixteen{"sixteen", "sixteen uneven versions, no default"};
  sixteen.steps.push_back({"first split", family(16, 40'000, 3'000)});
  Step next{"every third version gives to the first", sixteen.steps[0].shares};
  for (std::size_t i = 3; i < next.shares.size(); i += 3) next.shares[i].ppm -= 9'999, next.shares[0].ppm += 9'999;
  sixteen.steps.push_back(next);
  next.about = "the eighth is rolled back, the ninth takes its share";
  next.shares[8].ppm += next.shares[7].ppm;
  next.shares[7].ppm = 0;
  sixteen.steps.push_back(next);

  TaskCase sixty_four{"sixty_four", "64 versions and a default", "base"};
  sixty_four.steps.push_back({"first split", family(64, 10'000, 500)});
  next = {"half of them give to the other half", sixty_four.steps[0].shares};
  for (std::size_t i = 0; i < next.shares.size(); i += 2) next.shares[i].ppm -= 137, next.shares[i + 1].ppm += 137;
  sixty_four.steps.push_back(next);
  next.about = "one is rolled back to the default";
  next.shares.erase(next.shares.begin() + 30);
  sixty_four.steps.push_back(next);

  TaskCase crowded{"crowded", "so many tiny shares side by side that columns hold more than one cut", "base"};
  crowded.steps.push_back({"little is left beside the first", {{"model-1", 999'000}}});
  next = {"28 versions in what is left", {{"model-1", 999'000}}};
  for (std::size_t i = 2; i != 30; ++i)
    next.shares.push_back({"model-" + std::to_string(i), static_cast<std::uint32_t>(i % 4 + 1)});
  crowded.steps.push_back(next);
  next.about = "the first takes some of it";
  next.shares[0].ppm = 999'900;
  for (std::size_t i = 1; i != next.shares.size(); ++i) next.shares[i].ppm = static_cast<std::uint32_t>(i % 3);
  crowded.steps.push_back(next);
  return {sixteen, sixty_four, crowded};
}

// --- what canary makes of them
// ------------------------------------------------------------------------------------------

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "make_golden: %s\n", why.c_str());
  std::exit(1);
}

/// Adds keys until every owner of points decides at least one.
void cover_owners(const canary::Partition& partition, std::uint64_t seed, std::vector<Key>& keys) {
  const auto point = [&](const Key& key) {
    return key.is_number ? canary::point_of(key.number, seed) : canary::point_of(key.bytes, seed);
  };
  std::vector<bool> seen(canary::max_versions + 1, false);
  std::size_t missing = partition.shares().size();
  const auto see = [&](Point at) {
    const Owner owner = partition.owner_at(at);
    if (seen[owner]) return false;
    seen[owner] = true;
    --missing;
    return true;
  };
  for (const Key& key : keys) see(point(key));
  std::size_t n = 0;
  while (missing != 0) {
    const Key key{"user-" + std::to_string(n++)};
    if (see(point(key))) keys.push_back(key);
  }
}

std::string decision_line(const Key& key, canary::Decision d) {
  return '{' + key_member(key) + ", \"point\": " + std::to_string(d.point()) +
         ", \"version\": " + quoted(d.version_id()) + ", \"model\": " + quoted(d.model()) +
         ", \"reason\": " + quoted(to_string(d.reason())) + '}';
}

std::string share_line(const Share& share) {
  const std::string id = share.id.empty() ? "" : ", \"id\": " + quoted(share.id);
  return "{\"model\": " + quoted(share.model) + ", \"ppm\": " + std::to_string(share.ppm) + id + '}';
}

std::vector<std::string> version_lines(const canary::Router& router, canary::Task task,
                                       const canary::Partition& partition) {
  std::vector<std::string> out;
  for (Owner owner = 0; !router.version(task, owner).id.empty(); ++owner) {
    canary::OwnerShare share{owner};
    for (const canary::OwnerShare& s : partition.shares())
      if (s.owner == owner) share = s;
    const canary::VersionName name = router.version(task, owner);
    out.push_back("{\"owner\": " + std::to_string(owner) + ", \"id\": " + quoted(name.id) +
                  ", \"model\": " + quoted(name.model) + ", \"ppm\": " + std::to_string(share.ppm) +
                  ", \"points\": " + std::to_string(share.points) + '}');
  }
  return out;
}

std::string step_text(canary::Router& router, canary::Task task, const Step& step, std::vector<Key>& keys) {
  canary::SplitResult result;
  std::vector<std::string> shares;
  if (!step.untouched) {
    std::vector<canary::VersionShare> wanted;
    for (const Share& share : step.shares) {
      wanted.push_back({share.model, share.ppm, share.id});
      shares.push_back(share_line(share));
    }
    result = router.set_split(task, wanted);
    if (!result) die(step.about + ": " + std::string{to_string(result.error)});
  }
  const canary::Partition partition = router.partition(task);
  cover_owners(partition, task.seed(), keys);
  std::vector<std::string> runs;
  for (const canary::Run& run : partition.runs())
    runs.push_back('[' + std::to_string(run.start) + ", " + std::to_string(run.owner) + ']');
  std::vector<std::string> decisions;
  for (const Key& key : keys)
    decisions.push_back(
        decision_line(key, key.is_number ? router.route(task, key.number) : router.route(task, key.bytes)));
  return lines(
      '{',
      {"\"about\": " + quoted(step.about), "\"shares\": " + (step.untouched ? "null" : lines('[', shares, 10)),
       "\"revision\": " + std::to_string(result.revision), "\"points_moved\": " + std::to_string(result.points_moved),
       "\"points_minimum\": " + std::to_string(result.points_minimum),
       "\"versions\": " + lines('[', version_lines(router, task, partition), 10), "\"runs\": " + lines('[', runs, 10),
       "\"decisions\": " + lines('[', decisions, 10)},
      8);
}

std::string task_text(const TaskCase& c) {
  canary::Router router;
  const canary::Task task =
      router.task(c.task, {.default_model = c.default_model, .salt = c.salt, .forced_model = c.forced_model});
  if (!task) die(c.task + " is no task");
  std::vector<Key> keys = common_keys();
  std::vector<std::string> steps;
  for (const Step& step : c.steps) steps.push_back(step_text(router, task, step, keys));
  return lines(
      '{',
      {"\"task\": " + quoted(c.task), "\"about\": " + quoted(c.about), "\"default_model\": " + quoted(c.default_model),
       "\"salt\": " + quoted(c.salt), "\"forced_model\": " + quoted(c.forced_model), "\"seed\": " + hex64(task.seed()),
       "\"steps\": " + lines('[', steps, 6)},
      4);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) die("usage: canary_make_golden FILE");
  std::vector<std::string> seeds;
  for (const std::string& salt : salts())
    seeds.push_back("{\"salt\": " + quoted(salt) + ", \"seed\": " + hex64(canary::seed_of(salt)) + '}');
  std::vector<std::string> points;
  for (const std::string& salt : {std::string{"checklist_enrichment"}, std::string{"2024-winter-cohort"}}) {
    const std::uint64_t seed = canary::seed_of(salt);
    for (const Key& key : hash_keys()) {
      const Point point = key.is_number ? canary::point_of(key.number, seed) : canary::point_of(key.bytes, seed);
      points.push_back("{\"salt\": " + quoted(salt) + ", " + key_member(key) + ", \"seed\": " + hex64(seed) +
                       ", \"point\": " + std::to_string(point) + '}');
    }
  }
  std::vector<std::string> splits;
  for (const auto& cases : {few_versions(), many_versions()})
    for (const TaskCase& c : cases) splits.push_back(task_text(c));
  const std::string text = lines('{',
                                 {"\"about\": \"What every implementation must answer; docs/assignment.md says how. A "
                                  "value that changes moves users "
                                  "from one version to another: a break for everyone.\"",
                                  "\"seeds\": " + lines('[', seeds, 2), "\"points\": " + lines('[', points, 2),
                                  "\"splits\": " + lines('[', splits, 2)},
                                 0) +
                           '\n';
  std::FILE* file = std::fopen(argv[1], "wb");
  if (file == nullptr || std::fwrite(text.data(), 1, text.size(), file) != text.size() || std::fclose(file) != 0)
    die(std::string{"cannot write "} + argv[1]);
  return 0;
}
