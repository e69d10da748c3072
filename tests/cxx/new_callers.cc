/* new_callers.cc - with HAKMEM_NEW_CALLERS each new counts for the place that calls it.
 */
#define HAKMEM_NEW_CALLERS
#include <hakmem/introspect.h>
#include <hakmem/new_delete.h>

#include <cstdint>
#include <string>

#include "cxx.hpp"

namespace {

struct seen_t {
  std::uint64_t places, blocks;
};

bool note(const hak_site_info_t *info, void *ctx) {
  seen_t *seen = static_cast<seen_t *>(ctx);
  CHECK(info->name[0] == '+' || info->name[0] == '0'); /* an address */
  seen->places++;
  seen->blocks += info->live_blocks;
  return true;
}

seen_t look() {
  seen_t seen = {0, 0};
  CHECK_EQ(hak_sites_visit(note, &seen), 0);
  return seen;
}

/* The compiler may leave out a new and its delete, or make one call of two; not here. */
template <class T>
T *kept(T *object) {
  __asm__ volatile("" : "+r"(object) : : "memory");
  return object;
}

void new__counts_for_its_caller(void **) {
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  hak_free(hak_alloc_at(1, HAK_CALLER())); /* the option is heeded from the next one on */
  seen_t before = look();
  int *one = kept(new int(1));
  int *two[10];
  for (int i = 0; i < 10; i++) two[i] = kept(new int(i));
  char *many = kept(new char[1000]);
  int *quiet = kept(new (std::nothrow) int(3));
  seen_t after = look();
  CHECK_EQ(after.places, before.places + 4);
  CHECK_EQ(after.blocks, before.blocks + 13);
  delete one;
  for (int i = 0; i < 10; i++) delete two[i];
  delete[] many;
  delete quiet;
  CHECK_EQ(look().blocks, before.blocks);
}

void new__with_an_alignment_counts_too(void **) {
#ifdef __cpp_aligned_new
  seen_t before = look();
  wide *one = kept(new wide(1));
  seen_t after = look();
  CHECK_EQ(reinterpret_cast<std::uintptr_t>(one) % alignof(wide), 0);
  CHECK_EQ(after.places, before.places + 1);
  CHECK_EQ(after.blocks, before.blocks + 1);
  delete one;
#endif
}

} /* namespace */

TEST_MAIN(TEST(new__counts_for_its_caller), TEST(new__with_an_alignment_counts_too))
