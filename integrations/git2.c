/* git2.c - libgit2's objects, trees and walks in a heap of their own. */
#include <ftw.h>
#include <git2.h>
#include <git2/sys/alloc.h>

#include "integrate.h"

/* glue: libgit2 passes the place that asks. */
HAK_DEFINE_HOOKS(git, g_heap);

#define PLACE const char *file, int line
static void *give(size_t n, PLACE) { return (void)file, (void)line, git_malloc(n); }
static void *give_zeroes(size_t n, size_t size, PLACE) {
  return (void)file, (void)line, git_calloc(n, size);
}
static void *give_array(size_t n, size_t size, PLACE) {
  return (void)file, (void)line, git_reallocarray(NULL, n, size);
}
static void *resize(void *p, size_t n, PLACE) {
  return (void)file, (void)line, git_realloc(p, n);
}
static void *resize_array(void *p, size_t n, size_t size, PLACE) {
  return (void)file, (void)line, git_reallocarray(p, n, size);
}
static char *copy(const char *s, PLACE) { return (void)file, (void)line, git_strdup(s); }
static char *copy_most(const char *s, size_t n, PLACE) {
  return (void)file, (void)line, git_strndup(s, n);
}
static char *copy_part(const char *s, size_t n, PLACE) {
  char *part = give(n + 1, file, line);
  if (part == NULL) return NULL;
  part[n] = 0;
  return memcpy(part, s, n);
}
static git_allocator git_memory = {give,   give_zeroes,  copy,       copy_most, copy_part,
                                   resize, resize_array, give_array, git_free};
/* glue end: git_libgit2_opts(GIT_OPT_SET_ALLOCATOR, &git_memory) before git_libgit2_init
 */

static void begin(void) {
  MUST(git_libgit2_opts(GIT_OPT_SET_ALLOCATOR, &git_memory) == 0);
}
static void end(void) {}

static int remove_one(const char *path, const struct stat *status, int kind,
                      struct FTW *walk) {
  (void)status, (void)kind, (void)walk;
  return remove(path);
}

static int write_tree(git_repository *repository, git_oid *id) {
  git_treebuilder *builder = NULL;
  git_oid blob;
  int error = git_treebuilder_new(&builder, repository, NULL);
  for (int i = 0; error == 0 && i < 20; i++) {
    char name[20];
    int length = snprintf(name, sizeof name, "file %d", i);
    error = git_blob_create_from_buffer(&blob, repository, name, (size_t)length);
    if (error == 0) {
      error = git_treebuilder_insert(NULL, builder, name, &blob, GIT_FILEMODE_BLOB);
    }
  }
  if (error == 0) error = git_treebuilder_write(id, builder);
  git_treebuilder_free(builder);
  return error;
}

static int write_commit(git_repository *repository, git_oid *id) {
  git_oid tree_id;
  git_tree *tree = NULL;
  git_signature *author = NULL;
  int error = write_tree(repository, &tree_id);
  if (error == 0) error = git_tree_lookup(&tree, repository, &tree_id);
  if (error == 0) error = git_signature_new(&author, "A", "a@example.org", 1000000, 0);
  if (error == 0) {
    error = git_commit_create(id, repository, "HEAD", author, author, NULL, "all of it",
                              tree, 0, NULL);
  }
  git_signature_free(author);
  git_tree_free(tree);
  return error;
}

static int work_in(const char *path, char *result) {
  git_repository *repository = NULL;
  git_revwalk *walk = NULL;
  git_oid id;
  int error = git_repository_init(&repository, path, 1), commits = 0;
  if (error == 0) error = write_commit(repository, &id);
  if (error == 0) error = git_revwalk_new(&walk, repository);
  if (error == 0) error = git_revwalk_push_head(walk);
  while (error == 0 && git_revwalk_next(&id, walk) == 0) commits++;
  if (error == 0) {
    git_oid_tostr(result, GIT_OID_HEXSZ + 1, &id);
    snprintf(result + strlen(result), 20, " %d", commits);
    if (commits == 0) error = 1; /* the walk ended early */
  }
  git_revwalk_free(walk);
  git_repository_free(repository);
  return error;
}

static int work(char *result) {
  char path[] = "/tmp/hakmem_git_XXXXXX";
  if (git_libgit2_init() < 0) return 1;
  MUST(mkdtemp(path) != NULL);
  int error = work_in(path, result);
  nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  git_libgit2_shutdown();
  return error;
}

int main(void) {
  static const char fault[] = "1.5 crashes where a call of its configuration fails";
  static const integration_t git2 = {"libgit2", 8 << 20, begin, end, work, fault};
  return integrate(&git2);
}
