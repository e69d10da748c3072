#include "heap/stay.h"

#include "base/gate.h"
#include "base/wait.h"
#include "heap/phase.h"

/* Calls of threads that are not attached; open while the library runs. */
static hak_gate_t calls;
static _Thread_local uint16_t calls_of_mine;

bool hak_stay_try(void) {
  if (!hak_gate_enter(&calls)) return false;
  calls_of_mine++;
  return true;
}

void hak_stay_end_slow(void) {
  if (calls_of_mine == 0) return; /* hak_stays_of_mine */
  calls_of_mine--;
  hak_gate_leave(&calls);
}

HAK_SLOW unsigned hak_stays_of_mine(unsigned count) {
  unsigned before = calls_of_mine;
  while (calls_of_mine > count) hak_stay_end_slow();
  while (calls_of_mine < count && hak_stay_try()) continue;
  return before;
}

hak_stay_t hak_stay_slow(void) {
  enum {
    STEPS = 1000
  };
  if (hak_thread_self->kind == HAK_THREAD_ATTACHED) return HAK_STAY_ATTACHED;
  unsigned step = 0;
  for (int i = 0; i < STEPS; i++) {
    if (hak_stay_try()) return HAK_STAY_COUNTED;
    hak_phase_t now = hak_phase();
    if (now == HAK_PHASE_DOWN || (now == HAK_PHASE_CHANGING && hak_phase_is_mine()))
      break;
    hak_wait_step(&step);
  }
  return HAK_STAY_NONE;
}

void hak_stays_open(void) { hak_gate_open(&calls); }
void hak_stays_close(void) { hak_gate_close(&calls); }

/* A call is over soon, but for those that wait themselves, or call the program. */
bool hak_stays_wait(void) {
  enum {
    STEPS = 100
  };
  return hak_gate_wait(&calls, STEPS);
}

bool hak_stays_recount(void) {
  uint32_t inside = hak_gate_inside(&calls);
  hak_gate_recount(&calls, calls_of_mine);
  return inside != calls_of_mine;
}
