/* external.c - the map and the lists of a heap in little memory of the caller's: memory
 * of any size at any address, blocks that come, change and go, questions about any
 * address, and writes to freed blocks, which are found or do no harm. */
#include "fuzz.h"

#include <string.h>

enum {
  BLOCKS = 64,
  MEMORY = 3 << 19
};

static char g_memory[MEMORY + 64];

typedef struct block {
  unsigned char *address;
  size_t size;
} block_t;

typedef struct heap {
  fuzz_input_t input;
  hak_heap_t *handle;
  char *memory;
  size_t size;
  block_t blocks[BLOCKS];
  size_t live;
  bool damaged; /* something was written to a freed block */
} heap_t;

static heap_t g_heap;
static unsigned g_reported;

static void note(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  CHECK(info->error == HAK_ERROR_CORRUPT_BLOCK || info->error == HAK_ERROR_BAD_STATE);
  CHECK_MSG(g_heap.damaged, "reported without a cause: %s", info->text);
  g_reported++;
}

static uint64_t tag_of(const block_t *block) { return (uint64_t)(block - g_heap.blocks); }

static void enter(heap_t *heap, block_t *block, void *address, size_t size) {
  if (address == NULL) return;
  CHECK(test_is_within(address, heap->memory, heap->size));
  CHECK(hak_usable_size(address) >= size);
  CHECK(test_is_within((char *)address + hak_usable_size(address) - 1, heap->memory,
                       heap->size));
  *block = (block_t){address, size};
  test_fill(address, size, tag_of(block));
}

static void verify(const block_t *block) {
  CHECK(test_verify(block->address, block->size, tag_of(block)));
}

static void drop(heap_t *heap, block_t *block) {
  verify(block);
  unsigned char *address = block->address;
  size_t size = block->size;
  block->address = NULL;
  if (fuzz_below(&heap->input, 16) == 0 && size >= 16 && !TEST_ASAN) {
    hak_free(address);
    address[fuzz_below(&heap->input, 16)] ^= 0x5a;
    heap->damaged = true;
    return;
  }
  hak_free_sized(address, size);
}

static void change(heap_t *heap, block_t *block) {
  size_t size = (size_t)fuzz_below(&heap->input, 70000);
  verify(block);
  block_t old = *block;
  if (fuzz_below(&heap->input, 2) == 0) {
    size_t usable = hak_resize_in_place(old.address, size, size + size / 2);
    if (usable > 0) {
      CHECK(usable >= size &&
            test_verify(old.address, size < old.size ? size : old.size, tag_of(block)));
      enter(heap, block, old.address, size);
    }
    return;
  }
  void *address = hak_realloc(old.address, size);
  if (address != NULL) {
    CHECK(test_verify(address, size < old.size ? size : old.size, tag_of(block)));
    enter(heap, block, address, size);
  }
}

static void ask(heap_t *heap) {
  const char *address = heap->memory + fuzz_below(&heap->input, heap->size);
  hak_block_t info = HAK_BLOCK_INIT;
  if (hak_ptr_info(address, &info) != 0) return;
  CHECK((const char *)info.address <= address);
  CHECK(address < (const char *)info.address + info.size);
  (void)hak_heap_of(address);
}

static void step(heap_t *heap) {
  block_t *block = &heap->blocks[fuzz_below(&heap->input, BLOCKS)];
  uint64_t op = fuzz_below(&heap->input, 16);
  if (op == 0) {
    ask(heap);
  } else if (op == 1) {
    CHECK(hak_check(heap->handle) == 0 || heap->damaged);
  } else if (op == 2 && fuzz_below(&heap->input, 8) == 0) {
    memset(heap->blocks, 0, sizeof heap->blocks);
    CHECK_EQ(hak_heap_reset(heap->handle), 0);
    heap->damaged = false;
  } else if (block->address == NULL) {
    size_t size = (size_t)fuzz_below(&heap->input, op < 8 ? 256 : 60000);
    size_t alignment = (size_t)1 << fuzz_below(&heap->input, 17);
    enter(heap, block,
          op % 2 == 0 ? hak_heap_alloc(heap->handle, size)
                      : hak_heap_aligned_alloc(heap->handle, alignment, size),
          size);
  } else if (op < 8) {
    change(heap, block);
  } else {
    drop(heap, block);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  heap_t *heap = &g_heap;
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  memset(heap, 0, sizeof *heap);
  heap->input = (fuzz_input_t){data, size};
  heap->memory = g_memory + fuzz_below(&heap->input, 64);
  heap->size = 256 * KIB + (size_t)fuzz_below(&heap->input, MEMORY - 256 * KIB);
  config.memory = heap->memory;
  config.memory_size = heap->size;
  hak_set_error_handler(note, NULL);
  heap->handle = hak_heap_create(&config);
  CHECK(heap->handle != NULL);
  while (heap->input.left > 0) step(heap);
  for (size_t i = 0; i < BLOCKS; i++) {
    if (heap->blocks[i].address != NULL) verify(&heap->blocks[i]);
  }
  CHECK(hak_check(heap->handle) == 0 || heap->damaged);
  CHECK_EQ(hak_heap_destroy(heap->handle), 0);
  hak_set_error_handler(NULL, NULL);
  return 0;
}
