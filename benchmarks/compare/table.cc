#include "compare/table.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

namespace bench {

std::vector<std::string> losses(const Report &first, const Report &other) {
  std::vector<std::string> names;
  for (const std::string &name : first.names) {
    auto at = other.series.find(name);
    if (at == other.series.end()) continue;
    if (ratio_of_pairs(first.series.at(name), at->second).verdict() > 0) {
      names.push_back(name);
    }
  }
  return names;
}

namespace {

/* With more programs than this a line of full columns is wider than any screen. */
constexpr size_t MOST_FULL_COLUMNS = 5;

class Table {
 public:
  Table(const std::vector<Report> &reports, const Groups &groups)
      : reports_(reports),
        rows_(rows_of(reports, groups)),
        totals_(totals_of(rows_, reports)),
        is_full_(reports.size() <= MOST_FULL_COLUMNS) {
    for (const Row &row : rows_) width_ = std::max(width_, length(row.name));
    for (const Report &report : reports) {
      column_ = std::max(column_, length(report.program.label));
      peers_ += report.program.role == Role::PEER;
    }
    peers_ -= reports.front().program.role == Role::PEER;
  }

  void print() const {
    print_head();
    std::string group;
    for (size_t i = 0; i < rows_.size(); i++) {
      if (rows_[i].group != group) std::printf("%s\n", rows_[i].group.c_str());
      group = rows_[i].group;
      print_row(rows_[i]);
      if (!group.empty() && (i + 1 == rows_.size() || rows_[i + 1].group != group)) {
        print_totals(group);
      }
    }
    print_totals("");
    print_legend();
    print_missing();
    print_proofs();
  }

 private:
  static int length(const std::string &text) { return static_cast<int>(text.size()); }
  const char *label(size_t i) const { return reports_[i].program.label.c_str(); }
  bool has_best() const { return peers_ > 1; }

  void print_head() const {
    std::printf("%-*s %-4s %*s", width_, "workload", "", column_, label(0));
    if (has_best()) {
      std::printf(" | %-*s  ratio [spread]           ", column_, "best peer");
    }
    for (size_t i = 1; i < reports_.size(); i++) {
      if (is_full_) {
        std::printf(" | %*s  ratio [spread]           ", column_, label(i));
      } else {
        std::printf(" %*s ", column_, label(i));
      }
    }
    std::printf("\n");
  }

  static void print_ratio(const Ratio &ratio) {
    char spread[32] = "";
    if (!ratio.known) {
      std::printf(" %6s %-16s %-7s", "-", "", "");
      return;
    }
    if (ratio.has_spread) {
      std::snprintf(spread, sizeof spread, "[%.2f %.2f]", ratio.low, ratio.high);
    }
    std::printf(" %6.2f %-16s %-7s", ratio.median, spread, word_for(ratio));
  }

  /* "0.52+" is better, "1.20!" worse, no mark no difference. */
  void print_short_ratio(const Ratio &ratio) const {
    if (ratio.known) {
      std::printf(" %*.2f%c", column_, ratio.median, "+ !"[ratio.verdict() + 1]);
    } else {
      std::printf(" %*s ", column_, "-");
    }
  }

  void print_row(const Row &row) const {
    std::printf("%-*s %-4s %*.2f", width_, row.name.c_str(), row.unit.c_str(), column_,
                median(*row.series[0]));
    if (has_best()) {
      std::printf(" | %-*s", column_, row.best != 0 ? label(row.best) : "none");
      print_ratio(row.to_best[0]);
    }
    for (size_t i = 1; i < reports_.size(); i++) {
      if (!is_full_) {
        print_short_ratio(row.ratios[i]);
      } else if (row.series[i] == nullptr) {
        std::printf(" | %*s %6s %-24s", column_, "-", "", "");
      } else {
        std::printf(" | %*.2f", column_, median(*row.series[i]));
        print_ratio(row.ratios[i]);
      }
    }
    std::printf("\n");
  }

  /* Geometric means, a line per kind. */
  void print_totals(const std::string &group) const {
    for (const std::string &kind : kinds_of_totals()) {
      bool any = false;
      for (const Total &total : totals_)
        any |= total.group == group && total.kind == kind;
      if (any) print_total(group, kind);
    }
  }

  Ratio find(const std::string &group, const std::string &kind, size_t against) const {
    for (const Total &total : totals_) {
      if (total.group == group && total.kind == kind && total.of == 0 &&
          total.against == against) {
        return total.ratio;
      }
    }
    return {};
  }

  void print_total(const std::string &group, const std::string &kind) const {
    std::string name = group.empty() ? "geometric mean" : "mean of " + group;
    /* "MiB peak": the word goes to the name. */
    size_t word = kind.find(' ');
    if (word != std::string::npos) name += ":" + kind.substr(word);
    std::string unit = kind.substr(0, word);
    std::printf("%-*s %-4s %*s", width_, name.c_str(), unit.c_str(), column_, "");
    if (has_best()) {
      std::printf(" | %*s", column_, "");
      print_ratio(find(group, kind, 0));
    }
    for (size_t i = 1; i < reports_.size(); i++) {
      Ratio ratio = find(group, kind, i);
      if (is_full_) {
        std::printf(" | %*s", column_, "");
        print_ratio(ratio);
      } else {
        print_short_ratio(ratio);
      }
    }
    std::printf("\n");
  }

  void print_legend() const {
    size_t rounds = rows_.empty() ? 0 : rows_.front().series[0]->size();
    if (rounds < static_cast<size_t>(LEAST_PAIRS)) {
      std::printf(
          "\nSMOKE RUN: %zu of at least %d pairs. No verdicts; the figures say "
          "nothing.\n",
          rounds, LEAST_PAIRS);
      return;
    }
    std::printf(
        "\nratio: %s / other, median of %zu interleaved pairs; below 1 = %s is better.\n"
        "spread: 95 %% interval of the median; 'no diff': it holds 1.\n",
        label(0), rounds, label(0));
    if (!is_full_) std::printf("0.50+ better, 1.50! worse, no mark: no difference.\n");
    if (has_best()) {
      std::printf("best peer: of the peers, the one with the smallest median.\n");
    }
  }

  void print_missing() const {
    for (const Report &report : reports_) {
      for (const auto &[workload, reason] : report.failed) {
        std::printf("FAILED %s: %s: %s\n", report.program.label.c_str(), workload.c_str(),
                    reason.c_str());
      }
      std::map<std::string, int> reasons;
      for (const auto &[workload, reason] : report.skipped) reasons[reason]++;
      for (const auto &[reason, count] : reasons) {
        std::printf("%s skipped %d, left out of its ratios: %s\n",
                    report.program.label.c_str(), count, reason.c_str());
      }
    }
  }

  void print_proofs() const {
    for (const Report &report : reports_) {
      if (report.allocator.empty()) {
        std::printf("%s was never measured\n", report.program.label.c_str());
      } else {
        std::printf("%s was served by: %s (proven)\n", report.program.label.c_str(),
                    report.allocator.c_str());
      }
    }
  }

  const std::vector<Report> &reports_;
  std::vector<Row> rows_;
  std::vector<Total> totals_;
  bool is_full_;
  size_t peers_ = 0;
  int width_ = 14, column_ = 10;
};

}  // namespace

void print_table(const std::vector<Report> &reports, const Groups &groups) {
  Table(reports, groups).print();
}

}  // namespace bench
