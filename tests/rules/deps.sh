#!/bin/sh
# deps.sh ROOT - tools/deps on made-up systems: what is missing is installed, the
# second run does nothing, and where it cannot install it says what to do.
set -eu
root=$1

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem deps XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/installed"

fail() {
  cat "$work/output"
  echo "FAIL: deps: $*"
  exit 1
}
tool() {
  cat >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}
# Nothing but these is found: the system's own apt is out of reach.
run() { PATH=$work/bin WORK=$work /bin/sh "$root/tools/deps" >"$work/output" 2>&1; }

env=$(command -v env)
if run; then fail "passes without apt"; fi
grep -q libcmocka-dev "$root/tools/deps" || fail "does not install cmocka"
grep -q 'no apt' "$work/output" || fail "does not say that apt is missing"
# `cat` is not among the tools, so the text must come from the shell itself.
grep -q cmocka "$work/output" || fail "does not name what to install"

tool dpkg-query <<'TOOL'
#!/bin/sh
for package in "$@"; do :; done
[ -e "$WORK/installed/$package" ] && printf installed
TOOL
tool apt-get <<TOOL
#!/bin/sh
[ "\$DEBIAN_FRONTEND" = noninteractive ] || exit 1
case " \$* " in *' update '*) : >"\$WORK/lists"; exit 0 ;; esac
[ -e "\$WORK/lists" ] || exit 100
for package in "\$@"; do
  case \$package in -* | install) ;; *) : >"\$WORK/installed/\$package" ;; esac
done
TOOL
tool env <<TOOL
#!/bin/sh
exec $env "\$@"
TOOL
tool id <<'TOOL'
#!/bin/sh
echo 1000
TOOL

if run; then fail "passes without root and sudo"; fi
grep -q 'apt-get install' "$work/output" || fail "does not say what to run as root"

tool sudo <<'TOOL'
#!/bin/sh
: >"$WORK/sudo"
exec "$@"
TOOL
run || fail "does not install"
[ -e "$work/sudo" ] || fail "does not use sudo"
for package in $("$root/tools/deps" --list); do
  [ -e "$work/installed/$package" ] || fail "$package is not installed"
done

rm "$work/sudo"
run || fail "fails the second time"
grep -q 'nothing to do' "$work/output" || fail "does not say that there is nothing to do"
[ ! -e "$work/sudo" ] || fail "does something the second time"
echo "ok: deps: installs what is missing, once"
