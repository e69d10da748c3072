#include "calls.h"

#include <hakmem/hakmem.h>

void *golden_alloc_constant(void) { return hak_alloc(GOLDEN_SIZE); }
