#include "heap/lifecycle.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "base/check.h"
#include "base/lock.h"
#include "base/option.h"
#include "heap/fork.h"
#include "heap/thread.h"
#include "pool/arena.h"
#include "pool/large.h"
#include "superslab/mapping.h"
#include "superslab/meta.h"
#include "superslab/region.h"
#include "superslab/tract.h"
#include "tiny/transfer.h"

typedef enum phase {
  PHASE_DOWN = 0,
  PHASE_RUNNING,
  PHASE_CHANGING
} phase_t;

enum {
  PHASE_BITS = 8
};

/* One thread at a time starts or stops the library, in PHASE_CHANGING; hooks run
 * meanwhile, so that is a phase others wait for and no lock. */
static hak_atomic_u64_t phase;
static hak_atomic_u32_t shutdowns;
static hak_os_t hooks; /* what hak_init was given, or the system's own */
static bool forks_registered, environment_read;

const hak_os_t *hak_lifecycle_os(void) { return &hooks; }

/* Acquire: pairs with end_change; what was made is seen. */
bool hak_lifecycle_is_running(void) { return hak_load_acquire(&phase) == PHASE_RUNNING; }
bool hak_lifecycle_was_shut_down(void) { return hak_load_relaxed(&shutdowns) != 0; }

static void release_all(void) {
  hak_threads_stop();
  hak_heaps_forget();
  hak_arenas_forget();
  hak_plots_forget();
  hak_tracts_forget();
  hak_mappings_release();
  hak_regions_release();
  hak_registry_release();
  hak_meta_release_all();
  hak_os_retry_releases();
  hak_store_relaxed(&hak_slots_committed, 0);
  hak_store_relaxed(&hak_slots_retained, 0);
  hak_store_relaxed(&hak_retained_over, 0);
  hak_store_relaxed(&hak_budget_alarms, 0);
}

static void prewarm(void) {
  size_t bytes = hak_align_up((size_t)hak_option(PREWARM_BYTES), HAK_SUPERSLAB_SIZE);
  uint32_t count = (uint32_t)(bytes >> HAK_SUPERSLAB_SHIFT);
  if (count == 0) return;
  hak_superslab_t *ss =
      hak_region_acquire(&hooks, count, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN, NULL, false);
  if (ss == NULL) return; /* only a wish */
  for (uint32_t i = 0; i < count; i++) {
    bool zeroed;
    size_t pages = HAK_SUPERSLAB_SIZE / hooks.page_size;
    if (!hak_superslab_commit(&ss[i], 0, HAK_SUPERSLAB_SLABS, pages, false, &zeroed))
      break;
    for (size_t at = 0; at < HAK_SUPERSLAB_SIZE; at += hooks.page_size) {
      ((volatile char *)ss[i].extent.base)[at] = 0;
    }
  }
  hak_region_give(ss, count, hak_os_now(&hooks));
}

static bool start_all(const hak_os_t *os, uint32_t flags) {
  hooks = os == NULL ? *hak_os_default() : *os;
  if (!environment_read && (flags & HAK_INIT_NO_ENV) == 0) {
    environment_read = true;
    hak_options_read_environment();
  }
  if (!hak_registry_init(&hooks) || !hak_heap_make_default(&hooks) ||
      !hak_threads_start(&hooks)) {
    release_all();
    return false;
  }
  if (!forks_registered && (flags & HAK_INIT_NO_FORK) == 0) {
    forks_registered =
        pthread_atfork(hak_fork_prepare, hak_fork_parent, hak_fork_child) == 0;
  }
  /* Later it may not be asked for huge pages. */
  if (hak_option(PURGE_MODE) == 0) hak_region_prepare(&hooks);
  prewarm();
  return true;
}

/* No allocation, though one may have brought it about. */
static bool start(const hak_os_t *os, uint32_t flags) {
  hak_os_scope_t before = hak_os_scope;
  if (before != HAK_OS_BARRED) hak_os_enter(HAK_OS_GIVING);
  bool ok = start_all(os, flags);
  hak_os_leave(before);
  return ok;
}

/* PHASE_CHANGING with the process that is at it: a fork may leave the thread
 * that was behind, and then nobody would ever be done. */
static uint64_t changing_here(void) {
  return (uint64_t)getpid() << PHASE_BITS | PHASE_CHANGING;
}

/* Waits for a change under way, then begins one; the phase before it. */
static phase_t begin_change(bool unless_running) {
  for (;;) {
    /* Acquire: pairs with end_change. */
    uint64_t now = hak_load_acquire(&phase), here = changing_here();
    if (now == PHASE_RUNNING && unless_running) return PHASE_RUNNING;
    /* What another process's thread had made so far stays unused. */
    if (now != here && hak_cas_acquire(&phase, &now, here)) {
      return now == PHASE_RUNNING ? PHASE_RUNNING : PHASE_DOWN;
    }
    sched_yield();
  }
}

/* Release: publishes what was made to hak_lifecycle_is_running. */
static void end_change(phase_t now) { hak_store_release(&phase, now); }

bool hak_lifecycle_start(void) {
  if (HAK_LIKELY(hak_lifecycle_is_running())) return true;
  if (begin_change(true) == PHASE_RUNNING) return true;
  bool ok = start(NULL, 0);
  end_change(ok ? PHASE_RUNNING : PHASE_DOWN);
  return ok;
}

int hak_lifecycle_init(const hak_os_t *os, uint32_t flags) {
  if (begin_change(true) == PHASE_RUNNING) return EALREADY;
  bool ok = start(os, flags);
  end_change(ok ? PHASE_RUNNING : PHASE_DOWN);
  return ok ? 0 : ENOMEM;
}

int hak_lifecycle_shutdown(bool force) {
  phase_t before = begin_change(false);
  if (before != PHASE_RUNNING) {
    end_change(before);
    return EINVAL;
  }
  if (!force && hak_threads_others() > 0) {
    end_change(PHASE_RUNNING);
    return EBUSY;
  }
  release_all();
  hak_add_relaxed(&shutdowns, 1);
  end_change(PHASE_DOWN);
  return 0;
}
