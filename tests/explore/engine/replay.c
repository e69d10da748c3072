/* replay.c - an execution in writing: which thread makes how many accesses, one stretch
 * after the other, and which loads return an old value.
 *
 *   0x12,1x3,0x4;7=1,15=2    thread 0 makes 12 accesses, and so on; the 7th access of all
 *                            gets the value before the newest, the 15th the one before
 *                            that
 *   0x90!17                  the first thread's handler comes after 16 accesses of its
 *
 * That holds whatever a search takes for steps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum {
  STRETCHES = 2 * STEPS,
  OLD = 4096
};

typedef struct stretch {
  uint32_t thread, accesses;
} stretch_t;

typedef struct old {
  uint32_t access, choice;
} old_t;

static struct replay {
  stretch_t stretch[STRETCHES];
  old_t old[OLD];
  uint32_t stretches, olds;
  uint32_t access; /* made so far, of all threads */
  uint32_t place;  /* of the handler; 0: it did not come */
  /* While an execution is replayed. */
  uint32_t at, left;
} * rp;

void replay_start(void) {
  rp = calloc(1, sizeof *rp);
  if (rp == NULL) abort();
}

void replay_begin(void) {
  rp->access = 0;
  if (g->mode == MODE_REPLAY) {
    rp->at = 0;
    rp->left = rp->stretch[0].accesses;
    return;
  }
  rp->stretches = rp->olds = rp->place = 0;
}

void replay_note_handler(void) { rp->place = g->accesses; }

static void note_access(void) {
  stretch_t *last = rp->stretches == 0 ? NULL : &rp->stretch[rp->stretches - 1];
  if (last != NULL && last->thread == g->current->number) {
    last->accesses++;
  } else if (rp->stretches < STRETCHES) {
    rp->stretch[rp->stretches++] = (stretch_t){g->current->number, 1};
  }
}

void replay_note_access(void) {
  rp->access++;
  if (g->mode == MODE_REPLAY) {
    rp->left--;
  } else {
    note_access();
  }
}

void replay_note_old(unsigned choice) {
  if (rp->olds < OLD) rp->old[rp->olds++] = (old_t){rp->access, choice};
}

unsigned replay_thread(void) {
  while (rp->left == 0) {
    if (++rp->at >= rp->stretches) failed("the choices to replay end here");
    rp->left = rp->stretch[rp->at].accesses;
  }
  return rp->stretch[rp->at].thread;
}

unsigned replay_old(void) {
  for (uint32_t i = 0; i < rp->olds; i++) {
    if (rp->old[i].access == rp->access) return rp->old[i].choice;
  }
  return 0;
}

void replay_print(void) {
  for (uint32_t i = 0; i < rp->stretches; i++) {
    printf("%s%ux%u", i == 0 ? "" : ",", rp->stretch[i].thread, rp->stretch[i].accesses);
  }
  for (uint32_t i = 0; i < rp->olds; i++) {
    printf("%s%u=%u", i == 0 ? ";" : ",", rp->old[i].access, rp->old[i].choice);
  }
  if (rp->place != 0) printf("!%u", rp->place);
}

static const char *read_pair(const char *text, uint32_t *first, uint32_t *second) {
  char *end;
  *first = (uint32_t)strtoul(text, &end, 10);
  if (*end != '\0') end++;
  *second = (uint32_t)strtoul(end, &end, 10);
  return *end == ',' ? end + 1 : end;
}

void replay_read(const char *text) {
  rp->stretches = rp->olds = 0;
  const char *handler = strchr(text, '!');
  g->place = handler == NULL ? 0 : (uint32_t)strtoul(handler + 1, NULL, 10);
  while (*text != '\0' && *text != ';' && *text != '!' && rp->stretches < STRETCHES) {
    stretch_t *stretch = &rp->stretch[rp->stretches++];
    text = read_pair(text, &stretch->thread, &stretch->accesses);
    if (stretch->thread >= g->threads) stretch->thread = 0;
  }
  if (*text == ';') text++;
  while (*text != '\0' && *text != '!' && rp->olds < OLD) {
    old_t *old = &rp->old[rp->olds++];
    text = read_pair(text, &old->access, &old->choice);
  }
}
