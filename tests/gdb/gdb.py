#!/usr/bin/env python3
"""gdb with tools/gdb/hakmem.py on a program that has stopped, and on its core file.

    gdb.py PROGRAM HAKMEM_PY

Exit status 77: there is no gdb with Python, or it may not run programs here.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

QUESTIONS = """\
echo [heaps]\\n
hakmem heaps
echo [handles]\\n
print g_requests
print g_ended
print g_serial
print (hak_heap_t *) 0
echo [used]\\n
hakmem block g_used + 7
hakmem block g_used
echo [freed]\\n
hakmem block g_freed
echo [cached]\\n
hakmem block g_default + 64
echo [large]\\n
hakmem block g_large + 200000
echo [run]\\n
hakmem block g_run + 3000000
echo [mapping]\\n
hakmem block g_mapping + 30000000
echo [external]\\n
hakmem block g_external + 999
hakmem block g_external_freed
echo [annex]\\n
hakmem block g_annexed + 999
hakmem block g_annexed + 5000000
echo [default]\\n
hakmem block g_default
echo [sample]\\n
hakmem block g_sample
echo [serial]\\n
hakmem block g_serial_freed
echo [none]\\n
hakmem block 0
hakmem block &g_used
hakmem block -1
hakmem block main
"""
# What each part has to say, line by line; a regular expression each.
ANSWERS = {
    "heaps": [r"handle +used +at most +limit +heap", r"0x\w+ .* -  default$",
              r"0x\w+ .* 200\.0 MiB  server$", r"0x\w+ .* -    requests\\n$",
              r"0x\w+ .* -  script$", r"0x\w+ .* plugin$", r"0x\w+ .* buffers$"],
    "handles": [r'= 0x\w+ "server/requests\\n"$', r"= 0x\w+ \(a heap that has ended\)$",
                r'= 0x\w+ "script"$', r"= 0x0 \(no heap"],
    "used": [r'is 7 bytes into a block of 112 bytes at 0x\w+, of heap 0x\w+ "server/requests\\n": '
             r"in use$", r"is a block of 112 bytes .*: in use$"],
    "freed": [r"is a block of 112 bytes at .*: free, in its slab$"],
    # A thread fetches more than one block at a time.
    "cached": [r"is a block of 64 bytes at .*: free, cached by a thread$"],
    "large": [r'is 200000 bytes into a block of 327680 bytes at .* "server": in use$'],
    "run": [r'is 3000000 bytes into a block of 5242880 bytes at .* "server": in use$'],
    "mapping": [r'is 30000000 bytes into a block of 52428800 bytes at .* "server": in use$'],
    "external": [r'is 999 bytes into a block of 1008 bytes at .* "plugin": in use$',
                 r"is in no block: free memory of a heap in memory of the caller's$"],
    "annex": [r'is 999 bytes into a block of 8323072 bytes at .* "buffers": in use$',
              r'is 5000000 bytes into a block of 8323072 bytes at .* "buffers": in use$'],
    "default": [r'is a block of 64 bytes at .* "default": in use$'],
    "sample": [r'is a block of 1152 bytes at .* "server": in use; 1100 bytes were asked for by '
               r"sampled_here \(.*program\.c:\d+\)$"],
    "serial": [r'is a block of 48 bytes at .* "script": free, cached by its heap$'],
    "none": [r"0x0 is in no block: ", r"is in no block: ", r"0xf{16} is in no block: ",
             r"is in no block: "],
}
MISTAKES = {
    "hakmem block nothing": r'hakmem: No symbol "nothing" in current context\.',
    "hakmem block": "hakmem block needs an address",
    "hakmem block g_memory[": "hakmem: .*syntax error|hakmem: A syntax error",
    "hakmem nothing": r'hakmem: there is no "nothing"; there are: hakmem heaps',
    "hakmem": "hakmem block -- .*\n.*hakmem heaps -- ",
}
# Where blocks are malloc's.
MALLOCED_QUESTIONS = """\
echo [heaps]\\n
hakmem heaps
echo [blocks]\\n
hakmem block g_used + 7
hakmem block g_mapping + 30000000
hakmem block g_default
echo [external]\\n
hakmem block g_external + 999
echo [none]\\n
hakmem block g_used + 100
hakmem block &g_used
hakmem block 0
"""
NEITHER = r"is in no block: neither memory of hakmem's nor a block that it has from malloc$"
MALLOCED_ANSWERS = {
    "heaps": [r"0x\w+ +5[0-9]\.\d MiB .* 200\.0 MiB  server$"],
    "blocks": [r'is 7 bytes into a block of 100 bytes at 0x\w+, of heap 0x\w+ '
               r'"server/requests\\n": in use, one of malloc\'s$',
               r'is 30000000 bytes into a block of 52428800 bytes at .* "server": in use, ',
               r'is a block of 64 bytes at .* "default": in use, one of malloc\'s$'],
    "external": [r'is 999 bytes into a block of 1008 bytes at .* "plugin": in use$'],
    "none": [NEITHER, rf"^0x0 {NEITHER}"],
}
# Records of heaps that something wrote over.
RECORD = "((struct hak_heap *) ((unsigned long) {} & 0xffffffffffc0))"
DAMAGE = f"""\
set variable {RECORD.format("g_server")}->store = 0x414141414140
set variable {RECORD.format("g_requests")}->parent = 0x424242424240
set variable {RECORD.format("g_serial")}->name_at = 0x43434343
set variable {RECORD.format("g_plugin")}->parent = {RECORD.format("g_plugin")}
"""
DAMAGED_QUESTIONS = """\
echo [heaps]\\n
hakmem heaps
echo [blocks]\\n
hakmem block g_used
hakmem block g_mapping
print g_requests
"""
DAMAGED_ANSWERS = {
    "heaps": [r"0x\w+ .* -  default$",
              r"0x\w+ +\? +\? +\?  server \(the record at 0x\w+ was overwritten\)$",
              r"0x\w+ .* requests\\n \(the record at 0x\w+ was overwritten\)$",
              r"0x\w+ .*  plugin$"],
    "blocks": [r'is a block of 112 bytes .* "\?/requests\\n": ',
               r'is a block of 52428800 bytes .* "server": in use$', r'= 0x\w+ "\?/requests\\n"$'],
}


def fail(why):
    sys.exit(f"FAIL: gdb: {why}")


def skip(why):
    print(f"skipped: gdb: {why}")
    sys.exit(77)


def gdb(folder, commands, *arguments):
    script = folder / "commands"
    script.write_text(commands)
    return subprocess.run(["gdb", "-nx", "-q", "-batch", "-x", script, *map(str, arguments)],
                          capture_output=True, text=True, errors="replace",
                          env={**os.environ, "LC_ALL": "C.UTF-8"})


def check(what, done, answers=ANSWERS):
    text = done.stdout
    if "Traceback" in text + done.stderr or \
            re.search("Python Exception|Error occurred in Python", text + done.stderr):
        fail(f"{what}: {text}{done.stderr}")
    for part, patterns in answers.items():
        found = re.search(rf"^\[{part}\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S)
        lines = found.group(1).splitlines() if found else []
        missing = [pattern for pattern in patterns
                   if not any(re.search(pattern, line) for line in lines)]
        if missing:
            fail(f"{what}: [{part}] does not say {missing[0]!r}:\n{text}{done.stderr}")
    return text


def main():
    program, tool = sys.argv[1:]
    if shutil.which("gdb") is None:
        skip("there is no gdb; tools/deps installs it")
    with tempfile.TemporaryDirectory(prefix="hakmem gdb ") as name:
        folder = pathlib.Path(name)
        if "python works" not in gdb(folder, 'python print("python works")').stdout:
            skip("this gdb has no Python")
        core = folder / "core"
        live = gdb(folder, f"set debuginfod enabled off\nbreak stop\nrun\nsource {tool}\n"
                           f"source {tool}\n{QUESTIONS}generate-core-file {core}\nkill\n", program)
        if not re.search(r"Breakpoint 1(\.1)?, stop", live.stdout):
            if re.search("ptrace|Operation not permitted|personality", live.stderr):
                skip("gdb may not run programs here")
            fail(f"the program did not stop: {live.stdout}{live.stderr}")
        here = check("a live process", live)
        dead = check("a core file",
                     gdb(folder, f"set debuginfod enabled off\nsource {tool}\n{QUESTIONS}",
                         program, core))
        # The same answers, in both.
        if [line for line in here.splitlines() if "bytes at 0x" in line] != \
                [line for line in dead.splitlines() if "bytes at 0x" in line]:
            fail("a core file says other things than the process")
        check("blocks of malloc's", gdb(
            folder, "set debuginfod enabled off\nset environment HAKMEM_BACKEND malloc\n"
                    f"break stop\nrun\nsource {tool}\n{MALLOCED_QUESTIONS}kill\n", program),
            MALLOCED_ANSWERS)
        check("overwritten records", gdb(
            folder, f"set debuginfod enabled off\nbreak stop\nrun\nsource {tool}\n"
                    f"{DAMAGE}{DAMAGED_QUESTIONS}kill\n", program), DAMAGED_ANSWERS)
        made = gdb(folder, f"set debuginfod enabled off\nsource {tool}\n",
                   *(word for mistake in MISTAKES for word in ("-ex", mistake)), program, core)
        for mistake, said in MISTAKES.items():
            if not re.search(said, made.stdout + made.stderr) or "Python" in made.stderr:
                fail(f"{mistake}: {made.stdout}{made.stderr}")
        without = gdb(folder, f"source {tool}\nhakmem heaps\nhakmem block 1\n", "/bin/true")
        if "contains no hakmem" not in without.stderr or "Traceback" in without.stderr:
            fail(f"a program without hakmem: {without.stdout}{without.stderr}")
        early = gdb(folder, f"source {tool}\nhakmem heaps\nhakmem block\nhakmem block nothing\n"
                            "print g_server\n", program)
        if "Traceback" in early.stderr:
            fail(f"before the start: {early.stdout}{early.stderr}")
    print("ok: gdb: a live process and a core file")


if __name__ == "__main__":
    main()
