#!/usr/bin/env python3
"""selftest.py tools/golden - proves that each check of tools/golden can fail."""
import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("golden", sys.argv.pop(1))
golden = importlib.util.module_from_spec(importlib.util.spec_from_loader("golden", loader))
loader.exec_module(golden)


def code(kind, *instructions):
    """A program whose one function has these instructions, at 10, 14, 18 ..."""
    lines = ["0000000000000010 <f>:"]
    lines += [f"  {16 + 4 * i:x}:\t{text}" for i, text in enumerate(instructions)]
    return golden.Code("\n".join(lines), kind)


def sins(kind, *instructions):
    program = code(kind, *instructions, "ret")
    return " ".join(program.sins(program.walk("f")))


class Walk(unittest.TestCase):
    def test_conditional_branches_are_not_taken(self):
        program = code(golden.X86, "test %rdi,%rdi", "je 10 <f>", "ret", "nop")
        self.assertEqual(program.walk("f"), [0x10, 0x14, 0x18])
        program = code(golden.Arm64, "cbz x0, 10 <f>", "b.ne 10 <f>", "tbz w0, #1, 10 <f>",
                       "ret")
        self.assertEqual(len(program.walk("f")), 4)

    def test_branches_are_followed(self):
        program = code(golden.X86, "jmp 18 <f+0x8>", "nop", "ret")
        self.assertEqual(program.walk("f"), [0x10, 0x18])
        program = code(golden.Arm64, "b 18 <f+0x8>", "nop", "ret")
        self.assertEqual(program.walk("f"), [0x10, 0x18])

    def test_calls_are_followed_and_counted(self):
        for kind, call in ((golden.X86, "call"), (golden.Arm64, "bl")):
            program = code(kind, f"{call} 18 <g>", "ret", "nop", "ret")
            way = program.walk("f")
            self.assertEqual(way, [0x10, 0x18, 0x1C, 0x14])
            self.assertEqual(program.calls(way), 1)

    def test_serial_ways_take_the_branch_on_the_handle(self):
        program = code(golden.X86, "test %rdi,%rdi", "jle 20 <f+0x10>", "mov %fs:0,%rax",
                       "ret", "test %rax,%rax", "jle 18 <f+0x8>", "ret")
        self.assertEqual(program.walk("f_serial"), [0x10, 0x14, 0x20, 0x24, 0x28])
        self.assertEqual(program.walk("f"), [0x10, 0x14, 0x18, 0x1C])
        program = code(golden.Arm64, "tbnz x0, #63, 1c <f+0xc>", "mrs x1, tpidr_el0", "ret",
                       "tbnz x1, #63, 14 <f+0x4>", "ret")
        self.assertEqual(program.walk("f_serial"), [0x10, 0x1C, 0x20])
        self.assertEqual(program.walk("f"), [0x10, 0x14, 0x18])
        program = code(golden.Arm64, "cmp x0, #0x0", "b.le 1c <f+0xc>", "ret", "ret")
        self.assertEqual(program.walk("f_serial"), [0x10, 0x14, 0x1C])

    def test_serial_ways_where_others_branch_off_lie_straight_ahead(self):
        program = code(golden.X86, "test %rdi,%rdi", "jns 18 <f+0x8>", "ret")
        self.assertEqual(program.walk("f_serial"), [0x10, 0x14, 0x18])
        program = code(golden.Arm64, "tbz x0, #63, 10 <f>", "ret")
        self.assertEqual(program.walk("f_serial"), [0x10, 0x14])

    def test_loops_and_unknown_ways_fail(self):
        for text in ("jmp 10 <f>", "jmp *%rax", "jmp 99 <g>"):
            with self.assertRaises(golden.Failure):
                code(golden.X86, text, "ret").walk("f")
        with self.assertRaises(golden.Failure):
            code(golden.X86, "ret").walk("g")


class Sins(unittest.TestCase):
    def test_x86(self):
        for text in ("lock xadd %rax,(%rdx)", "lock incl 0x8(%rdi)", "xchg %rax,(%rdi)"):
            self.assertIn("locked", sins(golden.X86, text))
        self.assertIn("barrier", sins(golden.X86, "mfence"))
        for text in ("div %rcx", "idivl 0x8(%rsp)"):
            self.assertIn("division", sins(golden.X86, text))
        fine = ("xchg %ax,%ax", "subl $0x1,0x8(%rsi)", "mov (%rsi),%rax", "imul %rcx,%rdx")
        self.assertEqual("", sins(golden.X86, *fine))

    def test_aarch64(self):
        for text in ("ldxr x0, [x1]", "ldaxr w0, [x1]", "stlxr w2, x0, [x1]", "stxr w1, x0, [x2]",
                     "casal x0, x1, [x2]", "swpa x0, x1, [x2]", "ldaddal x0, x1, [x2]",
                     "ldsetb w0, w1, [x2]", "staddl x0, [x1]", "ldsmax x0, x1, [x2]",
                     "ldaxp x0, x1, [x2]", "stlxp w0, x1, x2, [x3]"):
            self.assertIn("locked", sins(golden.Arm64, text), text)
        self.assertIn("barrier", sins(golden.Arm64, "dmb ish"))
        self.assertIn("division", sins(golden.Arm64, "udiv x0, x1, x2"))
        fine = ("ldp x0, x1, [x2]", "ldr x0, [x1]", "stp x0, x1, [x2]", "ldrh w0, [x1]",
                "ldar x0, [x1]", "stlr x0, [x1]", "add x0, x1, x2", "csel x0, x1, x2, eq")
        self.assertEqual("", sins(golden.Arm64, *fine))


    def test_thread_local_storage_on_serial_ways(self):
        for kind, text in ((golden.X86, "mov %fs:(%rdx),%rcx"),
                           (golden.Arm64, "mrs x1, tpidr_el0")):
            program = code(kind, text, "ret")
            self.assertIn("thread-local", " ".join(program.sins(program.walk("f"), True)))
            self.assertEqual("", " ".join(program.sins(program.walk("f"))))


class Compare(unittest.TestCase):
    counts = {name: (20, 0) for name in golden.FUNCTIONS}

    def wrong(self, compiler="gcc 12", **allowed):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "gcc-x86_64.golden"
            path.write_text(golden.golden_text("gcc 12", {**self.counts, **allowed}))
            with contextlib.redirect_stdout(io.StringIO()):
                return " ".join(golden.compare(path, compiler, self.counts))

    def test_the_same_and_fewer_pass(self):
        self.assertEqual("", self.wrong())
        self.assertEqual("", self.wrong(hak_free=(21, 1)))

    def test_more_fail(self):
        self.assertIn("hak_free: 20 instructions, at most 19", self.wrong(hak_free=(19, 0)))

    def test_calls_fail_with_every_compiler(self):
        self.counts = {**self.counts, "hak_alloc": (30, 1)}
        allowed = {"hak_alloc": (20, 0)}
        self.assertIn("hak_alloc: 1 calls", self.wrong("gcc 13", **allowed))
        self.assertNotIn("instructions", self.wrong("gcc 13", **allowed))

    def test_a_missing_line_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "gcc-x86_64.golden"
            path.write_text("# gcc 12, nothing\n")
            self.assertIn("no line", " ".join(golden.compare(path, "gcc 12", self.counts)))


if __name__ == "__main__":
    unittest.main(verbosity=1)
