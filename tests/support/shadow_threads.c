/* shadow_threads.c - threads that take turns, and forks; see shadow.h */
#include "child.h"
#include "shadow.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* One thread at a time has the shadow. Whoever has it writes `turn` under the lock. */
typedef struct shadow_crew {
  shadow_t *shadow;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned turn;
  bool quit;     /* the thread whose turn it is ends */
  bool idling;   /* the thread whose turn it is goes idle, and gives the turn back */
  unsigned asks; /* to this one */
  bool there[SHADOW_THREADS_MAX];
  pthread_t threads[SHADOW_THREADS_MAX];
} shadow_crew_t;

typedef struct member {
  shadow_crew_t *crew;
  unsigned number;
} member_t;

/* Gives the turn to another thread. */
static void give(shadow_crew_t *crew, unsigned to) {
  pthread_mutex_lock(&crew->lock);
  crew->turn = to;
  pthread_cond_broadcast(&crew->changed);
  pthread_mutex_unlock(&crew->lock);
}

static void wait_until(shadow_crew_t *crew, unsigned turn) {
  pthread_mutex_lock(&crew->lock);
  while (crew->turn != turn) {
    pthread_cond_wait(&crew->changed, &crew->lock);
  }
  pthread_mutex_unlock(&crew->lock);
}

static void wait_for(shadow_crew_t *crew, unsigned turn) {
  wait_until(crew, turn);
  while (crew->idling) {
    hak_thread_idle();
    give(crew, crew->asks);
    wait_until(crew, turn);
  }
}

void shadow_others_idle(shadow_t *shadow) {
  shadow_crew_t *crew = shadow->crew;
  if (crew == NULL) {
    return;
  }
  crew->idling = true;
  crew->asks = shadow->thread;
  for (unsigned i = 0; i < SHADOW_THREADS_MAX; i++) {
    if (i != crew->asks && (i == 0 || crew->there[i])) {
      give(crew, i);
      wait_until(crew, crew->asks);
    }
  }
  crew->idling = false;
}

static void *member_main(void *argument) {
  member_t me = *(member_t *)argument;
  free(argument);
  shadow_t *shadow = me.crew->shadow;
  for (;;) {
    wait_for(me.crew, me.number);
    if (me.crew->quit) {
      return NULL; /* the first thread joins, and goes on */
    }
    while (shadow->left > 0 && shadow->thread == me.number && !shadow->thread_ends) {
      shadow_one(shadow);
    }
    bool ends = shadow->thread_ends;
    give(me.crew, 0);
    if (ends) {
      return NULL;
    }
  }
}

static void begin(shadow_crew_t *crew, unsigned number) {
  member_t *me = malloc(sizeof *me);
  CHECK(me != NULL);
  *me = (member_t){crew, number};
  CHECK_EQ(pthread_create(&crew->threads[number], NULL, member_main, me), 0);
  crew->there[number] = true;
}

static void join(shadow_crew_t *crew, unsigned number) {
  CHECK_EQ(pthread_join(crew->threads[number], NULL), 0);
  crew->there[number] = false;
  crew->shadow->used[number] = NULL;
}

void shadow_crew_work(shadow_t *shadow) {
  if (shadow->crew == NULL) {
    shadow->crew = calloc(1, sizeof *shadow->crew);
    CHECK(shadow->crew != NULL);
    shadow->crew->shadow = shadow;
    pthread_mutex_init(&shadow->crew->lock, NULL);
    pthread_cond_init(&shadow->crew->changed, NULL);
  }
  shadow_crew_t *crew = shadow->crew;
  unsigned number = shadow->thread;
  if (!crew->there[number]) {
    begin(crew, number);
  }
  give(crew, number);
  wait_for(crew, 0);
  if (shadow->thread_ends) {
    shadow->thread_ends = false;
    shadow->thread = 0;
    join(crew, number);
  }
}

void shadow_crew_end(shadow_t *shadow) {
  shadow_crew_t *crew = shadow->crew;
  shadow->thread = 0;
  if (crew == NULL) {
    return;
  }
  crew->quit = true;
  for (unsigned i = 1; i < SHADOW_THREADS_MAX; i++) {
    if (crew->there[i]) {
      give(crew, i);
      join(crew, i);
    }
  }
  pthread_mutex_destroy(&crew->lock);
  pthread_cond_destroy(&crew->changed);
  free(crew);
  shadow->crew = NULL;
}

/* ---- Operations ------------------------------------------------------- */

/* The next operations are another thread's. */
void shadow_step_switch(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_THREADS) != 0) {
    shadow->thread = (unsigned)shadow_pick(shadow, SHADOW_THREADS_MAX);
  }
}

/* A thread ends, and what it cached finds its way; the next turn of that number is that
 * of a new thread. */
void shadow_step_thread_end(shadow_t *shadow) {
  shadow->thread_ends = shadow->thread != 0;
}

void shadow_step_idle(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_THREAD) != 0) {
    hak_thread_idle();
  }
}

void shadow_step_exit(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_THREAD) != 0) {
    hak_thread_exit();
  }
}

/* The child has what this thread has: looks at all of it, frees all, and works on. */
void shadow_step_fork(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_FORKS) == 0) {
    return;
  }
  pid_t child = test_fork();
  if (child == 0) {
    shadow_verify_all(shadow);
    SHADOW_CHECK_THAT(shadow, hak_check(NULL) == 0);
    SHADOW_CHECK_THAT(shadow, test_stats().fork_lost_bytes == 0);
    shadow_empty(shadow);
    void *block = hak_alloc(100);
    SHADOW_CHECK_THAT(shadow, block != NULL || shadow_may_refuse(shadow, 0));
    hak_free(block);
    SHADOW_CHECK_THAT(shadow, hak_check(NULL) == 0);
    _exit(0);
  }
  test_fork_end(child);
}
