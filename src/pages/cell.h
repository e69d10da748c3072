/* cell.h - guarded blocks: one block each, alone between pages that nobody may touch.
 *
 * Depends on: base, os, idle, mapping_lists, meta, registry.
 * Used by: mapping, pool, heap, api.
 *
 * One range of address space, reserved with the first guarded block, is cut into cells of
 * the size of a SuperSlab. A cell has a block in the middle, whose end or beginning,
 * chosen at random, is that of a page; all else of the cell may not be touched. After the
 * free nothing of it may, until the cell serves again: those that have waited for longest
 * do first. So whoever writes or reads beyond the block, or after its free, faults there,
 * and what the cell remembers says what happened (hak_cell_look).
 *
 * To the registry, to walkers, budgets and heaps' ends the block is a mapping like
 * others: the record begins with one. It is charged its pages and its mapping's record;
 * the range and the cells' records are charged to nobody.
 *
 * Life: free -> passing -> used -> waiting -> passing -> ...   A cell that the system did
 * not take the pages of, or refused to open, is free again at once.
 *
 * Invariant, checked by hak_cells_are_valid(): each cell is free, passing, used or
 * waiting as counted; used ones are in the list of mappings in use.
 *
 * Out of memory, of address space or of cells is silent: there is no guarded block then.
 *
 * Access: see base/lock.h; [lock] is the lock of mappings. */
#ifndef HAK_PAGES_CELL_H
#define HAK_PAGES_CELL_H

#include "pages/mapping_lists.h"

enum {
  HAK_CELLS = 256,
  HAK_CELLS_USED_MOST = 128, /* blocks at once; so each waits for half of all at least */
  HAK_CALLS_FRAMES = 24
};
/* Larger blocks are not guarded. */
#define HAK_CELL_SIZE_MOST ((size_t)64 << 10)

/* By which calls, and on which thread, a block came or went. */
typedef struct hak_calls {
  uint64_t thread;                /* as the system names it; 0: nobody noted it */
  uint32_t depth;                 /* addresses; 0: none are known */
  void *frames[HAK_CALLS_FRAMES]; /* the innermost first */
} hak_calls_t;

typedef enum hak_cell_state {
  HAK_CELL_FREE = 0,
  HAK_CELL_PASSING, /* a thread opens it */
  HAK_CELL_USED,
  HAK_CELL_WAITING, /* its block was freed */
  HAK_CELL_STATES
} hak_cell_state_t;

/* What is remembered of a block. */
typedef struct hak_cell_facts {
  const char *block;
  size_t size;       /* bytes that were asked for */
  void *heap;        /* the handle by which the program knows its heap */
  uint32_t origin;   /* the number of its place, 0 for none */
  hak_calls_t alloc; /* by which it came */
  hak_calls_t free;  /* by which it went; nothing of one that went with its heap */
} hak_cell_facts_t;

typedef struct hak_cell {
  hak_mapping_t mapping;  /* its extent's base is the first page that may be touched */
  hak_cell_state_t state; /* [lock] */
  bool dirty;             /* [lock] the system kept what was in its pages */
  uint32_t looks;         /* [lock] threads that read its pages, which stay so long */
  struct hak_cell *next;  /* [lock] free or waiting: the next to serve */
  hak_cell_facts_t facts; /* [lock] of the block, or of the last one */
} hak_cell_t;

_Static_assert(offsetof(hak_cell_t, mapping) == 0, "extents lead to cells");

/* A block that is wanted. */
typedef struct hak_cell_ask {
  const hak_os_t *os; /* the system's own hooks */
  hak_budget_t *budget;
  void *heap_id;    /* as extents name it */
  void *handle;     /* as the program does */
  size_t size;      /* bytes, not 0 */
  size_t usable;    /* what is counted: `size`, and what of it the library has */
  size_t alignment; /* a power of two; a page at most */
  const hak_calls_t *calls;
} hak_cell_ask_t;

/* A block of zeroes; NULL if none can be had, or the system may be asked for nothing. No
 * lock held. Costs a system call or two, and a page is touched. */
void *hak_cell_begin(const hak_cell_ask_t *ask);
/* The block of a mapping in use that is a cell's is gone: nobody may touch it any more.
 * No lock held. Costs two system calls. */
void hak_cell_end(hak_mapping_t *mapping);

/* Where all cells lie, for those who hold no lock. */
HAK_EXTERN hak_atomic_u64_t hak_cells_base, hak_cells_bytes;

/* The address is in a cell. */
HAK_HOT bool hak_cells_have(const void *address) {
  uint64_t offset = (uintptr_t)address - hak_load_relaxed(&hak_cells_base);
  return HAK_UNLIKELY(offset < hak_load_relaxed(&hak_cells_bytes));
}

/* Copies what is known of the cell that an address lies in; one that passes is its last
 * block's until it has the next. HAK_CELL_FREE, and nothing is copied, if nothing is. For
 * crash handlers too: waits for no lock for long. */
hak_cell_state_t hak_cell_look(const void *address, hak_cell_facts_t *facts);
/* The place of a block in use is the origin of this number. */
void hak_cell_set_origin(const void *block, uint32_t origin);
/* Of a block in use that is about to be freed, for the first time as far as is known. */
void hak_cell_set_free(const void *block, const hak_calls_t *calls);

/* The bytes beside a block in use that lie in its own pages are as they were; or somebody
 * has claimed it by now. */
typedef enum hak_cell_margins {
  HAK_CELL_WHOLE = 0,
  HAK_CELL_UNDERFLOW,
  HAK_CELL_OVERFLOW
} hak_cell_margins_t;
hak_cell_margins_t hak_cell_margins(const void *block);

/* In the child of a fork: what lost threads had passing is free. */
void hak_cells_recover(void);
/* At shutdown, when no mapping is in use. */
void hak_cells_stop(void);

bool hak_cells_are_valid(void);

#endif
