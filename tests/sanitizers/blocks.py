"""blocks.py WORK INCLUDE ARCHIVE MODE - programs with one fault each in a block, and good
ones, over the library as it is installed: what the user's tool says of them.

MODE: address    built with -fsanitize=address: every fault is reported, with the right
                 functions in its stacks; of the good ones nothing is said
      native     the same build with HAKMEM_BACKEND=native: nothing is said of good ones
      thread     built with -fsanitize=thread: nothing is said of good ones
      valgrind   a plain build under memcheck: some faults of each kind, some good ones

CC and CXX name the compilers. Exit 77: the tool is not here.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
WORK, INCLUDE, ARCHIVE, MODE = sys.argv[1:5]
SANITIZER = {"address": "address", "native": "address", "thread": "thread"}.get(MODE)
SKIPPED = 77
TIMEOUT = 60  # seconds that one program may take

# What memcheck says of a fault, and the functions that it names with it.
VALGRIND = {
    "uaf_read_tiny": ("Invalid read of size 1", "uaf_read_tiny free_it"),
    "uaf_write_mib": ("Invalid write of size 1", "uaf_write_mib free_it"),
    "over_by_one": ("0 bytes after a block of size 30 alloc'd", "over_by_one"),
    "under_by_one": ("1 bytes before a block of size 100 alloc'd", "under_by_one"),
    "twice_tiny": ("Invalid free()", "twice_tiny free_it"),
    "inside": ("Invalid free()", "inside"),
    "uaf_destroyed": ("Invalid read of size 1", "uaf_destroyed hak_heap_destroy"),
    "leak_tiny": ("40 bytes in 1 blocks are definitely lost", "leak_tiny"),
    "leak_heap": ("40 bytes in 1 blocks are definitely lost", "leak_heap"),
    "all_sizes": None,
    "grows": None,
    "heap_released": None,
    "list_in_heap": None,
    "threads_exchange": None,
}
# Good programs that a tool is not made for.
NOT_FOR = {
    "thread": {"forks"},  # it forbids threads in a child, and is slow to fork
}


def run(command, environment=None):
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def skip(why):
    print(f"skipped: blocks: {why}")
    sys.exit(SKIPPED)


def flags():
    common = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-w"]
    return common + ([f"-fsanitize={SANITIZER}"] if SANITIZER else [])


def compilers():
    cc, cxx = os.environ.get("CC", "cc"), os.environ.get("CXX", "c++")
    empty = os.path.join(WORK, "empty")
    with open(empty + ".c", "w") as out:
        out.write("int main(void) { return 0; }\n")
    status, _ = run([cc, *flags(), empty + ".c", "-o", empty])
    if status != 0 or run([empty])[0] != 0:
        skip(f"{cc} has no {MODE} sanitizer that runs here")
    return cc, cxx


def build():
    cc, cxx = compilers()
    jobs = [
        [cc, "-std=gnu11", *flags(), f"-I{INCLUDE}", "-c", os.path.join(HERE, name + ".c"),
         "-o", os.path.join(WORK, name + ".o")]
        for name in ("blocks", "bad", "good")
    ]
    jobs.append(
        [cxx, "-std=c++17", *flags(), f"-I{INCLUDE}", "-c", os.path.join(HERE, "cxx.cc"),
         "-o", os.path.join(WORK, "cxx.o")]
    )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for status, text in pool.map(run, jobs):
            if status != 0:
                sys.exit(f"FAIL: blocks: does not build\n{text}")
    program = os.path.join(WORK, "blocks")
    objects = [os.path.join(WORK, n + ".o") for n in ("blocks", "bad", "good", "cxx")]
    status, text = run([cxx, *flags(), *objects, ARCHIVE, "-lpthread", "-o", program])
    if status != 0:
        sys.exit(f"FAIL: blocks: does not link\n{text}")
    return program


def cases(program):
    """(name, what is to be said or "", functions)"""
    _, text = run([program, "--list"], {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    table = [line.split("\t") for line in text.splitlines()]
    for name, report, functions in table:
        if MODE == "valgrind":
            if name in VALGRIND:
                said = VALGRIND[name]
                yield (name, *said) if said else (name, "", "")
        elif MODE == "address" or not report:
            if name not in NOT_FOR.get(MODE, ()):
                yield name, report, functions


def environment():
    own = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    own["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0"
    if MODE == "native":
        own["HAKMEM_BACKEND"] = "native"
    return own


def names(text, functions):
    """The functions that no stack of the report names."""
    return [f for f in functions.split() if not re.search(rf"\b{f}\b", text)]


def judge(program, case):
    """What is wrong with the run of a case, or None."""
    name, report, functions = case
    command = [program, name]
    if MODE == "valgrind":
        command = ["valgrind", "--leak-check=full", "--error-exitcode=9", "-q", *command]
    try:
        status, text = run(command, environment())
    except subprocess.TimeoutExpired:
        return f"{name}: takes longer than {TIMEOUT} s"
    if "LeakSanitizer has encountered a fatal error" in text:
        skip("LeakSanitizer does not work here (it must not be traced)")
    if not report:
        good = status == 0 and text == ""
        return None if good else f"{name}: good, but (status {status})\n{text}"
    if status == 0 or report not in text:
        return f"{name}: '{report}' was not said (status {status})\n{text}"
    missing = names(text, functions)
    return f"{name}: no stack names {' '.join(missing)}\n{text}" if missing else None


def main():
    if MODE == "valgrind" and shutil.which("valgrind") is None:
        skip("valgrind is not installed")
    program = build()
    table = list(cases(program))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        wrong = [w for w in pool.map(lambda case: judge(program, case), table) if w]
    for each in wrong:
        print(f"FAIL: blocks: {each}")
    bad = sum(1 for _, report, _ in table if report)
    if wrong:
        print(f"FAIL: blocks: {len(wrong)} of {len(table)} programs")
        sys.exit(1)
    print(f"ok: blocks: {MODE}: {bad} faults reported, {len(table) - bad} good ones silent")


if __name__ == "__main__":
    WORK = tempfile.mkdtemp(prefix="hakmem blocks ", dir=WORK)
    try:
        main()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
