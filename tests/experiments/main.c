/* main.c - one experiment on the allocator that the program was linked with.
 *
 *   --list         the allocator, and the names of all cases
 *   CASE           runs one, and says how it ended (experiments.h)
 */
#include "experiments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const experiment_t *const experiments[] = {
    &exp_misuse, &exp_wild,     &exp_absurd, &exp_aligned,   &exp_failures,
    &exp_forks,  &exp_mappings, &exp_ends,   &exp_producers, &exp_crowd,
    &exp_storm,  &exp_zeroes,   &exp_memory, &exp_objects};

bool exp_is_brief;
const char *exp_program;

static void list(void) {
  if (!face_is_proven()) {
    fprintf(stderr, "experiments: another allocator serves this program\n");
    exit(3);
  }
  face_print_name();
  for (size_t i = 0; i < COUNT(experiments); i++) experiments[i]->list();
}

int main(int argc, char **argv) {
  static char buffer[4096];
  /* stdout's own buffer would be the first allocation. */
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  exp_is_brief = getenv("EXPERIMENTS_BRIEF") != NULL;
  exp_program = argv[0];
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    list();
    return fflush(stdout) == 0 ? 0 : 1;
  }
  for (size_t i = 0; argc == 2 && i < COUNT(experiments); i++) {
    const experiment_t *experiment = experiments[i];
    size_t length = strlen(experiment->name);
    if (strncmp(argv[1], experiment->name, length) != 0) continue;
    if (argv[1][length] != '/' && argv[1][length] != '\0') continue;
    experiment->run(argv[1][length] == '/' ? argv[1] + length + 1 : "");
  }
  fprintf(stderr, "usage: %s --list | CASE\n", argv[0]);
  return 2;
}
