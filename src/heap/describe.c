#include "heap/describe.h"

#include <string.h>

#include "external/malloced.h"
#include "heap/stay.h"
#include "heap/thread_end.h"
#include "pages/cell.h"
#include "pool/large.h"
#include "superslab/locate.h"
#include "tiny/canary.h"

/* Puts `text` before what begins *at bytes into the path, where there is room for it. */
static void put_before(char *path, size_t *at, const char *text) {
  size_t length = strlen(text);
  *at -= length;
  memcpy(path + *at, text, length);
}

void hak_heap_path(hak_heap_t *heap, char *path, size_t room) {
  static const char cut[] = ".../";
  size_t at = room - 1, least = sizeof cut - 1;
  path[at] = '\0';
  for (bool first = true; heap != NULL; heap = hak_heap_above(heap), first = false) {
    char name[HAK_HEAP_NAME_MAX + 1];
    hak_heap_copy_name(heap, name); /* it may be ending */
    size_t length = strlen(name[0] == '\0' ? "?" : name) + (first ? 0 : 1);
    if (length + least > at) {
      put_before(path, &at, cut);
      break;
    }
    if (!first) put_before(path, &at, "/");
    put_before(path, &at, name[0] == '\0' ? "?" : name);
  }
  memmove(path, path + at, room - at);
}

static size_t size_at(const void *address) {
  hak_malloced_found_t found;
  if (hak_malloced_is_on() && hak_malloced_find(address, &found)) return found.size;
  hak_cell_facts_t facts;
  if (hak_cell_look(address, &facts) != HAK_CELL_FREE) return facts.size;
  hak_place_t place = hak_locate((uintptr_t)address);
  size_t size = place.cls < HAK_CLASSES        ? hak_class_size(place.cls)
                : place.cls == HAK_CLASS_LARGE ? hak_large_usable(&place)
                                               : 0;
  return hak_canary_below(size);
}

static HAK_SLOW void describe(hak_error_info_t *info, char *path, size_t room) {
  info->size = info->address == NULL ? 0 : size_at(info->address);
  hak_heap_t *heap = info->heap == NULL ? NULL : hak_heap_record(info->heap);
  if (heap == NULL || hak_heap_handle(heap) != info->heap) return;
  hak_heap_path(heap, path, room);
}

static void go_back(const hak_inside_t *inside) {
  hak_budget_calls = inside->calls;
  hak_os_leave((hak_os_scope_t)inside->scope);
  (void)hak_stays_of_mine(inside->stays);
}

/* Requests that a handler has left lie no more where they lay, and what one of them was
 * not allowed to ask of the OS others are. The request out of which a callback of the
 * program's was called goes on. */
static void go_outside(hak_inside_t *inside) {
  inside->back = go_back;
  inside->stays = hak_stays_counted;
  inside->calls = hak_budget_calls;
  inside->scope = (int)hak_os_enter(HAK_OS_INLINE);
  hak_budget_calls_leave();
}

/* Whether the call that reports this looks at records after the handler has returned. */
static bool goes_on(hak_error_t error) {
  return error == HAK_ERROR_CORRUPT_BLOCK || error == HAK_ERROR_BAD_STATE ||
         error == HAK_ERROR_LEAK || error == HAK_ERROR_OVERFLOW;
}

/* A report may come while this thread starts the library or ends it: nothing is waited
 * for. Of calls that the handler leaves nobody ends the stays, so they end before it, and
 * a thread whose call goes on stays by a state of its own. Where it can have none, or the
 * library is about to go, the stays stay. */
void hak_describe_report(hak_error_info_t *info, char *path, size_t room,
                         hak_inside_t *inside) {
  go_outside(inside);
  bool attached = hak_thread_self->kind == HAK_THREAD_ATTACHED;
  if (!attached && !hak_stay_try()) return;
  describe(info, path, room);
  if (!attached) {
    hak_stay_end_slow();
    if (goes_on(info->error) && (hak_thread_is_ending() || !hak_thread_begin())) return;
  }
  (void)hak_stays_of_mine(0);
}
