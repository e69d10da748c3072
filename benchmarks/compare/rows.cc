#include "compare/rows.hpp"

#include <algorithm>

namespace bench {

std::string workload_of(const std::string &result) {
  return result.substr(0, result.find('/'));
}

const char *word_for(const Ratio &ratio) {
  static const char *const words[] = {"better", "no diff", "WORSE"};
  return ratio.has_spread ? words[ratio.verdict() + 1] : "-";
}

static Row row_of(const std::vector<Report> &reports, const std::string &name) {
  Row row;
  row.name = name;
  row.unit = reports.front().units.at(name);
  double smallest = 0;
  for (size_t i = 0; i < reports.size(); i++) {
    auto at = reports[i].series.find(name);
    bool measured = at != reports[i].series.end();
    row.series.push_back(measured ? &at->second : nullptr);
    row.ratios.push_back(measured ? ratio_of_pairs(*row.series[0], at->second) : Ratio());
    if (i == 0 || !measured || reports[i].program.role != Role::PEER) continue;
    double value = median(at->second);
    if (row.best == 0 || value < smallest) {
      row.best = i;
      smallest = value;
    }
  }
  for (const auto *series : row.series) {
    row.to_best.push_back(row.best != 0 && series != nullptr
                              ? ratio_of_pairs(*series, *row.series[row.best])
                              : Ratio());
  }
  return row;
}

std::vector<Row> rows_of(const std::vector<Report> &reports, const Groups &groups) {
  std::vector<Row> rows;
  for (const std::string &name : reports.front().names) {
    rows.push_back(row_of(reports, name));
    auto at = groups.find(workload_of(name));
    if (at != groups.end()) rows.back().group = at->second;
  }
  return rows;
}

const std::vector<std::string> &kinds_of_totals() {
  static const std::vector<std::string> kinds{"ns",          "MiB", "MiB peak",
                                              "MiB settled", "x",   "faults"};
  return kinds;
}

bool is_of_kind(const Row &row, const std::string &kind) {
  std::string phase = row.name.substr(row.name.find('/') + 1);
  if (kind == "MiB peak") return phase == "peak_rss";
  if (kind == "MiB settled") return phase == "rss_after_1s";
  return row.unit == kind;
}

/* The series of the program, and of what it is held against; false if the row has
 * not both, or they have no ratio. */
static bool pair_of(const Row &row, const Total &total, const std::vector<double> **own,
                    const std::vector<double> **other, Ratio *ratio) {
  size_t against = total.against != 0 ? total.against : row.best;
  if (!is_of_kind(row, total.kind) ||
      (!total.group.empty() && row.group != total.group) || against == 0 ||
      row.series[total.of] == nullptr || row.series[against] == nullptr) {
    return false;
  }
  *own = row.series[total.of];
  *other = row.series[against];
  *ratio = ratio_of_pairs(**own, **other);
  return ratio->known;
}

static void add_up(const std::vector<Row> &rows, Total *total) {
  std::vector<std::vector<double>> by_round;
  const std::vector<double> *own, *other;
  Ratio ratio;
  for (const Row &row : rows) {
    if (!pair_of(row, *total, &own, &other, &ratio)) continue;
    total->better += ratio.verdict() < 0;
    total->no_difference += ratio.verdict() == 0;
    total->worse += ratio.verdict() > 0;
    by_round.resize(own->size());
    for (size_t i = 0; i < own->size(); i++) {
      by_round[i].push_back((*own)[i] / (*other)[i]);
    }
  }
  std::vector<double> means;
  for (const auto &ratios : by_round) means.push_back(geometric_mean(ratios));
  total->ratio = middle_of(means);
}

std::vector<Total> totals_of(const std::vector<Row> &rows,
                             const std::vector<Report> &reports) {
  std::vector<std::string> groups{""};
  for (const Row &row : rows) {
    if (std::find(groups.begin(), groups.end(), row.group) == groups.end()) {
      groups.push_back(row.group);
    }
  }
  std::vector<Total> totals;
  auto add = [&](const std::string &group, const std::string &kind, size_t of,
                 size_t against) {
    Total total;
    total.group = group;
    total.kind = kind;
    total.of = of;
    total.against = against;
    add_up(rows, &total);
    if (total.rows() > 0) totals.push_back(total);
  };
  for (const std::string &group : groups) {
    for (const std::string &kind : kinds_of_totals()) {
      for (size_t i = 0; i < reports.size(); i++) {
        if (i == 0 || reports[i].program.role == Role::VARIANT) add(group, kind, i, 0);
      }
      for (size_t i = 1; i < reports.size(); i++) add(group, kind, 0, i);
    }
  }
  return totals;
}

}  // namespace bench
