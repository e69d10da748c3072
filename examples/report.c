/* report.c - a server that records what its memory does: PROGRAM [FILE]
 *
 * Load comes in spikes: requests come and go, and each leaves a session and an entry of
 * the cache behind, of sizes that requests have too. In between the program appends dumps
 * to one file, report.json if none is named. tools/hakmem-report makes a page of it:
 *
 *     hakmem-report -o report.html report.json
 */
#include <hakmem/hakmem.h>
#include <hakmem/sites.h>
#include <stdio.h>
#include <stdlib.h>

/* --- the recorder: to copy -----------------------------------------------------------
 */

static void to_file(const char *text, size_t length, void *file) {
  fwrite(text, 1, length, file);
}

/* Appends what heaps and places have. False: the file could not be written, or memory was
 * short. */
static bool record(const char *path) {
  FILE *file = fopen(path, "a");
  if (file == NULL) return false;
  int error = hak_heaps_print(HAK_FORMAT_JSON, to_file, file);
  if (error == 0) error = hak_sites_print(HAK_FORMAT_JSON, to_file, file);
  return fclose(file) == 0 && error == 0;
}

/* --- a server ------------------------------------------------------------------------
 */

enum {
  SPIKES = 5,
  REQUESTS = 30000, /* of a spike */
  PARTS = 8,        /* of a request */
  DUMPS = 4,        /* while load rises */
  STAYS = 8         /* of so many requests one leaves something behind */
};

typedef struct request {
  char *parts[PARTS];
} request_t;

/* Sizes as they come: the same for what goes and for what stays. */
static size_t some_size(unsigned i) { return 40 + i * 37 % 400; }

static char *new_text(size_t size, hak_site_t *site) {
  char *text = hak_alloc_at(size, site);
  if (text == NULL) exit(2);
  text[0] = text[size - 1] = 'x';
  return text;
}

static void serve(request_t *request, unsigned i) {
  HAK_SITE(request_text);
  HAK_SITE(request_tree);
  for (unsigned k = 0; k < PARTS; k++) {
    request->parts[k] =
        new_text(some_size(i + k), k % 2 == 0 ? &request_text : &request_tree);
  }
}

static void leave_behind(hak_heap_t *cache, unsigned i) {
  HAK_SITE(session);
  HAK_SITE(cache_entry);
  (void)new_text(some_size(i), &session);
  if (hak_heap_alloc_at(cache, 200, &cache_entry) == NULL) exit(2);
}

static bool spike(hak_heap_t *cache, request_t *requests, const char *path) {
  for (unsigned i = 0; i < REQUESTS; i++) {
    serve(&requests[i], i);
    if (i % STAYS == 0) leave_behind(cache, i);
    if (i % (REQUESTS / DUMPS) == REQUESTS / DUMPS - 1 && !record(path)) return false;
  }
  for (unsigned i = 0; i < REQUESTS; i++) {
    for (unsigned k = 0; k < PARTS; k++) hak_free(requests[i].parts[k]);
  }
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); /* what could go is gone now */
  return record(path);
}

int main(int argc, char **argv) {
  static request_t requests[REQUESTS];
  const char *path = argc > 1 ? argv[1] : "report.json";
  remove(path);
  /* A small program needs many samples to be known well. */
  (void)hak_option_set(HAK_OPTION_SAMPLE_BYTES, 32768);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "cache";
  config.hard_limit = (size_t)64 << 20;
  hak_heap_t *cache = hak_heap_create(&config);
  if (cache == NULL || !record(path)) return 1;
  for (int i = 0; i < SPIKES; i++) {
    if (!spike(cache, requests, path)) return 1;
  }
  printf("%d spikes: hakmem-report -o report.html %s\n", SPIKES, path);
  return hak_heap_destroy(cache);
}
