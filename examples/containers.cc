// containers.cc - the standard's containers over a heap: a level of a game holds its
// own data, is left to move out what shall live on, and goes in one call.
#include <hakmem/hakmem.hpp>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

template <class T>
using in_heap = hak::heap_allocator<T>;
using text = std::basic_string<char, std::char_traits<char>, in_heap<char>>;
using texts = std::vector<text, in_heap<text>>;
using scores = std::map<int, int, std::less<int>, in_heap<std::pair<const int, int>>>;

struct monster {
  explicit monster(int s) : strength(s) { alive++; }
  ~monster() { alive--; }
  int strength;
  static int alive;
};
int monster::alive = 0;

static unsigned long long blocks_of(const hak::heap &heap) {
  hak_stats_t stats = hak_stats_t();
  stats.struct_size = sizeof stats;
  return hak_stats_get(heap.get(), &stats) == 0 ? stats.live_blocks : 0;
}

int main() {
  hak::heap game; /* declared first, so that it ends after what lies in it */
  texts diary(game);
  {
    hak::heap level;
    texts events(level);
    scores points(level);
    for (int i = 0; i < 1000; i++) {
      events.emplace_back("a monster was met, and this is a long story", level);
      points[i] = i * i;
    }
    hak::unique_ptr<monster> boss = hak::make_unique_in<monster>(level, 100);
    std::printf("level: %llu blocks, %d monster alive\n", blocks_of(level),
                monster::alive);

    /* Copies are made where the target is at home; `diary` stays in the game's heap.
     * The strings are told so, as their allocator does not follow from the vector's. */
    for (const text &event : events) diary.emplace_back(event, game);
    std::printf("game:  %llu blocks copied out of it\n", blocks_of(game));
  } /* first the containers go, then the level's heap */
  std::printf("level: gone, %d monsters alive; the diary has %zu entries\n",
              monster::alive, diary.size());

  /* A frame needs no containers that are emptied one by one: what is trivial to end may
   * be left to the heap. */
  hak::heap frame;
  for (int i = 0; i < 60; i++) {
    for (int k = 0; k < 100; k++) {
      if (hak_heap_alloc(frame.get(), 64) == nullptr) return 1;
    }
    if (frame.reset() != 0) return 1;
  }
  std::printf("frame: 60 frames of 100 blocks, %llu left\n", blocks_of(frame));

  bool is_right = monster::alive == 0 && diary.size() == 1000 && blocks_of(frame) == 0;
  try {
    diary.reserve(diary.max_size());
    is_right = false;
  } catch (const std::exception &error) {
    std::printf("and no more than there is: %s\n", error.what());
  }
  return is_right ? 0 : 1;
}
