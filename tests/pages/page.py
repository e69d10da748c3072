#!/usr/bin/env python3
"""Compiles and runs the code of a page, as its reader would.

    page.py PAGE INCLUDE_DIR LIBRARY

Each block ```c or ```cpp is a program of its own. Where it has no main(), what it stands
in comes from a comment that is not shown, right before the block:

    <!-- code
    what the block needs, outside of functions
    ---
    statements before it
    ---
    statements after it
    -->

A block ```c FILE is shown from a file of the tree, which is compiled and run elsewhere:
it has to stand there word by word.

What the block has itself outside of functions comes first, with an empty line behind each
definition; the rest goes into main(). CC and CXX name the compilers. The programs end with
0; warnings are errors.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"(?:^<!-- code\n(.*?)^-->\n\n?)?^```(c|cpp)\n(.*?)^```$", re.M | re.S)
SHOWN = re.compile(r"^```(?:c|cpp) (\S+)\n(.*?)^```$", re.M | re.S)
# How a paragraph of definitions or includes begins, and how its last line does.
FIRST = re.compile(r"(?:static|struct|typedef|enum|class|template|using|extern|void)\b|"
                   r"#|HAK_DEFINE_|//")
LAST = re.compile(r"\}|#|HAK_DEFINE_|using\b|//|.*\}$")


def is_outside(paragraph):
    lines = paragraph.strip().split("\n")
    return bool(FIRST.match(lines[0]) and LAST.match(lines[-1]))


def program(around, code):
    if re.search(r"^int main\(", code, re.M):
        return code
    outside, before, after = ([*re.split(r"^---\n", around or "", flags=re.M), "", ""])[:3]
    own, rest = [], code.split("\n\n")
    while rest and is_outside(rest[0]):
        own.append(rest.pop(0))
    own, rest = "\n\n".join(own), "\n\n".join(rest)
    include = "" if "#include <hakmem/" in own else "#include <hakmem/hakmem.h>\n"
    return (f"{include}{outside}\n{own}\nint main(void) {{\n{before}\n{rest}\n{after}\n"
            "return 0;\n}\n")


def main():
    page, include, library = sys.argv[1:]
    text = pathlib.Path(page).read_text()
    count = 0
    with tempfile.TemporaryDirectory(prefix="hakmem page ") as work:
        for block in BLOCK.finditer(text):
            count += 1
            around, language, code = block.groups()
            line = text.count("\n", 0, block.start(3)) + 1
            name = f"{page}:{line}"
            source = pathlib.Path(work) / f"block.{language.replace('cpp', 'cc')}"
            source.write_text(program(around, code))
            cxx = language == "cpp"
            command = [os.environ.get("CXX" if cxx else "CC", "g++" if cxx else "gcc"),
                       "-std=c++17" if cxx else "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall",
                       "-Wextra", "-Werror", "-Wno-unused", f"-I{include}", str(source),
                       library, "-o", f"{work}/block", "-pthread"]
            if subprocess.run(command).returncode != 0:
                sys.exit(f"FAIL: page: {name} does not compile; it is\n{source.read_text()}")
            ended = subprocess.run([f"{work}/block"], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, timeout=60)
            if ended.returncode != 0:
                sys.stdout.write(ended.stdout.decode(errors="replace"))
                sys.exit(f"FAIL: page: {name} ended with {ended.returncode}")
    for block in SHOWN.finditer(text):
        count += 1
        file, code = block.groups()
        root = pathlib.Path(include).parent
        if code not in (root / file).read_text():
            sys.exit(f"FAIL: page: {page} shows what is not in {file}:\n{code}")
    if count == 0 and "```c" in text:
        sys.exit(f"FAIL: page: {page}: its blocks of code cannot be read")
    print(f"ok: page: {page}: {count} blocks")


if __name__ == "__main__":
    main()
