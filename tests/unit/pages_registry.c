/* pages_registry.c - from an address to what is known of it. */
#include "registry_fixture.h"

#include <string.h>

#include "pages/registry.h"
#include "superslab/locate.h"

/* Nothing looks at the addresses that the registry is told of, so any will do. */
#define NEAR ((uintptr_t)0x123400000000)

static void check_nothing_at(uintptr_t address) {
  hak_place_t place = hak_locate(address);
  CHECK_MSG(place.extent == NULL && place.slab == NULL && place.start == NULL &&
                place.cls == HAK_CLASS_NONE,
            "something at 0x%llx", (unsigned long long)address);
}

static void init_superslab(hak_superslab_t *ss, uintptr_t base) {
  memset(ss, 0, sizeof *ss);
  hak_superslab_init(ss, NULL, 0, (char *)base, &g_os.hooks);
  hak_store_relaxed(&ss->extent.kind, HAK_EXTENT_SLABS);
  CHECK(hak_registry_cover(&g_os.hooks, base, HAK_SUPERSLAB_SIZE));
  hak_registry_set_extent(base, HAK_SUPERSLAB_SIZE, &ss->extent);
}

static void find__of_any_64_bit_value_gives_nothing_when_nothing_is_there(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  static hak_superslab_t ss;
  init_superslab(&ss, NEAR);
  hak_locate_set_class(NEAR, HAK_SUPERSLAB_SLABS, 5);
  for (size_t n = 0; n < test_scale(100000); n++) {
    uintptr_t address = test_random(&rng) >> test_below(&rng, 64);
    if (address >> HAK_SUPERSLAB_SHIFT != NEAR >> HAK_SUPERSLAB_SHIFT) {
      check_nothing_at(address);
    }
  }
  check_nothing_at(0);
  check_nothing_at(UINTPTR_MAX);
  check_nothing_at(NEAR - 1);
  check_nothing_at(NEAR + HAK_SUPERSLAB_SIZE);
  CHECK(hak_locate(NEAR).extent == &ss.extent);
  /* The same low bits under others above: they are compared, not cut off. */
  for (unsigned bit = HAK_ADDRESS_BITS; bit < 64; bit++) {
    check_nothing_at(NEAR | (uintptr_t)1 << bit);
  }
  check_nothing_at(NEAR | ~(uintptr_t)0 << HAK_ADDRESS_BITS);
  check_nothing_at((uintptr_t)1 << HAK_ADDRESS_BITS);
  check_nothing_at(((uintptr_t)1 << HAK_ADDRESS_BITS) - 1);
}

static void find__names_the_spans_first_slab_from_every_unit(void **state) {
  (void)state;
  static hak_superslab_t ss;
  init_superslab(&ss, NEAR);
  test_rng_t rng = test_rng(test_seed(), 2);
  for (int n = 0; n < 300; n++) {
    unsigned first[HAK_SUPERSLAB_SLABS];
    uint32_t cls[HAK_SUPERSLAB_SLABS];
    for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS;) {
      unsigned span = 1 + (unsigned)test_below(&rng, HAK_SUPERSLAB_SLABS - i);
      uint32_t draw = (uint32_t)test_below(&rng, 64);
      uint32_t its = draw == 63 ? HAK_CLASS_NONE : draw == 62 ? HAK_CLASS_LARGE : draw;
      hak_locate_set_class(NEAR + i * HAK_SLAB_SIZE, span, its);
      hak_slab_set_class(&ss.slabs[i], its);
      for (unsigned k = i; k < i + span; k++) {
        first[k] = i;
        cls[k] = its;
      }
      i += span;
    }
    for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
      uintptr_t at = NEAR + i * HAK_SLAB_SIZE + test_below(&rng, HAK_SLAB_SIZE);
      hak_place_t place = hak_locate(at);
      CHECK(place.extent == &ss.extent);
      CHECK_EQ(place.cls, cls[i]);
      if (cls[i] == HAK_CLASS_NONE) {
        CHECK(place.slab == NULL && place.start == NULL);
        continue;
      }
      CHECK(place.slab == &ss.slabs[first[i]]);
      CHECK(place.start == (char *)NEAR + first[i] * HAK_SLAB_SIZE);
      CHECK(hak_slab_of((void *)at) == place.slab);
    }
  }
}

/* A thread may read a slab's class while another gives the span a new use: a
 * distance that leads out of the SuperSlab must not be followed. */
static void find__of_a_stale_unit_stays_inside_the_superslab(void **state) {
  (void)state;
  static hak_superslab_t ss[2];
  init_superslab(&ss[0], NEAR);
  init_superslab(&ss[1], NEAR + HAK_SUPERSLAB_SIZE);
  /* As of a run that reached from the one into the other. */
  hak_locate_set_class(NEAR + 28 * HAK_SLAB_SIZE, 12, 7);
  for (unsigned i = 0; i < 8; i++) {
    uintptr_t at = NEAR + HAK_SUPERSLAB_SIZE + i * HAK_SLAB_SIZE;
    hak_place_t place = hak_locate(at);
    CHECK(place.extent == &ss[1].extent);
    CHECK(place.slab == NULL && place.start == NULL);
    CHECK_EQ(place.cls, HAK_CLASS_NONE);
  }
  /* A free SuperSlab is unowned whatever is noted of its slabs. */
  hak_store_relaxed(&ss[0].extent.kind, HAK_EXTENT_FREE);
  hak_place_t place = hak_locate(NEAR + 30 * HAK_SLAB_SIZE);
  CHECK(place.extent == &ss[0].extent && place.slab == NULL);
  CHECK_EQ(place.cls, HAK_CLASS_NONE);
}

static void find__in_a_mapping_names_the_blocks_start(void **state) {
  (void)state;
  static hak_extent_t mapping;
  mapping.base = (char *)NEAR;
  size_t size = 5 * HAK_SUPERSLAB_SIZE + HAK_SLAB_SIZE;
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, size));
  hak_registry_set_extent(NEAR, size, &mapping);
  hak_store_relaxed(&mapping.kind, HAK_EXTENT_MAPPING);
  for (size_t at = 0; at < size; at += 123456) {
    hak_store_relaxed(&mapping.block, mapping.base);
    hak_place_t place = hak_locate(NEAR + at);
    CHECK(place.extent == &mapping && place.slab == NULL);
    CHECK(place.start == mapping.base);
    CHECK_EQ(place.cls, HAK_CLASS_LARGE);
    hak_store_relaxed(&mapping.block, NULL); /* it was freed */
    place = hak_locate(NEAR + at);
    CHECK(place.extent == &mapping && place.start == NULL);
    CHECK_EQ(place.cls, HAK_CLASS_NONE);
  }
  hak_registry_set_extent(NEAR, size, NULL);
  for (size_t at = 0; at < size; at += 123456) check_nothing_at(NEAR + at);
}

static void find__in_a_run_names_the_first_superslab(void **state) {
  (void)state;
  enum {
    RUN = 3
  };
  static hak_superslab_t ss[RUN];
  char *base = (char *)NEAR;
  size_t size = RUN * HAK_SUPERSLAB_SIZE;
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, size));
  for (uint32_t i = 0; i < RUN; i++) {
    hak_superslab_init(&ss[i], NULL, i, base + i * HAK_SUPERSLAB_SIZE, &g_os.hooks);
    hak_store_relaxed(&ss[i].extent.kind, HAK_EXTENT_RUN);
    hak_registry_set_extent(NEAR + i * HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE,
                            &ss[i].extent);
  }
  for (size_t at = 0; at < size; at += 123456) {
    hak_superslab_t *own = &ss[at >> HAK_SUPERSLAB_SHIFT];
    hak_store_relaxed(&own->extent.block, base);
    hak_place_t place = hak_locate(NEAR + at);
    CHECK(place.extent == &ss[0].extent && place.slab == NULL && place.start == base);
    CHECK_EQ(place.cls, HAK_CLASS_LARGE);
    /* Read while it changes: what it names lies outside of its region. */
    hak_store_relaxed(&own->extent.block, base - HAK_SUPERSLAB_SIZE);
    CHECK_EQ(hak_locate(NEAR + at).cls, HAK_CLASS_NONE);
    hak_store_relaxed(&own->extent.block, base + size);
    CHECK_EQ(hak_locate(NEAR + at).cls, HAK_CLASS_NONE);
    hak_store_relaxed(&own->extent.block, NULL); /* it was freed */
    place = hak_locate(NEAR + at);
    CHECK(place.extent == &own->extent && place.start == NULL);
    CHECK_EQ(place.cls, HAK_CLASS_NONE);
  }
  hak_registry_set_extent(NEAR, size, NULL);
  for (size_t at = 0; at < size; at += 123456) check_nothing_at(NEAR + at);
}

/* 6 slabs before a multiple of 4 GiB to 6 slabs behind it. */
static void changes__reach_over_the_border_of_two_leaves(void **state) {
  (void)state;
  const uintptr_t border = NEAR + ((uintptr_t)1 << HAK_LEAF_SHIFT);
  const uintptr_t start = border - 6 * HAK_SLAB_SIZE;
  hak_registry_t *root = hak_registry_root();
  static hak_superslab_t ss[2];
  init_superslab(&ss[0], border - HAK_SUPERSLAB_SIZE);
  init_superslab(&ss[1], border);
  hak_registry_set_entries(start, 12, 0x123456789abc);
  hak_locate_set_class(start, 6, 9);
  hak_locate_set_class(border, 6, 9);
  for (unsigned i = 0; i < 14; i++) {
    uintptr_t at = start - HAK_SLAB_SIZE + i * HAK_SLAB_SIZE;
    bool inside = i >= 1 && i <= 12;
    CHECK_EQ(hak_registry_entry(root, at), inside ? 0x123456789abc : 0);
    CHECK_EQ(hak_locate(at).cls, inside ? 9 : HAK_CLASS_NONE);
  }
  /* One that does reach over: the distances go on counting. */
  hak_locate_set_class(start, 12, 9);
  hak_locate_set_class(start, 12, HAK_CLASS_NONE);
  for (unsigned i = 0; i < 12; i++) {
    CHECK_EQ(hak_locate(start + i * HAK_SLAB_SIZE).cls, HAK_CLASS_NONE);
  }
  hak_registry_set_entries(start, 12, 0);
  for (unsigned i = 0; i < 12; i++) {
    CHECK_EQ(hak_registry_entry(root, start + i * HAK_SLAB_SIZE), 0);
  }
  hak_registry_set_extent(border - HAK_SUPERSLAB_SIZE, 2 * HAK_SUPERSLAB_SIZE,
                          &ss[0].extent);
  CHECK(hak_locate(border - 1).extent == &ss[0].extent);
  CHECK(hak_locate(border).extent == &ss[0].extent);
}

static void entry__is_zero_for_every_address_without_a_leaf(void **state) {
  (void)state;
  hak_registry_t *root = hak_registry_root();
  test_rng_t rng = test_rng(test_seed(), 3);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, HAK_SUPERSLAB_SIZE));
  hak_registry_set_entries(NEAR, HAK_SUPERSLAB_SLABS, UINT64_MAX);
  for (size_t n = 0; n < test_scale(100000); n++) {
    uintptr_t address = test_random(&rng) >> (64 - HAK_ADDRESS_BITS);
    if (n % 4 == 0) address = (address & UINT32_MAX) | NEAR;
    bool inside = address >> HAK_SUPERSLAB_SHIFT == NEAR >> HAK_SUPERSLAB_SHIFT;
    CHECK_EQ(hak_registry_entry(root, address), inside ? UINT64_MAX : 0);
  }
  CHECK_EQ(hak_registry_entry(root, NEAR + HAK_SUPERSLAB_SIZE - 1), UINT64_MAX);
}

static void cover__makes_each_leaf_once_and_refuses_what_is_out_of_reach(void **state) {
  (void)state;
  uint64_t before = hak_load_relaxed(&hak_registry_reserved);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, 1));
  uint64_t leaf = hak_load_relaxed(&hak_registry_reserved) - before;
  CHECK(leaf >= sizeof(hak_leaf_t));
  CHECK(hak_registry_cover(&g_os.hooks, NEAR + 12345, HAK_SLAB_SIZE));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + leaf);
  /* The last byte counts: 4 GiB are one leaf, a byte more is two. */
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, (size_t)1 << HAK_LEAF_SHIFT));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + leaf);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, ((size_t)1 << HAK_LEAF_SHIFT) + 1));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + 2 * leaf);

  const uintptr_t end = (uintptr_t)1 << HAK_ADDRESS_BITS;
  CHECK(hak_registry_cover(&g_os.hooks, end - HAK_SLAB_SIZE, HAK_SLAB_SIZE));
  CHECK(!hak_registry_cover(&g_os.hooks, end - HAK_SLAB_SIZE, HAK_SLAB_SIZE + 1));
  CHECK(!hak_registry_cover(&g_os.hooks, end, HAK_SLAB_SIZE));
  CHECK(!hak_registry_cover(&g_os.hooks, UINTPTR_MAX - 10, HAK_SLAB_SIZE));
}

static void cover__without_memory_fails_and_works_again(void **state) {
  (void)state;
  uint64_t before = hak_load_relaxed(&hak_registry_reserved);
  const unsigned kinds[] = {1u << TEST_OS_RESERVE, 1u << TEST_OS_COMMIT};
  for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, kinds[i], 1);
    CHECK(!hak_registry_cover(&g_os.hooks, NEAR, HAK_SLAB_SIZE));
    CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before);
    check_nothing_at(NEAR);
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, HAK_SLAB_SIZE));
}

static void find__before_start_and_after_release_gives_nothing(void **state) {
  (void)state;
  hak_registry_stop();
  check_nothing_at(NEAR);
  CHECK(hak_registry_start(&g_os.hooks));
  check_nothing_at(NEAR);
}

#define R(f) \
  cmocka_unit_test_setup_teardown(f, test_registry_setup, test_registry_teardown)

TEST_MAIN_FRESH(R(find__of_any_64_bit_value_gives_nothing_when_nothing_is_there),
                R(find__names_the_spans_first_slab_from_every_unit),
                R(find__of_a_stale_unit_stays_inside_the_superslab),
                R(find__in_a_mapping_names_the_blocks_start),
                R(find__in_a_run_names_the_first_superslab),
                R(changes__reach_over_the_border_of_two_leaves),
                R(entry__is_zero_for_every_address_without_a_leaf),
                R(cover__makes_each_leaf_once_and_refuses_what_is_out_of_reach),
                R(cover__without_memory_fails_and_works_again),
                R(find__before_start_and_after_release_gives_nothing))
