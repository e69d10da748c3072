"""What table.py makes of how processes end, and of what is expected of them."""
import contextlib
import io
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import table  # noqa: E402


def equal(got, expected):
    if got != expected:
        sys.exit(f"FAIL: {got!r}, and not {expected!r}")


def program(script, limit=10):
    """How a process ends that is a script of the shell."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "program")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o700)
        return table.run(table.Allocator("made-up", path), "case", False, limit)


def ends():
    equal(program("echo outcome fine all is well"), ("fine", "all is well", None))
    equal(program("echo value 2.5 x"), ("fine", "x", 2.5))
    equal(program("echo outcome damage a block changed"), ("damage", "a block changed", None))
    equal(program("echo outcome hung 3 of 20"), ("hang", "3 of 20", None))
    equal(program("kill -SEGV $$"), ("crash", "SIGSEGV", None))
    equal(program("exit 3"), ("crash", "status 3", None))
    equal(program("echo invalid pointer >&2; kill -ABRT $$"),
          ("named", "invalid pointer", None))
    # Who names it and goes on has named it; who damages a block all the same has not.
    equal(program("echo double free >&2; echo outcome fine")[0], "named")
    equal(program("echo double free >&2; echo outcome damage x")[0], "damage")
    # That memory is short is no diagnosis.
    equal(program("echo 'error: out of memory' >&2; kill -ABRT $$")[0], "crash")
    equal(program("sleep 60", limit=0.2)[0], "hang")
    # What a program leaves behind does not hold the table up.
    equal(program("sleep 60 & echo outcome fine"), ("fine", "", None))


def checked(text, results):
    allocator = table.Allocator("made-up", "")
    allocator.results = results
    with tempfile.NamedTemporaryFile("w", suffix=".expected") as file:
        file.write(text)
        file.flush()
        with contextlib.redirect_stdout(io.StringIO()):
            return table.check(allocator, file.name)


def expectations():
    results = {"misuse/a": {"end": "named", "text": ""},
               "misuse/b": {"end": "damage", "text": ""},
               "ends": {"end": "fine", "text": "bytes", "value": 100.0},
               "forks": {"end": "skipped", "text": ""}}
    equal(checked("misuse.named >= 1\nmisuse.damage <= 1 # b\nends <= 100\n", results), True)
    equal(checked("misuse.named >= 2\n", results), False)
    equal(checked("misuse.damage == 0\n", results), False)
    equal(checked("ends <= 99\n", results), False)
    # What was to give a figure and crashed gives none.
    equal(checked("ends <= 99\n", {"ends": {"end": "crash", "text": ""}}), False)
    # What cannot be tried here is not held against it, but a check of nothing is none.
    equal(checked("ends <= 100\nforks.fine == 1\n", results), True)
    equal(checked("forks.fine == 1\n", results), False)


def cells():
    allocator = table.Allocator("made-up", "")
    allocator.results = {"misuse/a": {"end": "named", "text": ""},
                         "misuse/b": {"end": "damage", "text": ""},
                         "forks": {"end": "hang", "text": "2 of 20"},
                         "storm": {"end": "crash", "text": "SIGSEGV"}}
    rows = {row[0]: row[1] for row in table.table([allocator])}
    equal(rows["64 cases of misuse: named"], "1")
    equal(rows["forks under churn: children that hang or fail"], "2 of 20")
    equal(rows["1,000 threads at once: ms"], "crash")
    equal("9 memory limits: crash, abort, hang, wrong or no service" in rows, False)
    lines = table.as_markdown(table.table([allocator])).splitlines()
    equal({line.count("|") for line in lines}, {3})


ends()
expectations()
cells()
print("ok: table.py")
