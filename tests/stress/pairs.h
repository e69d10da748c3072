/* pairs.h - what the pairwise stress is made of: pens, in which a heap of some kind
 * stands with a model of its blocks, threads at work on them, and actors.
 *
 *   pairs_pen.c    heaps of every kind, and who may touch them when
 *   pairs_item.c   blocks that are known byte by byte
 *   pairs_work.c   threads at work, and what must be true at the end
 *   pairs_walk.c   actors that walk, ask, collect or make ready
 *   pairs_end.c    actors that end heaps or threads, and forks
 *   pairs_alone.c  shutdown beside births, and races for the last blocks of heaps
 *   pairs.c        the matrix of all pairs
 */
#ifndef HAKMEM_TEST_PAIRS_H
#define HAKMEM_TEST_PAIRS_H

#include "strict_os.h"
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  WORKERS = 3,
  HELPERS = 4, /* threads that an actor starts for a moment */
  HANDS = WORKERS + HELPERS + 1,
  ACTOR_HAND = HANDS - 1,
  OWN = 16,    /* blocks that a thread has in a pen */
  SHARED = 32, /* blocks in a pen that any thread may take */
  LOOSE = 256, /* the same for blocks that released heaps have left */
  SEEN = 1024, /* addresses of blocks, some of them gone */
  MEMORIES = 24,
  CANARY = TEST_CHECKS == 3 ? 8 : 0 /* bytes behind those of each block in slabs or large,
                                       which counts have and the program has not */
};

typedef enum kind {
  KIND_DEFAULT,
  KIND_PLAIN,
  KIND_CHILD,    /* with a budget, below a parent with a budget */
  KIND_SERIAL,   /* one thread at a time, by the pen's gate */
  KIND_ARENA,    /* little memory of the caller's */
  KIND_PLOT,     /* much memory of the caller's */
  KIND_HOOKS,    /* over hooks of its own, which trust nobody */
  KIND_NO_PURGE, /* keeps its free memory */
  KIND_ORPHANS,  /* its blocks are those of heaps that were released below it */
  KIND_PRESSURE, /* with limits and a callback that frees what others may take */
  KINDS
} kind_t;

#define KIND_BIT(kind) (1u << (kind))
#define ALL_KINDS (KIND_BIT(KINDS) - 1)

/* A block, and all that must be true of it. */
typedef struct item {
  unsigned char *address;
  size_t size;       /* as asked for */
  uint64_t id;       /* its pattern */
  bool dense;        /* every byte is pattern, not only a word of each page */
  bool orphan;       /* its heap was released */
  hak_heap_t *owner; /* what hak_heap_of must say */
} item_t;

/* Hooks of a heap's own; they outlive it, to see whether somebody still calls them. */
typedef struct pen_hooks {
  test_os_t os;
  bool ended;
  uint64_t calls; /* when the heap had ended */
  struct pen_hooks *next;
} pen_hooks_t;

/* Threads touch the heap and the tables inside the gate only: many at a time, or one
 * where the heap is serial. Whoever has closed the gate has both for itself. An item in
 * transit is in no table, so that a fork's child finds whole ones only. */
typedef struct pen {
  kind_t kind;
  hak_heap_t *handle;
  hak_heap_t *parent;   /* with a budget, of this pen alone; NULL = none */
  atomic_bool may_fail; /* NULL with ENOMEM is right at any moment */
  pthread_rwlock_t gate;
  atomic_uint wanted; /* threads that wait to be alone, or are */
  pen_hooks_t *hooks;
  char *memory[MEMORIES];
  size_t memories, memory_size;
  _Atomic(item_t *) own[HANDS][OWN];
  size_t places; /* of those below */
  _Atomic(item_t *) shared[LOOSE];
} pen_t;

typedef struct pair pair_t;

typedef struct actor {
  const char *name;
  void (*round)(pair_t *pair, test_rng_t *rng);
  unsigned kinds; /* of targets that make sense */
  unsigned flags;
} actor_t;

#define ACTOR_ATTACHED 0x01u /* workers must be attached all the time */
#define ACTOR_LIMITS 0x02u   /* the target may refuse at any moment */
#define ACTOR_ALONE 0x04u    /* a process of its own, in which nobody else is at work */

/* One process's world: a pen of each kind, of which one is the actor's target. */
struct pair {
  const actor_t *actor;
  kind_t kind;
  pen_t *target;
  uint64_t seed;
  double seconds;
  atomic_bool stop;
  atomic_size_t started; /* workers that have blocks */
  pen_t pens[KINDS];
  pen_t loose; /* blocks that released heaps have left; no heap of its own */
  atomic_uintptr_t seen[SEEN];
  atomic_size_t seen_next;
  atomic_ullong steps;
  unsigned rounds;
};

extern const char *const kind_names[KINDS];
/* Key 0 is older than the library's own, key 1 younger. */
extern pthread_key_t g_late_keys[2];

/* ---- Pens ------------------------------------------------------------- */

void pens_open(pair_t *pair);
void pens_close(pair_t *pair);
void pen_init(pen_t *pen, kind_t kind, size_t places, test_rng_t *rng);
/* Ends the heap and its parent; what they had is back where it came from. */
void pen_end(pen_t *pen);
/* Makes the pen's heap, and its parent if the kind has one and it is not there; false
 * where the memory that the heap needs cannot be had any more. */
bool pen_make(pen_t *pen, test_rng_t *rng);
/* Before the library starts: in a fork's child the hooks must be there before it is. */
void pen_hooks_begin(void);
/* The heap is destroyed: its hooks have nothing left, and are not called again. */
void pen_hooks_end(pen_t *pen);
void pen_hooks_check_all(void);

/* Shared, or alone where the heap is serial; false while somebody is or wants to be
 * alone there. */
bool pen_enter(pen_t *pen);
void pen_enter_wait(pen_t *pen);
void pen_leave(pen_t *pen);
/* Alone, whatever the kind. */
void pen_close(pen_t *pen);
void pen_open(pen_t *pen);

/* Every item of a pen, with the place that it is in. */
typedef void(item_fn)(pair_t *pair, pen_t *pen, _Atomic(item_t *) *place, void *ctx);
void pen_each(pair_t *pair, pen_t *pen, item_fn *fn, void *ctx);
void pens_each(pair_t *pair, item_fn *fn, void *ctx);

/* ---- Items ------------------------------------------------------------ */

/* NULL where the pen's heap may refuse. Of an orphans' pen a batch of blocks whose heap
 * is released: one is given, the others become shared. */
item_t *item_make(pair_t *pair, pen_t *pen, test_rng_t *rng);
item_t *item_make_in(pair_t *pair, hak_heap_t *heap, bool may_fail, test_rng_t *rng);
/* Every byte, and what the library says of it. */
void item_verify(const item_t *item);
void item_resize(pair_t *pair, pen_t *pen, item_t *item, test_rng_t *rng);
/* Verifies and frees. */
void item_free(item_t *item, test_rng_t *rng);
/* The heap is gone, and the block with it. */
void item_forget(item_t *item);
/* The heap was released: the block is the owner's now. */
void item_orphan(item_t *item, hak_heap_t *owner);
/* Leaves the item to whoever comes; false where there is no room. */
bool item_share(pen_t *pen, item_t *item);

/* ---- Work ------------------------------------------------------------- */

/* One step in a pen whose gate the caller has entered. */
void work_step(pair_t *pair, pen_t *pen, unsigned hand, test_rng_t *rng);
/* Several, in the target; waits for its gate. */
void work_some(pair_t *pair, unsigned hand, unsigned steps, test_rng_t *rng);

typedef void(helper_fn)(pair_t *pair, unsigned hand, test_rng_t *rng);
/* Threads that do the same at once, and end. */
void crowd(pair_t *pair, unsigned count, helper_fn *fn, test_rng_t *rng);

/* The blocks that hak_heap_visit shows are those of the model. The pens with blocks of
 * the heap are closed, or nobody is at work. */
void check_visit(pair_t *pair, pen_t *pen, hak_heap_t *handle);

/* Runs a pair, from the start of the library to its end. */
int pair_run(void *ctx);

/* ---- Actors ----------------------------------------------------------- */

extern const actor_t walk_actors[], end_actors[];
extern const size_t walk_actor_count, end_actor_count;

/* Runs a pair whose actor is alone. */
int restart_run(void *ctx);

/* Blocks of heaps that were released below two parents, freed by several threads. */
int orphans_run(void *ctx);

#endif /* HAKMEM_TEST_PAIRS_H */
