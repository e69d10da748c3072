#include "superslab/pool_queue.h"

#include "os/os.h"

enum {
  WALK = 64
};

/* Guards what is marked [lock] here and [lock: pool queue] in links. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_POOL_QUEUE);
static hak_pool_link_t *first, *last; /* [lock] by `oldest`, the least first */

hak_lock_t *hak_pool_queue_lock(void) { return &lock; }

/* Mostly what comes is the youngest. */
static void insert_locked(hak_pool_link_t *link, uint64_t oldest) {
  hak_lock_assert_held(&lock);
  hak_pool_link_t *before = last;
  for (int i = 0; before != NULL && before->oldest > oldest && i < WALK; i++) {
    before = before->prev;
  }
  /* Beyond the walk it waits longer than it need; the order holds. */
  if (before != NULL && before->oldest > oldest) oldest = before->oldest;
  link->oldest = oldest;
  link->prev = before;
  link->next = before == NULL ? first : before->next;
  if (link->next != NULL) {
    link->next->prev = link;
  } else {
    last = link;
  }
  if (before != NULL) {
    before->next = link;
  } else {
    first = link;
  }
}

static void remove_locked(hak_pool_link_t *link) {
  hak_lock_assert_held(&lock);
  if (link->next != NULL) {
    link->next->prev = link->prev;
  } else {
    last = link->prev;
  }
  if (link->prev != NULL) {
    link->prev->next = link->next;
  } else {
    first = link->next;
  }
  link->next = link->prev = NULL;
}

void hak_pool_queue_add(hak_pool_link_t *link, uint64_t oldest) {
  hak_lock_acquire(&lock);
  insert_locked(link, oldest);
  hak_lock_release(&lock);
  link->queued = true;
}

hak_pool_link_t *hak_pool_queue_visit(uint64_t *before) {
  hak_lock_acquire(&lock);
  hak_pool_link_t *link = first;
  if (link != NULL && link->oldest > *before) link = NULL;
  if (link != NULL) {
    remove_locked(link);
    link->visitor = hak_os_self();
    if (first != NULL && first->oldest < *before) *before = first->oldest;
  }
  hak_lock_release(&lock);
  return link;
}

void hak_pool_queue_leave(hak_pool_link_t *link, uint64_t oldest) {
  hak_lock_acquire(&lock);
  link->visitor = NULL;
  if (oldest != UINT64_MAX) insert_locked(link, oldest);
  hak_lock_release(&lock);
  link->queued = oldest != UINT64_MAX;
}

/* A thread that visits the pool and ends its heap, from a hook, has to be done with it
 * itself. */
bool hak_pool_queue_remove(hak_pool_link_t *link) {
  if (!link->queued) return true;
  hak_lock_acquire(&lock);
  const void *visitor = link->visitor;
  bool free = visitor == NULL || visitor == hak_os_self();
  if (visitor == NULL) remove_locked(link);
  hak_lock_release(&lock);
  if (visitor == NULL) link->queued = false;
  return free;
}

uint64_t hak_pool_queue_oldest(void) {
  hak_lock_acquire(&lock);
  uint64_t oldest = first == NULL ? UINT64_MAX : first->oldest;
  hak_lock_release(&lock);
  return oldest;
}

bool hak_pool_queue_forget_visit(hak_pool_link_t *link) {
  hak_lock_acquire(&lock);
  bool lost = link->visitor != NULL && link->visitor != hak_os_self();
  if (lost) link->visitor = NULL;
  hak_lock_release(&lock);
  if (lost) link->queued = false;
  return lost;
}

void hak_pool_queue_stop(void) { first = last = NULL; }
