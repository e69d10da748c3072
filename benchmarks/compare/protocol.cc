#include "compare/protocol.hpp"

#include <cmath>
#include <sstream>

namespace bench {

static bool read_figure(std::istringstream &words, Run *run) {
  Figure figure;
  if (!(words >> figure.name >> figure.value >> figure.unit)) return false;
  if (!std::isfinite(figure.value) || figure.value < 0) return false;
  for (const Figure &other : run->figures) {
    if (other.name == figure.name) return false;
  }
  run->figures.push_back(figure);
  return true;
}

static bool read_note(std::istringstream &words, Run *run) {
  std::string name, of, text;
  words >> name;
  if (name == "skipped") {
    words >> of;
    std::getline(words >> std::ws, text);
    run->skipped[of] = text;
    return !of.empty();
  }
  if (name == "operations") {
    double count = 0;
    if (!(words >> of >> count)) return false;
    run->operations[of] += count;
    return true;
  }
  if (name == "huge") return static_cast<bool>(words >> of >> run->huge[of]);
  std::getline(words >> std::ws, text);
  run->notes[name] = text;
  return true;
}

static bool read_line(const std::string &line, Run *run) {
  std::istringstream words(line);
  std::string kind, name, text;
  words >> kind;
  if (kind == "result") return read_figure(words, run);
  if (kind == "note") return read_note(words, run);
  if (kind == "check") {
    words >> name;
    std::getline(words >> std::ws, text);
    return run->checks.emplace(name, text).second;
  }
  if (kind == "point") {
    Point point;
    if (!(words >> name >> point.seconds >> point.mib)) return false;
    run->points[name].push_back(point);
    return true;
  }
  if (kind == "allocator") {
    std::string version;
    words >> name >> version >> text;
    if (text == "proven") run->allocator = name + " " + version;
  }
  return true;
}

bool read_run(const std::string &output, Run *run, std::string *reason) {
  std::istringstream lines(output);
  std::string line;
  while (std::getline(lines, line)) {
    if (read_line(line, run)) continue;
    *reason = "cannot read, or said twice: " + line;
    return false;
  }
  if (!run->figures.empty() && run->allocator.empty()) {
    *reason = "no proof of the allocator that served it";
    return false;
  }
  if (run->figures.empty() && run->skipped.empty()) {
    *reason = "reported no result";
    return false;
  }
  return true;
}

const std::string *why_skipped(const std::map<std::string, std::string> &skipped,
                               const std::string &name) {
  for (size_t end = name.size(); end != std::string::npos && end > 0;
       end = name.rfind('/', end - 1)) {
    auto at = skipped.find(name.substr(0, end));
    if (at != skipped.end()) return &at->second;
  }
  return nullptr;
}

}  // namespace bench
