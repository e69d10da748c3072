/* pool_queue.h - the pools that have pages to give back, the longest idle first.
 *
 * Depends on: base, os.   Used by: pool_slots, shared_pool, retention, heap.
 *
 * What lies idle lies in many pools, of which most threads know few. A pool comes into
 * the queue with the first slot that it retains, and leaves it when a visitor finds none
 * there: so slots that come and go in a pool change nothing here. Any thread visits any
 * pool. A heap that ends takes its pool out, and waits for a visitor.
 *
 * Life of a link: out -> queued -> visited -> (queued | out)
 *
 * Cost: O(1), but for at most WALK steps where a pool is put back into the order of time;
 * with more pools the order is kept approximately.
 *
 * Access:  see base/lock.h; the lock is that of the queue
 */
#ifndef HAK_SUPERSLAB_POOL_QUEUE_H
#define HAK_SUPERSLAB_POOL_QUEUE_H

#include "base/lock.h"

typedef struct hak_pool_link {
  struct hak_pool_link *next, *prev; /* [lock: pool queue] */
  uint64_t oldest; /* [lock: pool queue] ns; nothing there has been idle for longer, or
                      nothing of it is to be looked at before */
  const void *visitor; /* [lock: pool queue] the thread that has taken it out to give
                          pages back; or NULL */
  bool queued;         /* [lock: pool] it is in the queue, or visited */
} hak_pool_link_t;

/* A pool that is out has slots that have been idle since `oldest`. Its lock is held. */
void hak_pool_queue_add(hak_pool_link_t *link, uint64_t oldest);

/* Takes the first pool out for a visit; NULL if none has anything that has been idle
 * since *before or longer. *before becomes the time of what the next pool may have, if
 * that is less: younger memory is not this pool's turn. The pool stays until
 * hak_pool_queue_leave. No lock held. */
hak_pool_link_t *hak_pool_queue_visit(uint64_t *before);
/* The visit ends: the pool waits with what has been idle since `oldest`; UINT64_MAX:
 * there is nothing. Its lock is held. */
void hak_pool_queue_leave(hak_pool_link_t *link, uint64_t oldest);

/* Takes a pool out whose heap ends. False, and nothing is changed, while another thread
 * visits it. Its lock is held. */
bool hak_pool_queue_remove(hak_pool_link_t *link);

/* `oldest` of the first pool; UINT64_MAX if there is none. No lock held. */
uint64_t hak_pool_queue_oldest(void);

/* In the child of a fork: a visit of a thread that is not there is over. True if there
 * was one, and the pool is out. */
bool hak_pool_queue_forget_visit(hak_pool_link_t *link);
/* At shutdown: forgets all pools. */
void hak_pool_queue_stop(void);
hak_lock_t *hak_pool_queue_lock(void);

#endif
