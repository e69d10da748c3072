#include "learn/partition.h"

/* Bytes; eight slabs that are used in part. */
static const double group_price = 8 * 65536.;

uint32_t hak_bucket_of(double share) {
  if (share <= 0) return 0;
  uint32_t bucket = HAK_BUCKETS - 1;
  for (; bucket > 1 && share < 0.75; bucket--) share *= 1.6;
  return bucket;
}

void hak_bucket_add(hak_bucket_t *to, const hak_bucket_t *other) {
  to->bytes += other->bytes;
  to->stays += other->stays;
  to->blocks += other->blocks;
}

double hak_power(double x, double n) {
  double result = 1;
  for (uint32_t k = (uint32_t)(n + 0.5); k > 0; k >>= 1, x *= x) {
    if ((k & 1) != 0) result *= x;
  }
  return result;
}

double hak_group_cost(const hak_bucket_t *all, uint32_t unit) {
  enum {
    BLOCKS_MOST = 8192 /* of a slab */
  };
  if (all->bytes <= 0) return 0;
  double share = all->stays / all->bytes, blocks = unit * all->blocks / all->bytes;
  if (unit < HAK_SLAB_UNIT) blocks += 1; /* the first lies in the page before, too */
  if (blocks < 1) blocks = 1;
  if (blocks > BLOCKS_MOST) blocks = BLOCKS_MOST;
  if (share > 1) share = 1;
  return all->bytes * (1 - hak_power(1 - share, blocks)) + group_price;
}

/* The least cost of the buckets below the second index in as many groups as the first one
 * says, and the bucket with which the last of them begins. */
typedef struct search {
  uint32_t unit;
  double price; /* of a byte in any cluster but that of which least stays */
  double best[HAK_GROUPS + 1][HAK_BUCKETS + 1];
  uint32_t from[HAK_GROUPS + 1][HAK_BUCKETS + 1];
} search_t;

static void extend(search_t *s, const hak_bucket_t *buckets, uint32_t g, uint32_t b) {
  s->best[g][b] = s->best[g - 1][b]; /* an empty group */
  s->from[g][b] = b;
  hak_bucket_t group = {0, 0, 0};
  for (uint32_t first = b; first-- > 0;) {
    hak_bucket_add(&group, &buckets[first]);
    double cost = s->best[g - 1][first] + hak_group_cost(&group, s->unit);
    if (first > 0) cost += s->price * group.bytes;
    if (cost < s->best[g][b]) {
      s->best[g][b] = cost;
      s->from[g][b] = first;
    }
  }
}

HAK_SLOW double hak_partition(const hak_bucket_t *buckets, uint32_t unit, double price,
                              uint8_t *cluster_of, uint32_t *clusters) {
  search_t s;
  s.price = price;
  s.unit = unit;
  for (uint32_t b = 0; b <= HAK_BUCKETS; b++) s.best[0][b] = b == 0 ? 0 : 1e30;
  for (uint32_t g = 1; g <= HAK_GROUPS; g++) {
    for (uint32_t b = 0; b <= HAK_BUCKETS; b++) extend(&s, buckets, g, b);
  }
  *clusters = 0;
  for (uint32_t g = HAK_GROUPS, b = HAK_BUCKETS; g > 0; g--) {
    uint32_t first = s.from[g][b];
    bool any = false;
    for (uint32_t i = first; i < b; i++) {
      cluster_of[i] = (uint8_t)*clusters;
      any = any || buckets[i].bytes > 0;
    }
    if (any) ++*clusters;
    b = first;
  }
  return s.best[HAK_GROUPS][HAK_BUCKETS];
}
