#!/usr/bin/env python3
"""tools/hakmem-report says of examples/report.c what docs/REPORT.md shows: which places leave
blocks behind, and that LEARN=1 would keep them apart, and does.

    example.py PROGRAM HAKMEM_REPORT
"""
import os
import pathlib
import subprocess
import sys
import tempfile

from pages import Tool, check_page, fail

with tempfile.TemporaryDirectory(prefix="hakmem report ") as name:
    folder, tool = pathlib.Path(name), Tool(sys.argv[2])
    for learn, parts in ((0, ("LEARN=1 would save", "does the same from the first wave on")),
                         (1, ("LEARN keeps 1 place apart",))):
        record, page, text = (folder / f"{learn}.{end}" for end in ("json", "html", "txt"))
        subprocess.run([sys.argv[1], record], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "HAKMEM_LEARN": str(learn)})
        for arguments in (["-o", page, record], ["--text", "-o", text, record]):
            status, said = tool.run(*arguments)
            if status != 0 or said:
                fail(f"LEARN={learn}: {status}, {said}")
        said = check_page(page.read_text(encoding="utf-8")).all_text()
        for part in ("leave behind: ", "session (", "cache_entry (", "Load came and went 5 times",
                     *parts):
            if part not in text.read_text(encoding="utf-8") or part not in said:
                fail(f"LEARN={learn}: nothing says {part!r}: {text.read_text()}")
        if ("apart, group 1, of places of which " in said) != (learn == 1):
            fail(f"LEARN={learn}: SuperSlabs of places that are apart: {said}")
print("ok: example: the spikes, and what they leave behind")
