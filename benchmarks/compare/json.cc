#include "compare/json.hpp"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace bench {

using Json = nlohmann::ordered_json;

static const char *name_of(Role role) {
  switch (role) {
    case Role::VARIANT:
      return "variant";
    case Role::YARDSTICK:
      return "yardstick";
    case Role::PEER:
      break;
  }
  return "peer";
}

static Json json_of(const Ratio &ratio) {
  Json json{{"ratio", ratio.median}};
  if (!ratio.has_spread) return json;
  static const char *const words[] = {"better", "no difference", "worse"};
  json["low"] = ratio.low;
  json["high"] = ratio.high;
  json["verdict"] = words[ratio.verdict() + 1];
  return json;
}

/* Machine, compiler and flags are among the notes: as the program told them. */
static Json json_of(const Report &report, bool is_first) {
  const Program &program = report.program;
  Json json{{"label", program.label},
            {"role", is_first ? "first" : name_of(program.role)},
            {"program", program.path.substr(program.path.rfind('/') + 1)},
            {"arguments", program.arguments},
            {"environment", Json::object()},
            {"notes", report.notes},
            {"checks", report.checks},
            {"skipped", report.skipped},
            {"failed", report.failed}};
  for (const auto &[name, value] : program.environment) json["environment"][name] = value;
  if (!report.allocator.empty()) {
    json["allocator"] = report.allocator;
    json["runs_proven"] = report.proofs;
  }
  return json;
}

static Json json_of(const std::vector<Row> &rows, const std::vector<Report> &reports) {
  Json list = Json::array();
  for (const Row &row : rows) {
    Json json{{"name", row.name},
              {"workload", workload_of(row.name)},
              {"group", row.group},
              {"unit", row.unit},
              {"programs", Json::object()}};
    for (size_t i = 0; i < reports.size(); i++) {
      if (row.series[i] == nullptr) continue;
      Json &one = json["programs"][reports[i].program.label];
      one = {{"median", median(*row.series[i])}, {"series", *row.series[i]}};
      if (i > 0 && row.ratios[i].known) one["first_to_this"] = json_of(row.ratios[i]);
      if (row.to_best[i].known) one["this_to_best"] = json_of(row.to_best[i]);
    }
    if (row.best != 0) json["best_peer"] = reports[row.best].program.label;
    list.push_back(json);
  }
  return list;
}

static Json json_of(const std::vector<Total> &totals,
                    const std::vector<Report> &reports) {
  Json list = Json::array();
  for (const Total &total : totals) {
    Json json = json_of(total.ratio);
    json["group"] = total.group;
    json["unit"] = total.kind;
    json["of"] = reports[total.of].program.label;
    json["results"] = total.rows();
    if (total.against != 0) {
      json["against"] = reports[total.against].program.label;
    } else {
      json["against_best_peers"] = true;
    }
    if (total.ratio.has_spread) {
      json["better"] = total.better;
      json["no_difference"] = total.no_difference;
      json["worse"] = total.worse;
    }
    list.push_back(json);
  }
  return list;
}

static Json json_of(const OsCalls &calls) { return Json(calls); }

static Json json_of(const Instructions &counted) {
  Json json = Json::object();
  if (counted.allocations > 0) {
    json["allocations"] = counted.allocations;
    json["per_allocation"] = counted.per_allocation;
  }
  if (counted.frees > 0) {
    json["frees"] = counted.frees;
    json["per_free"] = counted.per_free;
  }
  return json;
}

template <typename Counts>
static Json json_of(const Counted<Counts> &counted) {
  Json json{{"counts", Json::object()}, {"failed", counted.failed}};
  for (const auto &[workload, by_label] : counted.counts) {
    for (const auto &[label, counts] : by_label) {
      json["counts"][workload][label] = json_of(counts);
    }
  }
  return json;
}

static Json points_of(const std::vector<Report> &reports) {
  Json json = Json::object();
  for (const Report &report : reports) {
    for (const auto &[workload, points] : report.points) {
      Json list = Json::array();
      for (const Point &point : points) list.push_back({point.seconds, point.mib});
      json[workload][report.program.label] = list;
    }
  }
  return json;
}

static Json huge_of(const std::vector<Report> &reports) {
  Json json = Json::object();
  for (const Report &report : reports) {
    for (const auto &[workload, share] : report.huge) {
      json[workload][report.program.label] = share;
    }
  }
  return json;
}

static Json json_of(const Measurement &measurement) {
  const SuitePlan &plan = measurement.plan;
  Groups groups = groups_of(measurement.workloads);
  std::vector<Row> rows = rows_of(measurement.reports, groups);
  Json json{{"format", "hakmem comparison 1"},
            {"smoke", plan.smoke},
            {"pairs", plan.rounds},
            {"began", measurement.began},
            {"seconds", measurement.seconds}};
  if (measurement.is_suite) {
    json["scale"] = plan.scale;
    json["filter"] = plan.filter;
  }
  for (const Report &report : measurement.reports) {
    json["programs"].push_back(json_of(report, &report == &measurement.reports[0]));
  }
  json["workloads"] = Json::array();
  for (const Workload &workload : measurement.workloads) {
    json["workloads"].push_back(
        {{"name", workload.name}, {"group", workload.group}, {"what", workload.what}});
  }
  json["results"] = json_of(rows, measurement.reports);
  json["totals"] = json_of(totals_of(rows, measurement.reports), measurement.reports);
  json["points"] = points_of(measurement.reports);
  json["huge_pages"] = huge_of(measurement.reports);
  if (!measurement.latency.empty()) {
    json["latency"] = {
        {"results", json_of(rows_of(measurement.latency, {}), measurement.latency)}};
    for (const Report &report : measurement.latency) {
      json["latency"]["programs"].push_back(
          json_of(report, &report == &measurement.latency[0]));
    }
  }
  if (plan.os_calls) json["os_calls"] = json_of(measurement.os_calls);
  if (!plan.instructions.empty()) {
    json["instructions"] = json_of(measurement.instructions);
  }
  return json;
}

bool write_json(const std::string &path, const Measurement &measurement) {
  std::ofstream file(path);
  /* A path or a note may hold bytes that are no UTF-8. */
  file << json_of(measurement).dump(1, ' ', false, Json::error_handler_t::replace)
       << '\n';
  file.close();
  if (file) return true;
  std::fprintf(stderr, "cannot write %s\n", path.c_str());
  return false;
}

}  // namespace bench
