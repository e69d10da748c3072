"""Mutants: small faults that are put into the library's source, and the tests that find them.

  mutants.py apply ROOT [BUILD]      every mutant applies to the source as it is, and every
                                     fault of the catalogue has one, or a reason why not;
                                     with BUILD also: the tests that are named exist there
  mutants.py run BUILD [NAME...]     builds each mutant and fails unless its test fails;
                                     --jobs N; --seconds N: the most that a test may take;
                                     --trust: the tests are known to pass without a mutant
  mutants.py hunt BUILD NAME         looks for tests of the build that find the mutant

BUILD is a build folder of the release preset in which library and tests are built; nothing
in it is changed. Only the files that a mutant changes are compiled, and only the test that
is to find it is linked, in a folder of their own. See docs/internals/MUTANTS.md.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# What broke other allocators, numbered as in docs/internals/MUTANTS.md.
CATALOGUE = range(1, 48)
LEAST = 60
HANGS = "does not end"


class Wrong(Exception):
    """Something is wrong with a mutant, or with what it is run on."""


class Mutant:
    def __init__(self, name, where):
        self.name, self.where = name, where
        self.catalogue, self.tests, self.compiled, self.edits = [], [], [], []
        self.file = self.why = ""
        self.hangs = self.hardened = False

    def text(self, root):
        """The file as the mutant leaves it."""
        path = root / self.file
        if not path.is_file():
            raise Wrong(f"{self.name}: there is no {self.file}")
        text = path.read_text()
        for old, new in self.edits:
            count = text.count(old)
            if count != 1:
                raise Wrong(f"{self.name}: {count} places of {self.file} have the text that it "
                            f"replaces ({self.where}), and not one:\n{old}")
            text = text.replace(old, new)
        if not self.edits or text == path.read_text():
            raise Wrong(f"{self.name}: changes nothing ({self.where})")
        return text

    def sources(self):
        """The files that are compiled with the change: it may be in a header."""
        return self.compiled or [self.file]


def parse(path):
    """The mutants of a file, and the reasons of what has none."""
    mutants, reasons = [], {}
    lines = iter(enumerate(path.read_text().splitlines(keepends=True), 1))
    for number, line in lines:
        where = f"{path.name}:{number}"
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not word or word.startswith("#"):
            continue
        if word == "mutant":
            mutants.append(Mutant(rest, where))
        elif word == "none":
            key, _, reason = rest.partition(" ")
            reasons[int(key)] = reason.strip()
        elif not mutants:
            raise Wrong(f"{where}: '{word}' before the first mutant")
        elif word == "<<<<":
            old, new = part(lines, "====", where), part(lines, ">>>>", where)
            mutants[-1].edits.append((old, new))
        elif word == "catalogue":
            mutants[-1].catalogue += [int(n) for n in rest.split()]
        elif word == "test":
            mutants[-1].tests.append(rest)
        elif word == "compile":
            mutants[-1].compiled += rest.split()
        elif word in ("hangs", "hardened") and not rest:
            setattr(mutants[-1], word, True)
        elif word in ("file", "why"):
            setattr(mutants[-1], word, (getattr(mutants[-1], word) + " " + rest).strip())
        else:
            raise Wrong(f"{where}: unknown word '{word}'")
    return mutants, reasons


def part(lines, end, where):
    text = ""
    for _, line in lines:
        if line.rstrip("\n") == end:
            return text.removesuffix("\n") # so that its last line may be the start of one
        text += line
    raise Wrong(f"{where}: no '{end}'")


def read_all(folder):
    mutants, reasons = [], {}
    for path in sorted(folder.glob("*.mutants")):
        some, why = parse(path)
        mutants += some
        reasons.update(why)
    if not mutants:
        raise Wrong(f"no mutants in {folder}")
    return mutants, reasons


# ---- What has to hold of all ---------------------------------------------------------


def check_each(mutants, root):
    names = set()
    for mutant in mutants:
        if mutant.name in names or not re.fullmatch(r"[a-z0-9_]+", mutant.name):
            raise Wrong(f"{mutant.where}: a name that is used twice, or has other characters "
                        f"than a-z, 0-9 and _: {mutant.name}")
        names.add(mutant.name)
        if not mutant.why or not mutant.tests:
            raise Wrong(f"{mutant.name}: without 'why' or 'test' ({mutant.where})")
        if mutant.file.endswith(".h") and not mutant.compiled and not mutant.hardened:
            raise Wrong(f"{mutant.name}: a header needs 'compile' ({mutant.where})")
        mutant.text(root)


def check_catalogue(mutants, reasons):
    served = {number for mutant in mutants for number in mutant.catalogue}
    for number in CATALOGUE:
        if (number in served) == (number in reasons):
            what = "both a mutant and a reason" if number in served else "neither"
            raise Wrong(f"catalogue number {number} has {what}: a mutant, or 'none' and why")
    if len(mutants) < LEAST:
        raise Wrong(f"{len(mutants)} mutants, fewer than {LEAST}")


def test_of(spec):
    """The name that ctest has, and the pattern for the cases of it that are run."""
    name, _, only = spec.partition(" ")
    return name, only.strip()


def apply(args):
    root = pathlib.Path(args.root).resolve()
    mutants, reasons = read_all(pathlib.Path(args.mutants or HERE))
    check_each(mutants, root)
    check_catalogue(mutants, reasons)
    if args.build:
        tests = ctests(pathlib.Path(args.build))
        for mutant in mutants:
            for spec in mutant.tests:
                name = test_of(spec)[0]
                if name not in tests and not name.startswith("explore:"):
                    raise Wrong(f"{mutant.name}: there is no test {name}")
    print(f"ok: mutants: {len(mutants)} apply")


# ---- Building and running ---------------------------------------------------------------


def ctests(build):
    out = subprocess.run(["ctest", "--test-dir", str(build), "--show-only=json-v1"], check=True,
                         capture_output=True, text=True).stdout
    tests = {}
    for test in json.loads(out)["tests"]:
        if "command" not in test:
            continue # the program was not built
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        tests[test["name"]] = (test["command"], properties.get("ENVIRONMENT", []))
    return tests


class Build:
    """A build folder, of which only reads are made."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        self.root = None
        self.compiles = {}
        for entry in json.loads((self.folder / "compile_commands.json").read_text()):
            self.compiles.setdefault(entry["file"], []).append(entry)
        for line in (self.folder / "CMakeCache.txt").read_text().splitlines():
            if line.startswith("hakmem_SOURCE_DIR:"):
                self.root = pathlib.Path(line.partition("=")[2])
        if self.root is None:
            raise Wrong(f"{folder} is no build folder of hakmem")
        self.tests = ctests(self.folder)
        self.links = {}

    def link(self, program):
        """The command that links the program."""
        if program not in self.links:
            relative = os.path.relpath(program, self.folder)
            out = subprocess.run(["ninja", "-C", str(self.folder), "-t", "commands", relative],
                                 check=True, capture_output=True, text=True).stdout
            self.links[program] = out.strip().splitlines()[-1]
        return self.links[program]


def quiet(command, what, **arguments):
    done = subprocess.run(command, capture_output=True, text=True, **arguments)
    if done.returncode != 0:
        raise Wrong(f"{what}:\n{done.stdout}{done.stderr}")


def compile_hardened(build, mutant, work):
    """Compiles the hardened library, which is one file, as it is with the mutant."""
    tree = work / "tree"
    for part_of in ("src", "include", "tools/amalgamate", "CMakeLists.txt", "LICENSE"):
        source = build.root / part_of
        (tree / part_of).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / part_of)
    (tree / mutant.file).write_text(mutant.text(build.root))
    quiet([sys.executable, str(tree / "tools/amalgamate"), str(work)],
          f"{mutant.name} is not put together")
    [entry] = [e for file, entries in build.compiles.items() for e in entries
               if file.endswith("hardened/hakmem.c")]
    words = shlex.split(entry["command"])
    stands_for, out = words[words.index("-o") + 1], work / "hakmem.o"
    words[words.index("-o") + 1] = str(out)
    words[words.index(entry["file"])] = str(work / "hakmem.c")
    quiet(["-O1" if w in ("-O2", "-O3") else w for w in words if w != "-g"],
          f"{mutant.name} does not compile", cwd=entry["directory"])
    return {stands_for: out}


def compile_all(build, mutant, work, explored):
    """Compiles what the mutant changes, as the library does or as the explorer does; the
    objects by the names that they stand for."""
    if mutant.hardened:
        return compile_hardened(build, mutant, work)
    changed = work / "src" / pathlib.Path(mutant.file).relative_to("src")
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_text(mutant.text(build.root))
    objects = {}
    for source in mutant.sources():
        original = str(build.root / source)
        target = "hakmem_explored" if explored else "hakmem"
        if source.startswith("tests/"): # what a test compiles of a header
            target = "hakmem_" + source.split("/")[1] + "_" + pathlib.Path(source).stem
        entries = [(e["directory"], words) for e in build.compiles.get(original, [])
                   for words in [shlex.split(e["command"])]
                   if f"CMakeFiles/{target}.dir/" in words[words.index("-o") + 1]]
        if len(entries) != 1:
            raise Wrong(f"{mutant.name}: {source} is compiled {len(entries)} times")
        directory, words = entries[0]
        stands_for = words[words.index("-o") + 1]
        out = work / (source.replace("/", "_") + ".o")
        words[words.index("-o") + 1] = str(out)
        # What is found does not depend on it, and it is most of the time.
        words = ["-O1" if w in ("-O2", "-O3") else w for w in words if w != "-g"]
        words[words.index(original)] = str(changed) if source == mutant.file else original
        at = next(i for i, w in enumerate(words) if w.startswith("-I"))
        words.insert(at, f"-I{work / 'src'}")
        quiet(words, f"{mutant.name} does not compile", cwd=directory)
        objects[stands_for] = out
    return objects


def link(build, program, objects, out):
    """Links the program with the objects in the place of those that they stand for. One of
    an archive need not be taken out of it: what is defined already is not looked for there.
    """
    words = shlex.split(build.link(program))
    words = words[words.index("&&") + 1:] if "&&" in words else words
    words = words[:words.index("&&")] if "&&" in words else words
    words[words.index("-o") + 1] = str(out)
    for old, new in objects.items():
        if old in words:
            words[words.index(old)] = str(new)
        else:
            words.insert(next((i for i, w in enumerate(words) if w.endswith(".a")), len(words)),
                         str(new))
    quiet(words, f"{out.name} does not link", cwd=build.folder)


def command_of(build, spec):
    """The command of a test, its program first, and its variables."""
    name, only = test_of(spec)
    if name.startswith("explore:"): # a scenario of the explorer's
        command, environment = build.tests["explore.scenarios"]
        return [command[0], "scenarios", name.partition(":")[2]], {}
    if name not in build.tests:
        raise Wrong(f"there is no test {name} in {build.folder}")
    command, environment = build.tests[name]
    variables = dict(item.split("=", 1) for item in environment if "=" in item)
    if only:
        variables["HAKMEM_TEST_ONLY"] = only
    return list(command), variables


def run_program(command, variables, seconds, work):
    """How it ended: '' if well, else in a few words."""

    def limits():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    environment = dict(os.environ, **variables)
    with open(work / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=work,
                                   env=environment, start_new_session=True, preexec_fn=limits)
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
        try:
            os.killpg(process.pid, signal.SIGKILL) # and the children of it that are left
        except ProcessLookupError:
            pass
        process.wait()
    if code == 0:
        return ""
    text = (work / "log").read_bytes().decode(errors="replace")
    failed = re.findall(r"^\[  FAILED  \] (\w+__\w+)$", text, re.M)
    if code is None:
        return HANGS
    if failed:
        return failed[0]
    return f"signal {-code}" if code < 0 else f"status {code}"


def kill(build, mutant, spec, seconds):
    """How the test ends with the mutant; '' if it passes."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="hakmem-mutant-"))
    try:
        command, variables = command_of(build, spec)
        objects = compile_all(build, mutant, work, "hakmem_explore" in command[0])
        program = work / "program"
        link(build, command[0], objects, program)
        how = run_program([str(program)] + command[1:], variables, seconds, work)
        if how == HANGS and not mutant.hangs:
            raise Wrong(f"{mutant.name}: {spec} did not end in {seconds} s, and the mutant does "
                        f"not say that it hangs")
        return how
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_without(build, spec, seconds):
    """The test passes without the mutant."""
    command, variables = command_of(build, spec)
    with tempfile.TemporaryDirectory(prefix="hakmem-mutant-") as work:
        how = run_program(command, variables, seconds, pathlib.Path(work))
    if how:
        raise Wrong(f"{spec} fails without a mutant: {how}")


def run(args):
    build = Build(pathlib.Path(args.build))
    mutants = read_all(pathlib.Path(args.mutants or HERE))[0]
    for name in args.names:
        if not any(fnmatch.fnmatch(m.name, name) for m in mutants):
            raise Wrong(f"there is no mutant {name}")
    if args.names:
        mutants = [m for m in mutants if any(fnmatch.fnmatch(m.name, n) for n in args.names)]
    bad = []

    def one(mutant):
        lines = []
        for spec in mutant.tests:
            try:
                how = kill(build, mutant, spec, args.seconds)
            except Wrong as wrong:
                how, lines = "", lines + [str(wrong)]
            if not how:
                bad.append(mutant.name)
            lines.append(f"{'killed' if how else 'LIVES '} {mutant.name}: {spec}"
                         f"{': ' + how if how else ''}")
        print("\n".join(lines), flush=True)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        if not args.trust:
            tests = sorted({spec for m in mutants for spec in m.tests})
            list(pool.map(lambda spec: check_without(build, spec, args.seconds), tests))
        list(pool.map(one, mutants))
    print(f"{len(mutants) - len(set(bad))} of {len(mutants)} mutants are killed")
    if bad:
        raise Wrong("these live: " + " ".join(sorted(set(bad))))


def hunt(args):
    build = Build(pathlib.Path(args.build))
    mutant = next((m for m in read_all(pathlib.Path(args.mutants or HERE))[0]
                   if m.name == args.name), None)
    if mutant is None:
        raise Wrong(f"no mutant {args.name}")
    skip = re.compile(args.skip) if args.skip else None
    names = [n for n in sorted(build.tests) if re.match(args.among, n) and
             not (skip and skip.search(n))]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name, how in zip(names, pool.map(
                lambda n: kill(build, mutant, n, args.seconds), names)):
            if how:
                print(f"{name}: {how}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", help="the folder of *.mutants")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("apply")
    command.add_argument("root")
    command.add_argument("build", nargs="?")
    command = commands.add_parser("run")
    command.add_argument("build")
    command.add_argument("names", nargs="*")
    command.add_argument("--trust", action="store_true")
    command.add_argument("--jobs", type=int, default=1)
    command.add_argument("--seconds", type=int, default=60)
    command = commands.add_parser("hunt")
    command.add_argument("build")
    command.add_argument("name")
    command.add_argument("--among", default=r"(unit|death)\.")
    command.add_argument("--skip", default=r"nightly|strict|os_failures")
    command.add_argument("--jobs", type=int, default=2)
    command.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    try:
        {"apply": apply, "run": run, "hunt": hunt}[args.command](args)
    except Wrong as wrong:
        print(f"FAIL: mutants: {wrong}")
        sys.exit(1)


if __name__ == "__main__":
    main()
