/* xml2.c - libxml2's documents in a heap of their own. */
#include <libxml/parser.h>
#include <libxml/xmlmemory.h>
#include <libxml/xpath.h>

#include "integrate.h"

/* glue: libxml2 passes nothing. */
HAK_DEFINE_HOOKS(xml, g_heap);
/* glue end: xmlMemSetup(xml_free, xml_malloc, xml_realloc, xml_strdup) before anything
 * else. */

static void *failing_malloc(size_t size) { return fails() ? NULL : xml_malloc(size); }
static void *failing_realloc(void *ptr, size_t size) {
  return fails() ? NULL : xml_realloc(ptr, size);
}
static char *failing_strdup(const char *s) { return fails() ? NULL : xml_strdup(s); }

static void begin(void) {
  xmlCleanupParser();
  MUST(xmlMemSetup(xml_free, HOOK(xml_malloc, failing_malloc),
                   HOOK(xml_realloc, failing_realloc),
                   HOOK(xml_strdup, failing_strdup)) == 0);
}
static void end(void) { xmlCleanupParser(); }

static void quiet(void *ctx, const char *format, ...) {
  (void)ctx;
  (void)format;
}

static int work(char *result) {
  static char text[40000];
  size_t length = (size_t)snprintf(text, sizeof text, "<list>");
  for (int i = 0; i < 200; i++) {
    length += (size_t)snprintf(text + length, sizeof text - length,
                               "<item id='%d'>value %d &amp; more</item>", i, i * i % 97);
  }
  snprintf(text + length, sizeof text - length, "</list>");
  xmlSetGenericErrorFunc(NULL, quiet);
  xmlDocPtr doc =
      xmlReadMemory(text, (int)strlen(text), "list.xml", NULL, XML_PARSE_NOERROR);
  xmlXPathContextPtr context = doc == NULL ? NULL : xmlXPathNewContext(doc);
  xmlXPathObjectPtr found =
      context == NULL
          ? NULL
          : xmlXPathEvalExpression((const xmlChar *)"string(//item[@id='150'])", context);
  int error = found == NULL || found->stringval == NULL || found->stringval[0] == 0;
  if (error == 0) snprintf(result, RESULT_MAX, "%s", (const char *)found->stringval);
  xmlXPathFreeObject(found);
  xmlXPathFreeContext(context);
  xmlFreeDoc(doc);
  xmlResetLastError();
  return error;
}

int main(void) {
  /* Which calls do so changes with the seed of its tables, the time in seconds. */
  static const char fault[] = "some lose blocks, or give a wrong result and no error";
  static const integration_t xml2 = {"libxml2", 64 << 20, begin, end, work, fault};
  return integrate(&xml2);
}
