/* rapidjson.cc - rapidjson's documents and texts in a heap of their own. */
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "integrate.h"

/* glue: rapidjson takes a class, and wants a realloc to size 0 to free. */
HAK_DEFINE_HOOKS_WITH(json, g_heap, HAK_HOOKS_ZERO_FREES);

struct json_allocator {
  static const bool kNeedFree = true;
  void *Malloc(size_t size) { return size == 0 ? nullptr : json_malloc(size); }
  void *Realloc(void *ptr, size_t old_size, size_t size) {
    return json_realloc_sized(ptr, old_size, size);
  }
  static void Free(void *ptr) { json_free(ptr); }
  bool operator==(const json_allocator &) const { return true; }
  bool operator!=(const json_allocator &) const { return false; }
};

using json_pool = rapidjson::MemoryPoolAllocator<json_allocator>;
using json_document =
    rapidjson::GenericDocument<rapidjson::UTF8<>, json_pool, json_allocator>;
using json_text = rapidjson::GenericStringBuffer<rapidjson::UTF8<>, json_allocator>;
/* glue end */

static bool ours;

static void begin() { ours = true; }
static void end() {}

template <class Document, class Text>
static int work_with(char *result) {
  Document document;
  document.Parse(R"({"name": "a\u00e4", "list": [1, 2.5, null, true]})");
  auto &pool = document.GetAllocator();
  for (int i = 0; i < 100; i++) {
    typename Document::ValueType entry(rapidjson::kObjectType);
    entry.AddMember("i", i, pool).AddMember("square", i * i, pool);
    document["list"].PushBack(entry, pool);
  }
  Text text;
  rapidjson::Writer<Text, rapidjson::UTF8<>, rapidjson::UTF8<>, json_allocator> writer(
      text);
  if (!document.Accept(writer)) return 1;
  snprintf(result, RESULT_MAX, "%s", text.GetString());
  return 0;
}

static int work(char *result) {
  return ours ? work_with<json_document, json_text>(result)
              : work_with<rapidjson::Document, rapidjson::StringBuffer>(result);
}

int main() {
  static const integration_t rapidjson = {
      "rapidjson", 64 << 20,
      begin,       end,
      work,        "it uses what it was given without a look: an access to NULL"};
  return integrate(&rapidjson);
}
