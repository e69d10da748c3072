/* server.c - a server that sheds load instead of dying: a heap with a budget for each
 * kind of request, all of them within one.
 *
 * Uploads take what they can get. When they meet their limit the oldest waiting one is
 * dropped; when nothing can be dropped a request is refused, with NULL like any other
 * failure. Logins never notice.
 */
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <string.h>

enum {
  WAITING = 64,
  UPLOADS = 400,
  LOGINS = 4000
};

typedef struct queue {
  char *waiting[WAITING]; /* oldest first */
  unsigned count, dropped;
} queue_t;

/* Called at the limit, with no lock held: anything may be freed here. */
static int drop_oldest(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  queue_t *queue = ctx;
  if (level != HAK_PRESSURE_HARD || queue->count == 0) return 0;
  hak_free(queue->waiting[0]);
  memmove(queue->waiting, queue->waiting + 1, --queue->count * sizeof(char *));
  queue->dropped++;
  return 1; /* something was freed: try again */
}

static hak_heap_t *make(const char *name, hak_heap_t *parent, size_t limit,
                        queue_t *queue) {
  hak_heap_config_t config = {.struct_size = sizeof config, .name = name};
  config.parent = parent;
  config.hard_limit = limit;
  config.on_pressure = queue == NULL ? NULL : drop_oldest;
  config.ctx = queue;
  return hak_heap_create(&config);
}

static uint64_t charge_of(hak_heap_t *heap) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  return hak_stats_get(heap, &stats) == 0 ? stats.committed_bytes : 0;
}

int main(void) {
  static queue_t queue;
  const size_t all = 24u << 20, uploads_may = 16u << 20, logins_may = 4u << 20;
  hak_heap_t *server = make("server", NULL, all, NULL);
  hak_heap_t *uploads = make("uploads", server, uploads_may, &queue);
  hak_heap_t *logins = make("logins", server, logins_may, NULL);
  if (server == NULL || uploads == NULL || logins == NULL) return 1;

  unsigned accepted = 0, refused = 0, logged_in = 0;
  uint64_t most = 0;
  for (unsigned i = 0; i < UPLOADS; i++) {
    /* Now and then one that never fits. */
    size_t size = i % 50 == 49 ? 20u << 20 : 100000 + i % 7 * 200000;
    char *upload = hak_heap_alloc(uploads, size);
    if (upload == NULL) {
      refused++; /* "503, come back later" */
    } else {
      memset(upload, 1, size);
      if (queue.count == WAITING) drop_oldest(uploads, 0, HAK_PRESSURE_HARD, &queue);
      queue.waiting[queue.count++] = upload;
      accepted++;
    }
    for (unsigned k = 0; k < LOGINS / UPLOADS; k++) {
      char *session = hak_heap_alloc(logins, 200);
      if (session != NULL) logged_in++;
    }
    if (charge_of(uploads) > most) most = charge_of(uploads);
  }
  printf("uploads: %u accepted, %u dropped, %u refused; at most %llu of %zu bytes\n",
         accepted, queue.dropped, refused, (unsigned long long)most, uploads_may);
  printf("logins:  %u of %u\n", logged_in, (unsigned)LOGINS);
  printf("server:  %llu of %zu bytes\n", (unsigned long long)charge_of(server), all);
  bool ok = most <= uploads_may && refused > 0 && queue.dropped > 0 &&
            logged_in == LOGINS && charge_of(server) <= all;
  hak_heap_destroy(uploads);
  hak_heap_destroy(logins);
  hak_heap_destroy(server);
  return ok ? 0 : 1;
}
