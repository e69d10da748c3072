/* late_object.cpp - a shared object with a library of its own, which it uses when the
 * library's own destructors have run: those of static objects come behind them, and those
 * of a high priority last. LATE says what they do there: nothing, "use", or "restart",
 * which ends the library first. */
#include <hakmem/hakmem.h>

#include <cstdlib>
#include <cstring>

extern "C" void *late_alloc(size_t size) { return hak_alloc(size); }
extern "C" int late_end() { return hak_shutdown(HAK_SHUTDOWN_FORCE); }

namespace {

void use() {
  void *block = hak_alloc(100), *other = hak_calloc(1000, 1000);
  if (block == nullptr || other == nullptr) abort();
  memset(block, 1, 100);
  hak_free(block);
  hak_free(other);
  if (hak_maintenance_start(1) == 0) abort(); /* its code is about to go */
}

void come_late() {
  const char *what = getenv("LATE");
  if (what == nullptr || strcmp(what, "nothing") == 0) return;
  if (strcmp(what, "restart") == 0) (void)hak_shutdown(HAK_SHUTDOWN_FORCE);
  use();
  if (strcmp(what, "restart") == 0) {
    if (hak_shutdown(HAK_SHUTDOWN_FORCE) != 0) abort();
    use();
  }
}

struct late {
  ~late() { come_late(); }
} object;

__attribute__((destructor(101))) void come_last() { come_late(); }

}  // namespace
