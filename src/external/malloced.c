#include "external/malloced.h"

#include <string.h>

#include "base/bits.h"
#include "base/option.h"
#include "base/report.h"
#include "os/malloc.h"
#include "pages/meta.h"

struct hak_malloced_block {
  uintptr_t hidden; /* ~ the block's address */
  size_t size;      /* bytes */
  hak_malloced_t *owner;
  hak_malloced_block_t *low,
      *high; /* subtrees; an unused record: the next one is `low` */
  hak_malloced_block_t *next, *last; /* of the owner: younger is `last` */
};

typedef hak_malloced_block_t node_t;

hak_atomic_u32_t hak_malloced_state;

/* Guards the tree, the lists and the unused records. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_MALLOCED);
static node_t *tree, *unused; /* [lock] */
static const hak_os_t *hooks; /* [const] while the library runs */
static bool chosen;           /* [const] the same */

hak_lock_t *hak_malloced_lock(void) { return &lock; }

/* The library's own sanitizer suites are about its own memory. */
#ifdef HAK_BACKEND_DEFAULT_NATIVE
#define FOLLOWS_TOOLS false
#else
#define FOLLOWS_TOOLS true
#endif

/* --- whose the blocks are ----------------------------------------------------------- */

/* A program whose malloc is made of hakmem's functions is inside of hak_init here, which
 * has no block for it. */
static bool malloc_works(void) {
  void *block = hak_malloc_get(1, 0, false);
  if (block == NULL) return false;
  hak_malloc_put(block);
  return true;
}

static bool decide(bool hooked) {
  switch (hak_option(BACKEND)) {
    case HAK_BACKEND_MALLOC:
      if (malloc_works()) return true;
      hak_or_relaxed(&hak_options_wrong, HAK_OPTIONS_WRONG_BACKEND);
      return false;
    case HAK_BACKEND_AUTO:
      return FOLLOWS_TOOLS && !hooked && hak_malloc_is_watched() && malloc_works();
    default:
      return false;
  }
}

HAK_SLOW bool hak_malloced_may_come(void) {
  int64_t wish = hak_option(BACKEND);
  return wish == HAK_BACKEND_MALLOC ||
         (wish == HAK_BACKEND_AUTO && FOLLOWS_TOOLS && hak_malloc_is_watched());
}

void hak_malloced_start(const hak_os_t *os, bool hooked) {
  hooks = os;
  chosen = decide(hooked);
}

bool hak_malloced_is_chosen(void) { return chosen; }

void hak_malloced_open(void) {
  hak_store_relaxed(&hak_malloced_state, chosen ? HAK_MALLOCED_ON : HAK_MALLOCED_OFF);
}

/* --- the tree -------------------------------------------------------------------------
 *
 * A treap: by address for the search, by a hash of the address as priority. */

static uintptr_t address_of(const node_t *node) { return ~node->hidden; }
static uint64_t priority(const node_t *node) { return hak_mix64(address_of(node)); }

/* Parts `from` by the address of `at`. */
static void split_locked(node_t *from, const node_t *at, node_t **low, node_t **high) {
  hak_lock_assert_held(&lock);
  while (from != NULL) {
    if (address_of(from) < address_of(at)) {
      *low = from;
      low = &from->high;
      from = from->high;
    } else {
      *high = from;
      high = &from->low;
      from = from->low;
    }
  }
  *low = *high = NULL;
}

/* Joins two trees; all of `low` lies below all of `high`. */
static node_t *merged_locked(node_t *low, node_t *high) {
  hak_lock_assert_held(&lock);
  node_t *result = NULL, **at = &result;
  while (low != NULL && high != NULL) {
    if (priority(low) > priority(high)) {
      *at = low;
      at = &low->high;
      low = low->high;
    } else {
      *at = high;
      at = &high->low;
      high = high->low;
    }
  }
  *at = low != NULL ? low : high;
  return result;
}

static void insert_locked(node_t *node) {
  hak_lock_assert_held(&lock);
  node_t **at = &tree;
  while (*at != NULL && priority(*at) >= priority(node)) {
    at = address_of(node) < address_of(*at) ? &(*at)->low : &(*at)->high;
  }
  split_locked(*at, node, &node->low, &node->high);
  *at = node;
}

static void erase_locked(node_t *node) {
  hak_lock_assert_held(&lock);
  node_t **at = &tree;
  while (*at != node) {
    at = address_of(node) < address_of(*at) ? &(*at)->low : &(*at)->high;
  }
  *at = merged_locked(node->low, node->high);
}

/* The block with the highest address up to this one; or NULL. */
static node_t *below_locked(uintptr_t address) {
  hak_lock_assert_held(&lock);
  node_t *found = NULL;
  for (node_t *at = tree; at != NULL;) {
    bool fits = address_of(at) <= address;
    if (fits) found = at;
    at = fits ? at->high : at->low;
  }
  return found;
}

/* The record of the block that starts there; or NULL. */
static node_t *record_locked(const void *block) {
  hak_lock_assert_held(&lock);
  node_t *node = below_locked((uintptr_t)block);
  return node != NULL && address_of(node) == (uintptr_t)block ? node : NULL;
}

/* --- records ------------------------------------------------------------------------ */

static void put_record_locked(node_t *node) {
  hak_lock_assert_held(&lock);
  node->low = unused;
  unused = node;
}

static bool make_records(void) {
  enum {
    COUNT = 128
  };
  node_t *nodes = hak_meta_alloc(hooks, COUNT * sizeof *nodes, HAK_CACHE_LINE);
  if (nodes == NULL) return false;
  hak_lock_acquire(&lock);
  for (int i = 0; i < COUNT; i++) put_record_locked(&nodes[i]);
  hak_lock_release(&lock);
  return true;
}

static void count_locked(hak_malloced_t *m, int64_t blocks, int64_t bytes) {
  hak_lock_assert_held(&lock);
  hak_store_relaxed(&m->blocks, hak_load_relaxed(&m->blocks) + (uint64_t)blocks);
  hak_store_relaxed(&m->bytes, hak_load_relaxed(&m->bytes) + (uint64_t)bytes);
}

/* A record, for which the bytes are charged; NULL if a limit or memory is in the way. */
static node_t *reserve(hak_malloced_t *m, size_t size) {
  do {
    hak_lock_acquire(&lock);
    node_t *node = unused;
    bool ok = node == NULL || hak_budget_charge(m->budget, size);
    if (node != NULL && ok) {
      unused = node->low;
      count_locked(m, 0, (int64_t)size);
    }
    hak_lock_release(&lock);
    if (!ok) return NULL;
    if (node != NULL) return node;
  } while (make_records());
  return NULL;
}

static void unreserve_locked(hak_malloced_t *m, node_t *node, size_t size) {
  hak_lock_assert_held(&lock);
  hak_budget_uncharge(m->budget, size);
  count_locked(m, 0, -(int64_t)size);
  put_record_locked(node);
}

static void add_locked(node_t *node) {
  hak_lock_assert_held(&lock);
  hak_malloced_t *m = node->owner;
  node->last = NULL;
  node->next = m->first;
  if (m->first != NULL) m->first->last = node;
  m->first = node;
  count_locked(m, 1, 0);
  insert_locked(node);
}

/* The block is nobody's any more, and not charged. */
static void remove_locked(node_t *node) {
  hak_lock_assert_held(&lock);
  hak_malloced_t *m = node->owner;
  erase_locked(node);
  if (node->next != NULL) node->next->last = node->last;
  *(node->last == NULL ? &m->first : &node->last->next) = node->next;
  count_locked(m, -1, 0);
  unreserve_locked(m, node, node->size);
}

/* --- blocks ------------------------------------------------------------------------- */

void hak_malloced_begin(hak_malloced_t *m, void *heap_id, hak_budget_t *budget) {
  m->budget = budget;
  m->extent.os = hooks;
  hak_store_relaxed(&m->extent.heap, heap_id);
}

void *hak_malloced_alloc(hak_malloced_t *m, size_t size, size_t alignment, bool zero) {
  node_t *node = reserve(m, size);
  if (node == NULL) return NULL;
  void *block = hak_malloc_get(size, alignment, zero);
  hak_lock_acquire(&lock);
  if (block == NULL) {
    unreserve_locked(m, node, size);
  } else {
    node->hidden = ~(uintptr_t)block;
    node->size = size;
    node->owner = m;
    add_locked(node);
  }
  hak_lock_release(&lock);
  return block;
}

/* The record goes first: as soon as malloc has the block, another thread may get it. */
bool hak_malloced_free(void *block) {
  hak_lock_acquire(&lock);
  node_t *node = record_locked(block);
  bool ours = node != NULL;
  if (ours) remove_locked(node);
  hak_lock_release(&lock);
  if (ours) hak_malloc_put(block);
  return ours;
}

HAK_SLOW bool hak_malloced_is_empty(const hak_malloced_t *m) {
  hak_lock_acquire(&lock);
  bool empty = hak_malloced_bytes(m) == 0;
  hak_lock_release(&lock);
  return empty;
}

/* Counts so many bytes more, if they may be charged. */
static bool grow_locked(hak_malloced_t *m, size_t bytes) {
  hak_lock_assert_held(&lock);
  if (!hak_budget_charge(m->budget, bytes)) return false;
  count_locked(m, 0, (int64_t)bytes);
  return true;
}

static void shrink_locked(hak_malloced_t *m, size_t bytes) {
  hak_lock_assert_held(&lock);
  hak_budget_uncharge(m->budget, bytes);
  count_locked(m, 0, -(int64_t)bytes);
}

/* The record is that of another block from here on, for which growth is charged. */
static void change_locked(node_t *node, const void *block, size_t size) {
  hak_lock_assert_held(&lock);
  size_t had = node->size;
  erase_locked(node);
  node->hidden = ~(uintptr_t)block;
  node->size = size;
  insert_locked(node);
  if (size < had) shrink_locked(node->owner, had - size);
}

/* The record stays in the tree meanwhile: the child of a fork, to whom this thread is
 * lost, finds the old block. */
void *hak_malloced_move(hak_malloced_t *m, void *old, size_t size, size_t alignment) {
  hak_lock_acquire(&lock);
  const node_t *before = record_locked(old);
  size_t had = before == NULL ? 0 : before->size;
  size_t growth = size > had ? size - had : 0;
  bool ok = before != NULL && grow_locked(m, growth);
  hak_lock_release(&lock);
  if (!ok) return NULL;
  void *block = hak_malloc_get(size, alignment, false);
  if (block != NULL) memcpy(block, old, had < size ? had : size);
  hak_lock_acquire(&lock);
  node_t *node = block == NULL ? NULL : record_locked(old);
  bool moved = node != NULL && node->owner == m && node->size == had;
  if (moved) {
    change_locked(node, block, size);
  } else {
    shrink_locked(m, growth);
  }
  hak_lock_release(&lock);
  if (!moved && block != NULL) hak_malloc_put(block); /* another has freed the old one */
  return moved ? block : NULL;
}

/* Takes any block of the heap out; NULL if there is none. */
static void *take_any(hak_malloced_t *m) {
  hak_lock_acquire(&lock);
  node_t *node = m->first;
  void *block = node == NULL ? NULL : (void *)address_of(node);
  if (node != NULL) remove_locked(node);
  hak_lock_release(&lock);
  return block;
}

void hak_malloced_clear(hak_malloced_t *m) {
  for (void *block = take_any(m); block != NULL; block = take_any(m)) {
    hak_malloc_put(block);
  }
}

HAK_SLOW void hak_malloced_stop(void) {
  while (tree != NULL) hak_malloced_clear(tree->owner);
  unused = NULL;
  hak_store_relaxed(&hak_malloced_state, HAK_MALLOCED_UNDECIDED);
}

bool hak_malloced_find(const void *address, hak_malloced_found_t *found) {
  hak_lock_acquire(&lock);
  const node_t *node = below_locked((uintptr_t)address);
  bool ours = node != NULL && (uintptr_t)address - address_of(node) < node->size;
  if (ours) {
    *found = (hak_malloced_found_t){node->owner, (char *)address_of(node), node->size};
  }
  hak_lock_release(&lock);
  return ours;
}

/* Others change the list of their own heaps only. */
void hak_malloced_visit(const hak_malloced_t *m,
                        bool (*visit)(char *block, size_t size, void *ctx), void *ctx) {
  for (const node_t *node = m->first; node != NULL; node = node->next) {
    if (!visit((char *)address_of(node), node->size, ctx)) return;
  }
}

bool hak_malloced_is_valid(hak_malloced_t *m) {
  uint64_t blocks = 0, bytes = 0;
  bool found = true;
  hak_lock_acquire(&lock);
  for (const node_t *node = m->first; node != NULL; node = node->next) {
    blocks++;
    bytes += node->size;
    found = found && node->owner == m && below_locked(address_of(node)) == node;
  }
  found = found && blocks == hak_malloced_blocks(m) && bytes <= hak_malloced_bytes(m);
  hak_lock_release(&lock);
  return found;
}

void hak_malloced_recharge(hak_malloced_t *m) {
  uint64_t bytes = 0;
  for (const node_t *node = m->first; node != NULL; node = node->next) {
    bytes += node->size;
  }
  hak_store_relaxed(&m->bytes, bytes);
  if (bytes != 0) hak_budget_recharge(m->budget, bytes);
}
