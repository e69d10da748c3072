/* json.cc - nlohmann's JSON values, arrays, objects and strings in a heap of their own.
 */
#include <cstdint>
#include <hakmem/hakmem.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "measure.h"

/* For times over malloc there is a program of its own, without this: */
#ifndef INTEGRATION_OF_LIBC
/* glue: what the library takes past its allocators comes from the default heap. */
#include <hakmem/new_delete.h>
/* glue end */
#endif

/* glue: the library makes its allocators itself, so a function names the heap. */
static hak::heap json_memory = nullptr;
static hak_heap_t *json_heap() { return json_memory.get(); }

template <class T>
using json_allocator = hak::allocator_of<T, json_heap>;
using json = nlohmann::basic_json<std::map, std::vector, std::string, bool, std::int64_t,
                                  std::uint64_t, double, json_allocator>;
/* glue end: json_memory = hak::heap(config) before the first value */

template <class Json>
static std::string work() {
  Json root = Json::parse(R"({"name": "a\u00e4", "list": [1, 2.5, null, true]})");
  for (int i = 0; i < 500; i++) root["list"].push_back({{"i", i}, {"square", i * i}});
  return root.dump();
}

static unsigned long long peak() {
  hak_stats_t stats = HAK_STATS_INIT;
  return hak_stats_get(json_heap(), &stats) == 0 ? stats.peak_committed_bytes : 0;
}

static int measure(unsigned long rounds) {
  bool ours = measure_is_ours();
  if (ours) json_memory = hak::heap(hak::heap_config());
  for (unsigned long i = 0; i < rounds; i++) {
    long from = measure_now();
    ours ? work<json>() : work<nlohmann::json>();
    measure_round(from);
  }
  int result = measure_end("json", ours ? peak() : 0);
  json_memory = nullptr;
  return result;
}

int main() {
  if (measure_rounds() > 0) return measure(measure_rounds());
  std::string expected = work<nlohmann::json>(), unlimited;
  for (std::size_t limit = 64 << 10;; limit += limit / 4) {
    hak_heap_config_t config = hak::heap_config();
    config.name = "json";
    config.hard_limit = limit;
    json_memory = hak::heap(config);
    bool refused = false;
    try {
      unlimited = work<json>();
    } catch (const std::bad_alloc &) {
      refused = true;
    }
    hak_stats_t stats = HAK_STATS_INIT;
    /* Where it has no memory nlohmann's library may lose the value that it was making:
     * two blocks at most, as it does with malloc, at each fifth call that fails. */
    std::uint64_t lost = refused ? 2 : 0;
    if (hak_stats_get(json_heap(), &stats) != 0 || stats.live_blocks > lost ||
        stats.peak_committed_bytes > limit) {
      return 1;
    }
    std::printf("json: within %zu KiB: %s\n", limit >> 10,
                refused ? "std::bad_alloc" : "the result is new's");
    if (!refused) break;
  }
  json_memory = nullptr;
  return unlimited == expected ? 0 : 1;
}
