# Sourced by scripts. HAKMEM_ROOT is the tree's top folder.
#
# source_files ext... prints the tree's files with these endings, one a line,
# relative to its top: what git knows or would add, or, where there is no git,
# what is there outside of build folders.
source_files() {
  (
    cd "$HAKMEM_ROOT" || exit 1
    # Set where a hook of git runs this; they name another tree.
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
    if [ -e .git ] && git rev-parse --git-dir >/dev/null 2>&1; then
      git ls-files --cached --others --exclude-standard
    else
      find . -type d \( -name 'build*' -o -name .git \) -prune -o -type f -print | sed 's|^\./||'
    fi
  ) | while IFS= read -r file; do
    for ext in "$@"; do
      case $file in
        *."$ext") if [ -f "$HAKMEM_ROOT/$file" ]; then printf '%s\n' "$file"; fi ;;
      esac
    done
  done | LC_ALL=C sort -u
}

# library_files RULE ext... sets `files` to those of the library itself; where there are
# none, the rule fails, since it would have checked nothing.
library_files() {
  rule=$1
  shift
  files=$(source_files "$@" | grep '^src/' || true)
  if [ -z "$files" ]; then
    echo "FAIL: $rule: no files under $HAKMEM_ROOT/src"
    exit 1
  fi
}
