#!/bin/sh
# cmake.sh ROOT - CMake 3.22 builds, installs and links the library: the files that do so
# use nothing that came later. The presets and the golden program, which are for those who
# change the library, may.
set -eu
root=$1

cd "$root" 2>/dev/null || {
  echo "FAIL: cmake: no $root"
  exit 1
}
files=$(find . \( -name CMakeLists.txt -o -name '*.cmake' -o -name '*.cmake.in' \) \
  ! -path './build*' ! -path './.*/*' ! -path './tests/golden/*' | LC_ALL=C sort)
if [ -z "$files" ]; then
  echo "FAIL: cmake: no files of CMake's under $root"
  exit 1
fi

awk '
  function fail(why) {
    printf "FAIL: cmake: %s:%d: %s\n", substr(FILENAME, 3), FNR, why
    bad = 1
  }
  BEGIN {
    # What came with 3.23 and later: commands, parts of commands, variables, properties and
    # generator expressions.
    newer = "(^|[^a-z_])block[ \t]*\\(|FILE_SET|return[ \t]*\\([ \t]*PROPAGATE|" \
              "cmake_language[ \t]*\\([ \t]*(EXIT|GET_MESSAGE_LOG_LEVEL|SET_DEPENDENCY)|" \
              "PATH_EQUAL|IS_(READABLE|WRITABLE|EXECUTABLE)|" \
              "DOWNLOAD_EXTRACT_TIMESTAMP|" \
              "OVERRIDE_FIND_PACKAGE|FIND_PACKAGE_ARGS|" \
              "COMPILE_WARNING_AS_ERROR|EXPORT_FIND_PACKAGE|EXPORT_NO_SYSTEM|" \
              "HEADER_SETS|TEST_LAUNCHER|SKIP_LINTING|LINK_(GROUP|LIBRARY):|" \
              "[$]<(PATH(:|_EQUAL)|COMPILE_ONLY|BUILD_LOCAL_INTERFACE|LIST:|QUOTE)|" \
              "CMAKE_LINKER_TYPE|PROJECT_DEPENDENCY|EXPORT_PACKAGE_DEPENDENCIES|" \
              "--fresh"
  }
  { sub(/^[ \t]*#.*/, "") }
  match($0, newer) { fail(substr($0, RSTART, RLENGTH) " is newer than CMake 3.22") }
  /cmake_minimum_required/ && !/VERSION 3\.(1[0-9]|2[0-2])[ )]/ &&
    !/VERSION 3\.22\.\.\./ { fail("asks for another CMake than 3.22") }
  # Policies are numbered in the order in which they came.
  match($0, /CMP[0-9][0-9][0-9][0-9]/) && substr($0, RSTART + 3, 4) + 0 > 128 &&
    !/if[ \t]*\([ \t]*POLICY/ {
    fail(substr($0, RSTART, RLENGTH) " is newer than CMake 3.22")
  }
  END { exit bad }' $files || exit 1
echo "ok: cmake: $(printf '%s\n' "$files" | wc -l) files are for CMake 3.22"
