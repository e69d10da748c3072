/* weaken.c - the accesses in the source, by the records that the compiler left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/* Where the linker has put all records. */
extern explore_site_t __start_explore_sites[], __stop_explore_sites[];

static struct sites {
  const explore_site_t **by_number; /* from 1 on */
  int count;
} * s;

static int compare_sites(const void *a, const void *b) {
  const explore_site_t *x = *(explore_site_t *const *)a, *y = *(explore_site_t *const *)b;
  int order = strcmp(x->file, y->file);
  if (order != 0) return order;
  if (x->line != y->line) return x->line < y->line ? -1 : 1;
  if (x->op != y->op) return x->op < y->op ? -1 : 1;
  return x->order < y->order ? -1 : x->order > y->order;
}

void sites_start(void) {
  size_t records = (size_t)(__stop_explore_sites - __start_explore_sites);
  explore_site_t **all = malloc((records + 1) * sizeof *all);
  s = calloc(1, sizeof *s);
  if (all == NULL || s == NULL) abort();
  for (size_t i = 0; i < records; i++) all[i] = &__start_explore_sites[i];
  qsort(all, records, sizeof *all, compare_sites);
  s->by_number = calloc(records + 1, sizeof *s->by_number);
  for (size_t i = 0; i < records; i++) {
    if (i == 0 || compare_sites(&all[i - 1], &all[i]) != 0) {
      s->by_number[++s->count] = all[i];
    }
    all[i]->number = s->count;
  }
  free(all);
}

int sites_count(void) { return s->count; }
const explore_site_t *site_of(int number) { return s->by_number[number]; }

explore_order_t site_order(const explore_site_t *site) {
  return site->number == g->weakened ? EXPLORE_RELAXED : site->order;
}

/* The path from the folder of the sources on. */
static const char *file_of(const explore_site_t *site) {
  const char *at = strstr(site->file, "/src/");
  return at != NULL ? at + 5 : site->file;
}

bool site_is_library(const explore_site_t *site) {
  return strstr(site->file, "/src/") != NULL;
}

static const char *const ops[] = {"load", "store",    "add", "sub",     "or",
                                  "and",  "exchange", "cas", "cas_weak"};
static const char *const orders[] = {"relaxed", "acquire", "release", "both"};

void site_name(const explore_site_t *site, char *text, size_t size) {
  snprintf(text, size, "%s %s %s_%s", file_of(site), site->function, ops[site->op],
           orders[site->order]);
}

void site_print(const explore_site_t *site, char *text, size_t size) {
  snprintf(text, size, "%s:%d %s %s_%s%s", file_of(site), site->line, site->function,
           ops[site->op], orders[site->order],
           site->number == g->weakened ? " (weakened)" : "");
}
