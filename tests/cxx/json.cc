/* json.cc - nlohmann's JSON library in a heap of its own: its values, arrays, objects and
 * strings. */
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cxx.hpp"

namespace {

hak::heap g_heap = nullptr;
hak_heap_t *json_heap() { return g_heap.get(); }

template <class T>
using in_heap = hak::allocator_of<T, json_heap>;
using text = std::basic_string<char, std::char_traits<char>, in_heap<char>>;
template <class Text>
using json_of = nlohmann::basic_json<std::map, std::vector, Text, bool, std::int64_t,
                                     std::uint64_t, double, in_heap>;

const char *const document =
    R"({"name": "a name that is too long to lie in its object", "list": [1, 2.5, null, true],
        "inner": {"a": {"b": {"c": []}}}, "more": "\u00e4\u20ac"})";

template <class Json>
void check_json() {
  g_heap = hak::heap();
  std::string expected = nlohmann::json::parse(document).dump();
  {
    Json value = Json::parse(document);
    CHECK(live(g_heap.get()) > 10);
    Json copy = value;
    copy["list"].push_back(copy);
    CHECK(copy["list"].size() == 5 && copy != value);
    auto dumped = value.dump();
    CHECK(std::string(dumped.data(), dumped.size()) == expected);
  }
  CHECK_EQ(live(g_heap.get()), 0);
  g_heap = nullptr;
}

void json__with_strings_of_the_standard_lies_in_its_heap(void **) {
  check_json<json_of<std::string>>();
}
void json__with_strings_in_the_heap_too(void **) { check_json<json_of<text>>(); }

} /* namespace */

TEST_MAIN(TEST(json__with_strings_of_the_standard_lies_in_its_heap),
          TEST(json__with_strings_in_the_heap_too))
