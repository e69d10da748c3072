/* program.hpp - a program to run, and one run of it. */
#ifndef BENCH_COMPARE_PROGRAM_HPP
#define BENCH_COMPARE_PROGRAM_HPP

#include <string>
#include <utility>
#include <vector>

namespace bench {

/* What a program is in a comparison. All are measured; only peers can be the best
 * peer. A variant is another build of what the first program is; a yardstick is no
 * real allocator. */
enum class Role {
  PEER,
  VARIANT,
  YARDSTICK
};

struct Program {
  std::string label;
  std::string path;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  Role role = Role::PEER;
};

/* Replaces this process's image, with the environment set; returns on failure. */
void execute(const Program &program);

/* Runs the program and keeps what it writes to its standard output. False, with the
 * reason, if it did not end with status 0, or not within `seconds` (0: no limit):
 * then it is killed with all that it started. */
bool run_program(const Program &program, double seconds, std::string *output,
                 std::string *reason);

/* "ended with signal 11": what waitpid() said, in words. */
std::string how_it_ended(int status);

}  // namespace bench

#endif
