/* statistics.hpp - medians, and when a difference is one.
 *
 * Two programs run in pairs, A B A B; each pair gives one ratio, so that what
 * slows the whole machine for a while slows both halves of a pair. The figure
 * is the median ratio; the spread is the interval between two order statistics
 * of the ratios that holds the true median with 95 % probability, whatever the
 * distribution (of 7 pairs: the smallest and the largest).
 */
#ifndef BENCH_COMPARE_STATISTICS_HPP
#define BENCH_COMPARE_STATISTICS_HPP

#include <vector>

namespace bench {

double median(std::vector<double> values);
double geometric_mean(const std::vector<double> &values);

struct Ratio {
  double median = 0, low = 0, high = 0;
  bool known = false;      /* false: nothing to divide by, or no pairs at all */
  bool has_spread = false; /* false: too few pairs for an interval, so no verdict */

  /* -1 if the first of the pair is smaller, 1 if it is larger, 0 if the spread
   * is larger than the difference, or unknown. */
  int verdict() const { return !has_spread ? 0 : high < 1 ? -1 : low > 1 ? 1 : 0; }
};

/* The middle of ratios that are there already, and its spread. */
Ratio middle_of(std::vector<double> ratios);

/* Of two equally long series, pair by pair: first / second. */
Ratio ratio_of_pairs(const std::vector<double> &first, const std::vector<double> &second);

}  // namespace bench

#endif
