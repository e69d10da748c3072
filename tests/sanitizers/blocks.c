/* blocks.c - runs one of the cases: `blocks NAME`, or lists all: `blocks --list`. */
#include "blocks.h"

#include <string.h>

static const case_t *const tables[] = {bad_cases, good_cases, cxx_cases};

/* The leak sanitizer looks through the frames of exit(), and takes for the program's what
 * a case left where these come to lie and they do not write. */
__attribute__((noinline, no_sanitize("address"))) static void wipe_stack(void) {
  volatile char below[32 << 10];
  for (size_t i = 0; i < sizeof below; i++) below[i] = 0;
}

int main(int argc, char **argv) {
  bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
    for (const case_t *c = tables[i]; c->name != NULL; c++) {
      if (list) {
        printf("%s\t%s\t%s\n", c->name, c->report == NULL ? "" : c->report, c->functions);
      } else if (argc == 2 && strcmp(argv[1], c->name) == 0) {
        c->run();
        wipe_stack();
        return 0;
      }
    }
  }
  return list ? 0 : 2;
}
