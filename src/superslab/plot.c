#include "superslab/plot.h"

#include <errno.h>

#include "superslab/meta.h"
#include "superslab/region.h"

static hak_plot_t *all, *unused; /* [tracts] */

/* --- records --------------------------------------------------------------------- */

static hak_plot_t *record_get(const hak_os_t *os) {
  hak_lock_acquire(hak_tracts_lock());
  hak_plot_t *plot = unused;
  if (plot != NULL) unused = plot->next_unused;
  hak_lock_release(hak_tracts_lock());
  if (plot != NULL) return plot;
  plot = hak_meta_alloc(os, sizeof *plot, HAK_CACHE_LINE);
  if (plot == NULL) return NULL;
  plot->os = (hak_os_t){.struct_size = sizeof plot->os,
                        .flags = HAK_OS_FIXED,
                        .page_size = os->page_size,
                        .granularity = os->granularity};
  hak_lock_acquire(hak_tracts_lock());
  plot->next = all;
  all = plot;
  hak_lock_release(hak_tracts_lock());
  return plot;
}

static void record_put(hak_plot_t *plot) {
  hak_lock_acquire(hak_tracts_lock());
  plot->next_unused = unused;
  unused = plot;
  hak_lock_release(hak_tracts_lock());
}

void hak_plots_forget(void) {
  for (hak_plot_t *plot = all; plot != NULL; plot = plot->next) {
    size_t size = hak_plot_bytes(plot);
    if (size > 0) hak_os_return(hak_load_relaxed(&plot->tract.extent.block), size);
  }
  all = unused = NULL;
}

/* --- life -------------------------------------------------------------------------- */

static uintptr_t first_unit(const void *memory) {
  return hak_align_up((uintptr_t)memory, HAK_SUPERSLAB_SIZE);
}

size_t hak_plot_units(const void *memory, size_t size) {
  uintptr_t from = (uintptr_t)memory, first = first_unit(memory);
  if (from + size < from || first < from || first > from + size) return 0;
  return (from + size - first) >> HAK_SUPERSLAB_SHIFT;
}

hak_plot_t *hak_plot_open(const hak_os_t *os, void *memory, size_t size, int *error) {
  size_t units = hak_plot_units(memory, size);
  *error = EINVAL;
  if (units > UINT32_MAX) return NULL;
  *error = ENOMEM;
  hak_plot_t *plot = record_get(os);
  if (plot == NULL) return NULL;
  plot->slots = (uint64_t)units * HAK_SUPERSLAB_SLABS;
  hak_store_relaxed(&plot->used, 0);
  plot->budget = NULL;
  *error = hak_tract_add(os, &plot->tract, memory, size);
  if (*error != 0) {
    record_put(plot);
    return NULL;
  }
  if (!hak_region_lay(&plot->os, (char *)first_unit(memory), (uint32_t)units)) {
    hak_tract_remove(&plot->tract);
    record_put(plot);
    *error = ENOMEM;
    return NULL;
  }
  hak_os_borrow(memory, size);
  return plot;
}

void hak_plot_serve(hak_plot_t *plot, hak_budget_t *budget) { plot->budget = budget; }

void hak_plot_close(hak_plot_t *plot) {
  hak_regions_end(&plot->os);
  hak_os_return(hak_load_relaxed(&plot->tract.extent.block), hak_plot_bytes(plot));
  hak_tract_remove(&plot->tract);
  record_put(plot);
}

void hak_plots_close_unserved(void) {
  for (hak_plot_t *plot = all; plot != NULL; plot = plot->next) {
    if (hak_plot_bytes(plot) > 0 && plot->budget == NULL) hak_plot_close(plot);
  }
}

/* --- few slots left ------------------------------------------------------------------
 */

enum {
  /* From three quarters on it is short of slots, until five eighths are in use: bins that
   * are cut and made whole again give all back each time. Sooner, a few threads with a
   * slab of each class would make the smallest plots short. */
  EIGHTHS = 8,
  SHORT_FROM = 6,
  SHORT_TO = 5,
  /* Threads may then cache a quarter of it, the share that they have of such a limit:
   * with less, several threads would meet at the shelves for each few blocks. */
  LIMIT_FACTOR = 4
};

void hak_plot_count(const hak_os_t *os, int64_t slots) {
  hak_plot_t *plot = hak_plot_of(os);
  uint64_t used = hak_add_relaxed(&plot->used, (uint64_t)slots) + (uint64_t)slots;
  hak_budget_t *budget = plot->budget;
  if (budget == NULL) return; /* there is no heap, or none any more */
  bool is_short = hak_load_relaxed(&budget->hard) != HAK_BUDGET_NONE;
  /* Two threads may cross a line at once and leave the wrong limit; the next change
   * mends it. */
  if (!is_short && used * EIGHTHS > plot->slots * SHORT_FROM) {
    hak_budget_set_limits(budget, 0, LIMIT_FACTOR * (plot->slots << HAK_SLAB_SHIFT));
  } else if (is_short && used * EIGHTHS < plot->slots * SHORT_TO) {
    hak_budget_set_limits(budget, 0, 0);
  }
}

uint64_t hak_plot_share(const hak_os_t *os) {
  enum {
    GROWN_SHARE = 32
  };
  const hak_plot_t *plot = hak_plot_of(os);
  uint64_t users = hak_load_relaxed(&plot->budget->users);
  return (plot->slots << HAK_SLAB_SHIFT) / (GROWN_SHARE * (users == 0 ? 1 : users));
}
