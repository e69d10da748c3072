#include "heap/lifecycle.h"

#include <errno.h>

#include "base/check.h"
#include "base/gate.h"
#include "base/lock.h"
#include "base/option.h"
#include "base/sys.h"
#include "external/external_heap.h"
#include "heap/fork.h"
#include "heap/heap.h"
#include "heap/own_os.h"
#include "heap/serial.h"
#include "heap/thread.h"
#include "os/os_release.h"
#include "pages/external_range.h"
#include "pages/mapping.h"
#include "pages/meta.h"
#include "pool/large.h"
#include "superslab/region.h"
#include "superslab/region_growth.h"
#include "tiny/magazine.h"

typedef enum phase {
  PHASE_DOWN = 0,
  PHASE_RUNNING,
  PHASE_CHANGING
} phase_t;

enum {
  PHASE_BITS = 8
};

/* One thread at a time starts or stops the library, in PHASE_CHANGING; hooks run
 * meanwhile, so that is a phase others wait for and no lock. A fork is a change too, from
 * a phase to itself. */
static hak_atomic_u64_t phase;
static hak_atomic_ptr_t changer; /* something of the thread that is at it, or NULL */
static hak_atomic_u32_t shutdowns;
static hak_os_t hooks; /* what hak_init was given, or the system's own */
static bool forks_registered, environment_read;

/* Calls of threads that are not attached; open while the library runs. */
static hak_gate_t calls;
static _Thread_local uint16_t calls_of_mine;

const hak_os_t *hak_lifecycle_os(void) { return &hooks; }

/* Acquire: pairs with end_change; what was made is seen. */
bool hak_lifecycle_is_running(void) { return hak_load_acquire(&phase) == PHASE_RUNNING; }
bool hak_lifecycle_was_shut_down(void) { return hak_load_relaxed(&shutdowns) != 0; }

/* The modules' ends in the opposite order of their starts. Modules without a start begin
 * as their end leaves them: empty. */
static void stop_all(void) {
  hak_threads_stop();
  hak_cache_indices_stop();
  hak_magazines_stop();
  hak_serials_stop();
  hak_own_os_stop();
  hak_heaps_stop();
  hak_externals_stop();
  hak_external_regions_stop();
  hak_external_ranges_stop();
  hak_mappings_stop();
  hak_regions_stop();
  hak_registry_stop();
  hak_meta_stop();
  hak_os_stop();
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
  hak_region_give(ss, count, hak_os_now(&hooks));
}

static bool start_all(const hak_os_t *os, uint32_t flags) {
  hooks = os == NULL ? *hak_os_default() : *os;
  hak_os_start(&hooks);
  if (!environment_read && (flags & HAK_INIT_NO_ENV) == 0) {
    environment_read = true;
    hak_options_read_environment();
  }
  if (!hak_registry_start(&hooks) || !hak_heaps_start(&hooks) ||
      !hak_threads_start(&hooks)) {
    stop_all();
    return false;
  }
  if (!forks_registered && (flags & HAK_INIT_NO_FORK) == 0) {
    forks_registered = hak_sys_at_fork(hak_fork_prepare, hak_fork_parent, hak_fork_child);
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
  return hak_sys_process() << PHASE_BITS | PHASE_CHANGING;
}

/* A thread's address, which no other thread has at the same time. */
static bool is_changer(void) {
  return hak_load_relaxed(&changer) == (void *)&hak_thread_self;
}

/* Waits for a change under way, then begins one; the phase before it. */
static phase_t begin_change(bool unless_running) {
  unsigned step = 0;
  for (;;) {
    /* Acquire: pairs with end_change. */
    uint64_t now = hak_load_acquire(&phase), here = changing_here();
    if (now == PHASE_RUNNING && unless_running) return PHASE_RUNNING;
    /* What another process's thread had made so far stays unused. */
    if (now != here && hak_cas_acquire(&phase, &now, here)) {
      hak_store_relaxed(&changer, (void *)&hak_thread_self);
      return now == PHASE_RUNNING ? PHASE_RUNNING : PHASE_DOWN;
    }
    hak_wait_step(&step);
  }
}

/* Release: publishes what was made to hak_lifecycle_is_running. */
static void end_change(phase_t now) {
  hak_store_relaxed(&changer, NULL);
  hak_store_release(&phase, now);
}

static void end_start(bool ok) {
  if (ok) hak_gate_open(&calls);
  end_change(ok ? PHASE_RUNNING : PHASE_DOWN);
}

bool hak_lifecycle_start(void) {
  if (HAK_LIKELY(hak_lifecycle_is_running())) return true;
  /* A change under way is none for who is attached: a shutdown is refused for it. */
  if (hak_thread_self->kind == HAK_THREAD_ATTACHED) return true;
  if (is_changer()) return false; /* from a hook */
  if (begin_change(true) == PHASE_RUNNING) return true;
  bool ok = start(NULL, 0);
  end_start(ok);
  return ok;
}

int hak_lifecycle_init(const hak_os_t *os, uint32_t flags) {
  if (begin_change(true) == PHASE_RUNNING) return EALREADY;
  bool ok = start(os, flags);
  end_start(ok);
  return ok ? 0 : ENOMEM;
}

/* --- calls that stay ---------------------------------------------------------- */

static bool enter_call(void) {
  if (!hak_gate_enter(&calls)) return false;
  calls_of_mine++;
  return true;
}

void hak_stay_end_slow(void) {
  calls_of_mine--;
  hak_gate_leave(&calls);
}

hak_stay_t hak_stay_slow(void) {
  enum {
    STEPS = 1000
  };
  if (hak_thread_self->kind == HAK_THREAD_ATTACHED) return HAK_STAY_ATTACHED;
  unsigned step = 0;
  for (int i = 0; i < STEPS; i++) {
    if (enter_call()) return HAK_STAY_COUNTED;
    uint64_t now = hak_load_acquire(&phase);
    if (now != PHASE_RUNNING && (now != changing_here() || is_changer())) break;
    hak_wait_step(&step);
  }
  return HAK_STAY_NONE;
}

hak_stay_t hak_stay_started_slow(void) {
  for (;;) {
    if (hak_thread_self->kind == HAK_THREAD_ATTACHED) return HAK_STAY_ATTACHED;
    if (!hak_lifecycle_start()) return HAK_STAY_NONE;
    if (enter_call()) return HAK_STAY_COUNTED;
  }
}

/* --- the end -------------------------------------------------------------------- */

/* Nobody else is in a call, nor attached; those who come now wait. A call is over soon,
 * but for those that wait themselves, or call the program. */
static bool is_alone(bool force) {
  enum {
    STEPS = 100
  };
  bool empty = hak_gate_wait(&calls, STEPS);
  return force || (empty && hak_threads_others() == 0);
}

int hak_lifecycle_shutdown(bool force) {
  if (!force && hak_threads_others() > 0) return EBUSY;
  if (is_changer()) return EBUSY; /* from a hook */
  phase_t before = begin_change(false);
  if (before != PHASE_RUNNING) {
    end_change(before);
    return EINVAL;
  }
  hak_gate_close(&calls);
  if (!is_alone(force)) {
    end_start(true);
    return EBUSY;
  }
  stop_all();
  hak_add_relaxed(&shutdowns, 1);
  end_change(PHASE_DOWN);
  return 0;
}

/* --- forks ---------------------------------------------------------------------- */

static bool held, lost_calls;
static phase_t held_phase;

void hak_lifecycle_hold(void) {
  if (is_changer()) return; /* a fork in a hook: the change goes on in both */
  held_phase = begin_change(false);
  held = true;
}

void hak_lifecycle_unhold(bool child) {
  if (child) {
    uint32_t inside = hak_gate_inside(&calls);
    lost_calls = inside != calls_of_mine;
    hak_gate_recount(&calls, calls_of_mine);
  }
  if (!held) return;
  held = false;
  end_change(held_phase);
}

bool hak_lifecycle_lost_calls(void) { return lost_calls; }
