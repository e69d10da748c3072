#include "heap/own_os.h"

#include <string.h>

#include "base/sys.h"
#include "heap/heap.h"
#include "os/reservation.h"
#include "pages/mapping.h"
#include "pages/meta.h"
#include "superslab/region_release.h"

typedef struct own_os {
  hak_os_t os;
  struct own_os *next; /* of all */
  bool taken;          /* [lock: heaps] */
  bool ending;         /* [lock: heaps] the heap has gone, ranges may still be there */
} own_os_t;

static own_os_t *own_hooks; /* [lock: heaps] */

HAK_SLOW const hak_os_t *hak_own_os_get(const hak_os_t *os, const hak_os_t *hooks) {
  hak_sys_fork_after_others();
  hak_lock_acquire(hak_heaps_lock());
  own_os_t *own = own_hooks;
  while (own != NULL && (own->taken || own->os.page_size != hooks->page_size)) {
    own = own->next;
  }
  if (own != NULL) {
    own->taken = true;
    own->os.granularity = hooks->granularity;
    own->os.ctx = hooks->ctx;
    own->os.reserve = hooks->reserve;
    own->os.release = hooks->release;
    own->os.commit = hooks->commit;
    own->os.purge = hooks->purge;
    own->os.remap = hooks->remap;
    own->os.now_ns = hooks->now_ns;
  }
  hak_lock_release(hak_heaps_lock());
  if (own != NULL) return &own->os;
  own = hak_meta_alloc(os, sizeof *own, HAK_CACHE_LINE);
  if (own == NULL) return NULL;
  memcpy(&own->os, hooks, sizeof own->os);
  own->taken = true;
  hak_lock_acquire(hak_heaps_lock());
  own->next = own_hooks;
  own_hooks = own;
  hak_lock_release(hak_heaps_lock());
  return &own->os;
}

static HAK_SLOW void set_state(const hak_os_t *copy, bool taken, bool ending) {
  own_os_t *own = HAK_CONTAINER_OF(copy, own_os_t, os);
  hak_lock_acquire(hak_heaps_lock());
  own->taken = taken;
  own->ending = ending;
  hak_lock_release(hak_heaps_lock());
}

void hak_own_os_put(const hak_os_t *copy) { set_state(copy, false, false); }
void hak_own_os_mark_ending(const hak_os_t *copy) { set_state(copy, true, true); }

HAK_SLOW void hak_own_os_end(const hak_os_t *os) {
  hak_mappings_end(os);
  hak_regions_end(os);
  hak_os_end(os);
  hak_own_os_put(os);
}

void hak_own_os_finish(void) {
  for (own_os_t *own = own_hooks; own != NULL; own = own->next) {
    if (own->ending) hak_own_os_end(&own->os);
  }
}

void hak_own_os_stop(void) { own_hooks = NULL; }
