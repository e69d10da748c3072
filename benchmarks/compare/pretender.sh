#!/bin/sh
# pretender.sh - speaks like a program of the suite and measures nothing: for tests of
# the runner, which cannot wait for an allocator to crash.
#
# PRETEND says how it differs from one that does everything right: a list of words.
# Two workloads: a/good in which nobody differs, and b/odd.
case " $PRETEND " in *' fails-at-once '*) exit 9 ;; esac
list=no
workload=
for argument in "$@"; do
  case $argument in
    --list) list=yes ;;
    good | odd) workload=$argument ;;
  esac
done
if [ $list = yes ]; then
  echo 'good a  what all can do'
  echo 'odd b  what one may fail in'
  exit 0
fi

pretend() {
  [ "$workload" = odd ] || return 1
  case " $PRETEND " in *" $1 "*) return 0 ;; esac
  return 1
}
# A little slower each time that it runs, if there is a file to count in.
runs=0
if [ -n "${PRETEND_COUNT-}" ]; then
  echo run >>"$PRETEND_COUNT"
  runs=$(wc -l <"$PRETEND_COUNT")
fi
factor=${PRETEND_FACTOR-1}

pretend crashes && kill -SEGV $$
pretend hangs && sleep 60
if pretend crashes-late && [ "$runs" -gt 8 ]; then exit 5; fi
echo "note compiler none"
if pretend skips; then
  echo "note skipped odd cannot"
else
  echo "result $workload/time $((10 * factor + runs)) ns"
  pretend lacks || echo "result $workload/free $((20 * factor)) ns"
  pretend more && echo "result $workload/more 1 ns"
  pretend twice && echo "result $workload/time 1 ns"
  pretend garbles && echo "result $workload/other much ns"
  echo "result $workload/peak_rss $((3 * factor)) MiB"
  if pretend errs; then echo "check $workload 43"; else echo "check $workload 42"; fi
  echo "point $workload 0 1.5"
  echo "point $workload 0.5 2.5"
fi
version=1.0
pretend changes && version=2.0
pretend unproven || echo "allocator pretender $version proven"
exit 0
