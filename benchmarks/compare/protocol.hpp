/* protocol.hpp - what a benchmark program says on its standard output.
 *
 * One thing a line:
 *
 *     result NAME VALUE UNIT          a figure; smaller is better
 *     check NAME TEXT                 must be the same in every run of every program
 *     note NAME TEXT                  kept, not compared
 *     note skipped NAME REASON        why results of that name (or NAME/...) are missing
 *     note operations NAME N          operations that all of workload NAME did
 *     note huge NAME SHARE            of resident memory, in huge pages (0 to 1)
 *     point NAME SECONDS MIB          resident memory of workload NAME over time
 *     allocator NAME VERSION proven   once, at the end; a run without it gives no figure
 *
 * Other lines are ignored.
 */
#ifndef BENCH_COMPARE_PROTOCOL_HPP
#define BENCH_COMPARE_PROTOCOL_HPP

#include <map>
#include <string>
#include <vector>

namespace bench {

struct Figure {
  std::string name, unit;
  double value = 0;
};

struct Point {
  double seconds = 0, mib = 0;
};

struct Run {
  std::vector<Figure> figures; /* each name once */
  std::map<std::string, std::string> checks, notes, skipped;
  std::map<std::string, double> operations, huge;
  std::map<std::string, std::vector<Point>> points;
  std::string allocator; /* name and version, if it was proven */
};

/* False, with the reason, if the output cannot be read, or has figures but no proof
 * of who served them, or nothing at all. */
bool read_run(const std::string &output, Run *run, std::string *reason);

/* The reason that `skipped` gives for missing results of this name; NULL if none. */
const std::string *why_skipped(const std::map<std::string, std::string> &skipped,
                               const std::string &name);

}  // namespace bench

#endif
