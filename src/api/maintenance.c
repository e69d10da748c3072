/* maintenance.c - a thread of the library's own, for programs that ask for one; apart, so
 * that others do not link what makes threads. */
#include <errno.h>

#include "api/api.h"
#include "heap/maintenance.h"

#define NS_PER_MS ((uint64_t)1000000)
#define PERIOD_MS_MOST 86400000u /* a day */

int hak_maintenance_start(unsigned period_ms) {
  if (period_ms == 0 || period_ms > PERIOD_MS_MOST) return EINVAL;
  hak_stay_t stay = hak_lifecycle_stay();
  if (stay == HAK_STAY_NONE) return ENOMEM;
  int error = hak_maintenance_begin(period_ms * NS_PER_MS);
  hak_stay_end(stay);
  return error;
}

int hak_maintenance_stop(void) { return hak_maintenance_end(); }
