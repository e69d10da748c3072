/* curl.c - libcurl's transfers, addresses and lists in a heap of their own. */
#include <curl/curl.h>
#include <stdio.h>
#include <unistd.h>

#include "integrate.h"

/* glue: libcurl passes nothing. */
HAK_DEFINE_HOOKS(web, g_heap);
/* glue end: curl_global_init_mem(CURL_GLOBAL_DEFAULT, web_malloc, web_free, web_realloc,
 * web_strdup, web_calloc) before anything else */

static void *failing_malloc(size_t size) { return fails() ? NULL : web_malloc(size); }
static void *failing_calloc(size_t count, size_t size) {
  return fails() ? NULL : web_calloc(count, size);
}
static void *failing_realloc(void *ptr, size_t size) {
  return fails() ? NULL : web_realloc(ptr, size);
}
static char *failing_strdup(const char *s) { return fails() ? NULL : web_strdup(s); }

static void begin(void) {
  MUST(curl_global_init_mem(CURL_GLOBAL_DEFAULT, HOOK(web_malloc, failing_malloc),
                            web_free, HOOK(web_realloc, failing_realloc),
                            HOOK(web_strdup, failing_strdup),
                            HOOK(web_calloc, failing_calloc)) == CURLE_OK);
}
static void end(void) { curl_global_cleanup(); }

static size_t add_up(char *bytes, size_t size, size_t count, void *sum) {
  for (size_t i = 0; i < size * count; i++) {
    *(unsigned long *)sum = *(unsigned long *)sum * 31 + (unsigned char)bytes[i];
  }
  return size * count;
}

/* A file of this program's, by its address. */
static int transfer(unsigned long *sum) {
  char path[] = "/tmp/hakmem_curl_XXXXXX", address[100], text[200 * 30];
  int file = mkstemp(path), length = 0;
  MUST(file >= 0);
  for (int i = 0; i < 200; i++) {
    length += snprintf(text + length, 30, "line %d of a file\n", i * i);
  }
  MUST(write(file, text, (size_t)length) == length);
  close(file);
  snprintf(address, sizeof address, "file://%s", path);
  CURL *curl = curl_easy_init();
  struct curl_slist *fields = curl_slist_append(NULL, "X-One: 1");
  int ok = curl != NULL && fields != NULL &&
           curl_easy_setopt(curl, CURLOPT_URL, address) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, add_up) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, sum) == CURLE_OK &&
           curl_easy_perform(curl) == CURLE_OK;
  curl_slist_free_all(fields);
  curl_easy_cleanup(curl);
  unlink(path);
  return ok;
}

static int take_apart(char *result) {
  CURLU *address = curl_url();
  char *host = NULL, *query = NULL;
  int ok = address != NULL &&
           curl_url_set(address, CURLUPART_URL,
                        "https://me@example.org:8080/a/../b?c=d%20e", 0) == CURLUE_OK &&
           curl_url_get(address, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
           curl_url_get(address, CURLUPART_QUERY, &query, CURLU_URLDECODE) == CURLUE_OK;
  if (ok) snprintf(result, RESULT_MAX, "%s %s", host, query);
  curl_free(host);
  curl_free(query);
  curl_url_cleanup(address);
  return ok;
}

static int work(char *result) {
  unsigned long sum = 0;
  if (!transfer(&sum) || !take_apart(result)) return 1;
  snprintf(result + strlen(result), 40, " %lu", sum);
  return 0;
}

int main(void) {
  static const integration_t curl = {"libcurl", 8 << 20, begin, end, work, NULL};
  return integrate(&curl);
}
