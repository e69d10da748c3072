/* learn_partition.c - which places may share slabs. */
#include "support.h"

#include "learn/partition.h"

#define MB 1048576.

static hak_bucket_t of(double bytes, double share) {
  return (hak_bucket_t){bytes, bytes * share, bytes / 256};
}

static void cost__is_all_of_a_group_of_which_some_stays(void **state) {
  (void)state;
  hak_bucket_t none = of(0, 0), gone = of(100 * MB, 0), some = of(100 * MB, 0.04),
               kept = of(4 * MB, 1);
  CHECK(hak_group_cost(&none, HAK_SLAB_UNIT) == 0);
  CHECK(hak_group_cost(&gone, HAK_SLAB_UNIT) < 1 * MB);
  CHECK(hak_group_cost(&some, HAK_SLAB_UNIT) > 99 * MB &&
        hak_group_cost(&some, HAK_SLAB_UNIT) < 101 * MB);
  CHECK(hak_group_cost(&kept, HAK_SLAB_UNIT) > 4 * MB &&
        hak_group_cost(&kept, HAK_SLAB_UNIT) < 5 * MB);
}

static void cost__is_less_where_pages_go_back_one_by_one(void **state) {
  (void)state;
  hak_bucket_t some = of(100 * MB, 0.04);
  double cost = hak_group_cost(&some, 4096), k = 4096 / 256 + 1, gone = 1;
  for (int i = 0; i < (int)k; i++) gone *= 1 - 0.04;
  CHECK(cost > 100 * MB * (1 - gone) && cost < 100 * MB * (1 - gone) + 1 * MB);
}

static void bucket__rises_with_the_share(void **state) {
  (void)state;
  CHECK_EQ(hak_bucket_of(0), 0);
  CHECK_EQ(hak_bucket_of(1), HAK_BUCKETS - 1);
  uint32_t before = 0;
  for (double share = 0.0001; share < 1; share *= 1.1) {
    CHECK(hak_bucket_of(share) >= before && hak_bucket_of(share) < HAK_BUCKETS);
    before = hak_bucket_of(share);
  }
}

static void partition__sets_apart_what_stays(void **state) {
  (void)state;
  hak_bucket_t buckets[HAK_BUCKETS] = {{0, 0, 0}};
  buckets[0] = of(100 * MB, 0);
  buckets[15] = of(4 * MB, 1);
  uint8_t cluster_of[HAK_BUCKETS];
  uint32_t clusters;
  double cost = hak_partition(buckets, HAK_SLAB_UNIT, 0, cluster_of, &clusters);
  CHECK_EQ(clusters, 2);
  CHECK(cluster_of[15] == 0 && cluster_of[0] == 1);
  CHECK(cost > 4 * MB && cost < 6 * MB);
}

static void partition__of_places_that_are_alike_is_one_group(void **state) {
  (void)state;
  hak_bucket_t buckets[HAK_BUCKETS] = {{0, 0, 0}};
  buckets[9] = of(50 * MB, 0.1);
  buckets[10] = of(50 * MB, 0.12);
  uint8_t cluster_of[HAK_BUCKETS];
  uint32_t clusters;
  double cost = hak_partition(buckets, HAK_SLAB_UNIT, 0, cluster_of, &clusters);
  CHECK_EQ(clusters, 1);
  CHECK(cost > 99 * MB && cost < 101 * MB);
}

TEST_MAIN(T(cost__is_all_of_a_group_of_which_some_stays), T(bucket__rises_with_the_share),
          T(cost__is_less_where_pages_go_back_one_by_one),
          T(partition__sets_apart_what_stays),
          T(partition__of_places_that_are_alike_is_one_group))
