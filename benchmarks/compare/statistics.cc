#include "compare/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace bench {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  if (values.size() % 2 != 0) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

double geometric_mean(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values) sum += std::log(value);
  return values.empty() ? 0 : std::exp(sum / static_cast<double>(values.size()));
}

/* How many values may be cut off at each end: the largest k for which fewer
 * than k of n fair coins show heads in at most 2.5 % of all throws, less one. */
static size_t cut_for_95_percent(size_t n) {
  double term = 1;
  for (size_t i = 0; i < n; i++) term /= 2;
  double tail = term;
  size_t cut = 0;
  while (tail + term * static_cast<double>(n - cut) / static_cast<double>(cut + 1) <=
         0.025) {
    term *= static_cast<double>(n - cut) / static_cast<double>(cut + 1);
    tail += term;
    cut++;
  }
  return cut;
}

Ratio middle_of(std::vector<double> ratios) {
  if (ratios.empty()) return {};
  std::sort(ratios.begin(), ratios.end());
  if (ratios.size() < 6) return {median(ratios), 0, HUGE_VAL, true, false};
  size_t cut = cut_for_95_percent(ratios.size());
  return {median(ratios), ratios[cut], ratios[ratios.size() - 1 - cut], true, true};
}

Ratio ratio_of_pairs(const std::vector<double> &first,
                     const std::vector<double> &second) {
  std::vector<double> ratios;
  for (size_t i = 0; i < first.size() && i < second.size(); i++) {
    if (!(first[i] > 0 && second[i] > 0)) return {}; /* too small to be seen */
    ratios.push_back(first[i] / second[i]);
  }
  return middle_of(ratios);
}

}  // namespace bench
