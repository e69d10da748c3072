/* give_up.h - a turn at which a thread gives idle memory up. */
#ifndef HAKMEM_TEST_GIVE_UP_H
#define HAKMEM_TEST_GIVE_UP_H

#include "support.h"

#include "heap/give_up.h"
#include "heap/thread.h"

/* As a slow path does that finds memory idle, when so many classes are next. */
static inline void test_give_up(uint32_t classes) {
  hak_thread_t *me = hak_thread_enter_started();
  CHECK(me != NULL);
  me->to_empty = classes;
  me->turns.counted_at = 0; /* whatever the time is */
  hak_give_up_some(me);
  hak_thread_leave(me, "test");
}

#endif
