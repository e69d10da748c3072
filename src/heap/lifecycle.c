#include "heap/lifecycle.h"

#include <errno.h>

#include "base/option.h"
#include "base/report.h"
#include "base/sys.h"
#include "external/external_heap.h"
#include "external/external_region.h"
#include "external/malloced.h"
#include "heap/cache_index.h"
#include "heap/describe.h"
#include "heap/fork.h"
#include "heap/groups.h"
#include "heap/heap.h"
#include "heap/hole_sweep.h"
#include "heap/own_os.h"
#include "heap/phase.h"
#include "heap/serial.h"
#include "heap/show.h"
#include "heap/thread_end.h"
#include "heap/threads.h"
#include "learn/lessons.h"
#include "learn/sample.h"
#include "os/fault.h"
#include "os/reservation.h"
#include "pages/external_range.h"
#include "pages/mapping.h"
#include "pages/meta.h"
#include "superslab/region.h"
#include "superslab/region_growth.h"
#include "superslab/retention.h"
#include "tiny/magazine.h"

static hak_atomic_u32_t shutdowns;
static hak_os_t hooks; /* what hak_init was given, or the system's own */
static hak_atomic_u32_t forks_registered;
static bool environment_read;

const hak_os_t *hak_lifecycle_os(void) { return &hooks; }

bool hak_lifecycle_was_shut_down(void) { return hak_load_relaxed(&shutdowns) != 0; }

/* --- all modules ----------------------------------------------------------------------
 */

/* The modules' ends in the opposite order of their starts. Modules without a start begin
 * as their end leaves them, empty; start_all makes sure of those that other processes'
 * forks without handlers may have caught in the middle. */
static void stop_all(void) {
  hak_fault_unwatch();
  hak_threads_stop();
  hak_cache_indices_stop();
  hak_magazines_stop();
  hak_samples_stop();
  hak_lessons_stop();
  hak_origins_stop();
  hak_own_os_stop();
  hak_serials_stop();
  hak_groups_stop();
  hak_malloced_stop();
  hak_heaps_stop();
  hak_externals_stop();
  hak_external_regions_stop();
  hak_external_ranges_stop();
  hak_mappings_stop();
  hak_pool_queue_stop();
  hak_regions_stop();
  hak_registry_stop();
  hak_meta_stop();
  hak_os_stop();
  hak_hole_sweep_forget();
  hak_retention_stop();
  hak_idle_stop();
  hak_budgets_stop();
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
  hak_idle_allow(bytes);
  hak_region_give(ss, count, hak_os_now(&hooks));
}

static HAK_SLOW bool start_all(const hak_os_t *os, uint32_t flags) {
  hak_report_describe_by(hak_describe_report);
  hak_sys_at_end(hak_show_stats);
  hooks = os == NULL ? *hak_os_default() : *os;
  if (os != NULL) hak_sys_fork_after_others();
  hak_os_start(&hooks);
  hak_serials_stop();
  hak_cache_indices_stop();
  if (!environment_read && (flags & HAK_INIT_NO_ENV) == 0) {
    environment_read = true;
    hak_options_read_environment();
  }
  hak_malloced_start(&hooks, os != NULL);
  if (!hak_registry_start(&hooks) || !hak_heaps_start(&hooks) ||
      !hak_threads_start(&hooks, hak_thread_at_end)) {
    stop_all();
    return false;
  }
  /* Later it may not be asked for huge pages. */
  if (hak_option(PURGE_MODE) == 0) hak_region_prepare(&hooks);
  prewarm();
  hak_malloced_open();
  return true;
}

/* An allocation may have brought the start about, but what is released meanwhile is not
 * released by an allocation. */
static bool start(const hak_os_t *os, uint32_t flags) {
  hak_os_scope_t before = hak_os_scope;
  if (before != HAK_OS_BARRED) hak_os_enter(HAK_OS_GIVING);
  bool ok = start_all(os, flags);
  hak_os_leave(before);
  return ok;
}

/* Reports come last, as a handler of errors may leave by longjmp: the thread's scope is
 * by then that of no call. */
static void end_start(bool ok) {
  if (ok) hak_stays_open();
  hak_phase_end(ok ? HAK_PHASE_RUNNING : HAK_PHASE_DOWN);
  hak_os_scope_t before = hak_os_enter(HAK_OS_INLINE);
  hak_options_report();
  hak_os_leave(before);
}

/* --- start ----------------------------------------------------------------------------
 */

/* Before a start begins: forks wait for its end then, so that no child finds a module
 * half made or its lock held. Two threads may both do so, which is harmless. */
static void register_forks(uint32_t flags) {
  if (hak_load_relaxed(&forks_registered) != 0 || (flags & HAK_INIT_NO_FORK) != 0) return;
  if (hak_sys_at_fork(hak_forking_prepare, hak_forking_parent, hak_forking_child))
    hak_store_relaxed(&forks_registered, 1);
}

static bool start_on_demand(void) {
  if (HAK_LIKELY(hak_phase_is_running())) return true;
  if (hak_phase_is_mine()) return false; /* from a hook */
  register_forks(0);
  if (hak_phase_begin(true) == HAK_PHASE_RUNNING) return true;
  bool ok = start(NULL, 0);
  end_start(ok);
  return ok;
}

hak_stay_t hak_lifecycle_stay_slow(void) {
  for (;;) {
    if (!start_on_demand()) return HAK_STAY_NONE;
    if (hak_stay_try()) return HAK_STAY_COUNTED;
  }
}

int hak_lifecycle_init(const hak_os_t *os, uint32_t flags) {
  if (hak_phase_is_running()) return EALREADY;
  register_forks(flags);
  if (hak_phase_begin(true) == HAK_PHASE_RUNNING) return EALREADY;
  bool ok = start(os, flags);
  end_start(ok);
  return ok ? 0 : ENOMEM;
}

/* --- shutdown
 * --------------------------------------------------------------------------- */

static int shut_down(bool force) {
  if (!force && (hak_stay_is_inside() || hak_threads_others() > 0)) return EBUSY;
  if (hak_phase_is_mine()) return EBUSY; /* from a hook */
  hak_phase_t before = hak_phase_begin(false);
  if (before != HAK_PHASE_RUNNING) {
    hak_phase_end(before);
    return EINVAL;
  }
  hak_stays_close();
  /* Whoever comes now waits for the end of the change. */
  bool alone = hak_stays_wait() && hak_threads_others() == 0;
  if (!alone && !force) {
    end_start(true);
    return EBUSY;
  }
  stop_all();
  hak_add_relaxed(&shutdowns, 1);
  hak_phase_end(HAK_PHASE_DOWN);
  return 0;
}

/* Relaxed, all: it leads to constants. */
static _Atomic(const hak_companion_t *) companion;

void hak_lifecycle_accompany(const hak_companion_t *by) {
  hak_store_relaxed(&companion, by);
}

int hak_lifecycle_shutdown(bool force) {
  const hak_companion_t *with = hak_load_relaxed(&companion);
  if (with == NULL) return shut_down(force);
  if (!with->pause()) return EBUSY;
  int error = shut_down(force);
  if (error == 0) {
    (void)with->end();
  } else {
    with->resume();
  }
  return error;
}
