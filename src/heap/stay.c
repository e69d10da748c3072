#include "heap/stay.h"

#include "base/gate.h"
#include "base/wait.h"
#include "heap/phase.h"

/* Stays that are counted; open while the library runs. */
static hak_gate_t calls;
_Thread_local uint16_t hak_stays_counted;

bool hak_stay_try(void) {
  if (!hak_gate_enter(&calls)) return false;
  hak_stays_counted++;
  return true;
}

void hak_stay_end_slow(void) {
  if (hak_stays_counted == 0) return; /* hak_stays_of_mine */
  hak_stays_counted--;
  hak_gate_leave(&calls);
}

HAK_SLOW unsigned hak_stays_of_mine(unsigned count) {
  unsigned before = hak_stays_counted;
  while (hak_stays_counted > count) hak_stay_end_slow();
  while (hak_stays_counted < count && hak_stay_try()) continue;
  return before;
}

hak_stay_t hak_stay_slow(void) {
  enum {
    STEPS = 1000
  };
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

HAK_SLOW bool hak_stay_is_inside(void) {
  return hak_load_relaxed(&hak_thread_self->busy) != 0 || hak_budget_calls != NULL ||
         hak_stays_counted != 0;
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
  hak_gate_recount(&calls, hak_stays_counted);
  return inside != hak_stays_counted;
}
