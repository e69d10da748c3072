/* shrink.c - see shrink.h */
#include "shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t shrink(uint32_t *steps, size_t count, shrink_fn *fails, void *ctx,
              unsigned tries) {
  uint32_t *rest = malloc(count * sizeof *rest);
  if (rest == NULL) {
    return count;
  }
  size_t part = (count + 1) / 2;
  while (part > 0 && tries > 0) {
    bool some = false;
    /* From the end: what comes later depends on what came before. */
    for (size_t end = count; end > 0 && tries > 0;) {
      size_t from = end > part ? end - part : 0;
      size_t left = count - (end - from);
      memcpy(rest, steps, from * sizeof *rest);
      memcpy(rest + from, steps + end, (count - end) * sizeof *rest);
      tries--;
      if (left > 0 && fails(rest, left, ctx)) {
        memcpy(steps, rest, left * sizeof *rest);
        count = left;
        some = true;
      }
      end = from;
    }
    if (part == 1 && !some) {
      break;
    }
    part = part > 1 ? part / 2 : 1;
  }
  free(rest);
  return count;
}

void shrink_print(const uint32_t *steps, size_t count, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < count && used < size;) {
    size_t last = i;
    while (last + 1 < count && steps[last + 1] == steps[last] + 1) {
      last++;
    }
    int wrote = last == i ? snprintf(text + used, size - used, "%s%" PRIu32,
                                     i == 0 ? "" : ",", steps[i])
                          : snprintf(text + used, size - used, "%s%" PRIu32 "-%" PRIu32,
                                     i == 0 ? "" : ",", steps[i], steps[last]);
    used += wrote < 0 ? 0 : (size_t)wrote;
    i = last + 1;
  }
}

size_t shrink_parse(const char *text, uint32_t *steps, size_t room) {
  size_t count = 0;
  for (;;) {
    char *end;
    unsigned long from = strtoul(text, &end, 10), to = from;
    if (end == text) {
      return 0;
    }
    if (*end == '-') {
      text = end + 1;
      to = strtoul(text, &end, 10);
      if (end == text || to < from) {
        return 0;
      }
    }
    for (; from <= to && count < room; from++) {
      steps[count++] = (uint32_t)from;
    }
    if (*end == '\0') {
      return count;
    }
    if (*end != ',') {
      return 0;
    }
    text = end + 1;
  }
}
