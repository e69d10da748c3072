"""Conditions that guard a change of state, each left out in turn.

  conditions.py list ROOT [FILE...]       the conditions, one a line
  conditions.py check ROOT                what conditions.known says is of the source as it is
  conditions.py build BUILD WORK          the library with all of them, and the tests with it
  conditions.py reach BUILD WORK          which test comes by which condition
  conditions.py try BUILD WORK [FILE...]  leaves each out and looks for a test that fails;
                                          what came of each is added to WORK/tried.txt, and
                                          what was killed is not tried again
  conditions.py report ROOT WORK [FILE...]  figures for each folder, and what lives
  conditions.py limits ROOT WORK          conditions.open, from what was tried
  conditions.py sample BUILD FILE:TEST,TEST...  the conditions of these files, by these tests
  conditions.py all BUILD                 all of it; fails if more live than conditions.open has;
                                          with --nights N an Nth of the files, others each night

All conditions are compiled in at once: each stands in a call that a variable of the
environment turns into a constant, so that a mutant costs one run of one test and no compile.
BUILD is a build folder of the release preset, in which nothing is changed; WORK is a folder
that may be thrown away. See docs/internals/MUTANTS.md.
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time

import mutants as common
import places

KNOWN = common.HERE / "conditions.known"
OPEN = common.HERE / "conditions.open"

RUNTIME_H = """
#ifndef HAK_MUTATED_H
#define HAK_MUTATED_H
extern unsigned char hak_mutated_to[65536];
extern unsigned char *hak_mutated_seen;
static inline _Bool hak_mutated_inline(unsigned at, _Bool value) {
  if (__builtin_expect(hak_mutated_seen != (void *)0, 0))
    hak_mutated_seen[at] |= (unsigned char)(1u << value);
  unsigned char to = hak_mutated_to[at];
  return __builtin_expect(to != 0, 0) ? (_Bool)(to - 1) : value;
}
#ifdef __SANITIZE_THREAD__ /* the explorer is not to see these accesses */
extern _Bool hak_mutated(unsigned at, _Bool value);
#else
#define hak_mutated hak_mutated_inline
#endif
#endif
"""

# MUTATED_AT is a list of number:value.
RUNTIME_C = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "mutated.h"
#undef hak_mutated
unsigned char hak_mutated_to[65536];
unsigned char *hak_mutated_seen;
_Bool hak_mutated(unsigned at, _Bool value) { return hak_mutated_inline(at, value); }
__attribute__((constructor(101))) static void start(void) {
  const char *at = getenv("MUTATED_AT"), *seen = getenv("MUTATED_SEEN");
  while (at != NULL && *at != 0) {
    char *end;
    unsigned long number = strtoul(at, &end, 10);
    if (number >= sizeof hak_mutated_to || end[0] != ':') abort();
    hak_mutated_to[number] = end[1] == '1' ? 2 : 1;
    at = end + 2 + (end[2] == ',');
  }
  if (seen == NULL) return;
  int fd = open(seen, O_RDWR);
  void *map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (map != MAP_FAILED) hak_mutated_seen = map;
}
"""

def chosen(found, files):
    return [c for c in found if c.changes and (not files or any(f in c.file for f in files))]


def folder_of(file):
    return "/".join(file.split("/")[:2])


# ---- What is known ----------------------------------------------------------------------


class Known:
    """Conditions that may live, with the reason, and how many of a file have no test yet."""

    def __init__(self):
        self.reasons, self.open = {}, {}
        for path in (KNOWN, OPEN):
            self.read(path)

    def read(self, path):
        last = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            word, _, rest = line.strip().partition(" ")
            rest = rest.strip()
            if not word or word.startswith("#"):
                continue
            if word == "equivalent" and rest not in self.reasons:
                last = rest
                self.reasons[last] = ""
            elif word == "why" and last is not None:
                self.reasons[last] = (self.reasons[last] + " " + rest).strip()
            elif word == "open" and re.fullmatch(r"\S+ \d+", rest):
                file, count = rest.split()
                self.open[file] = int(count)
            else:
                raise common.Wrong(f"{path.name}:{number}: {line}")

    def check(self, found):
        keys = {c.key for c in found if c.changes}
        files = {c.file for c in found}
        for key, reason in self.reasons.items():
            if key not in keys:
                raise common.Wrong(f"{KNOWN.name}: the source has no such condition (if it is "
                                   f"a similar one now, see that the reason holds): {key}")
            if not reason:
                raise common.Wrong(f"{KNOWN.name}: no reason: {key}")
        for file in self.open:
            if file not in files:
                raise common.Wrong(f"{OPEN.name}: there is no condition in {file}")


def check(args):
    found, _ = places.survey(pathlib.Path(args.root).resolve())
    known = Known()
    known.check(found)
    print(f"ok: conditions: {len(chosen(found, []))}, of which {len(known.reasons)} may be left "
          f"out and {sum(known.open.values())} have no test")


def list_all(args):
    for c in chosen(places.survey(pathlib.Path(args.root).resolve())[0], args.files):
        print(f"{c.line:5} {c.key}")


# ---- The library with all conditions -------------------------------------------------------


def mutated(text, conditions):
    """The text with each condition in its call."""
    marks = []
    for c in conditions:
        marks.append((c.start, 0, -(c.end - c.start), f"hak_mutated({c.number}u, ("))
        marks.append((c.end, -1, c.end - c.start, "))"))
    # At one place what ends comes before what begins, the inner before the outer.
    marks.sort(key=lambda m: (m[0], m[1], m[2]))
    out, last = [], 0
    for at, _, _, mark in marks:
        out += [text[last:at], mark]
        last = at
    return "".join(out) + text[last:]


def object_of(entry):
    words = shlex.split(entry["command"])
    return words[words.index("-o") + 1]


class Work:
    """The folder with the changed source, its objects and the tests."""

    def __init__(self, build, folder):
        self.build = common.Build(pathlib.Path(build))
        self.folder = pathlib.Path(folder).resolve()
        self.lock = threading.Lock()

    def survey(self):
        self.found, self.texts = places.survey(self.build.root)
        return self.found

    def compile(self, files=None, jobs=2, target="hakmem", checks=None):
        """Compiles the library, or these files of it and all that may see those that are
        headers, as the target of the build does, or with checks of another level; the objects
        by those that they stand for."""
        by_file = collections.defaultdict(list)
        for c in self.survey():
            if files is None or c.file in files:
                by_file[c.file].append(c)
        self.folder.mkdir(parents=True, exist_ok=True)
        header = self.folder / "mutated.h"
        header.write_text(RUNTIME_H)
        (self.folder / "mutated.c").write_text(RUNTIME_C)
        self.runtime = self.folder / "mutated.o"
        common.quiet(["cc", "-O1", "-fPIC", "-c", str(self.folder / "mutated.c"), "-o",
                      str(self.runtime)], "mutated.c does not compile")
        for path, text in self.texts.items():
            out = self.folder / path.relative_to(self.build.root)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(mutated(text, by_file[str(path.relative_to(self.build.root))]))
        for extra in (self.build.root / "src").rglob("*.def"):
            (self.folder / extra.relative_to(self.build.root)).write_text(extra.read_text())
        tasks, objects, sources = [], {}, set(files or ())
        some = files is not None and all(file.endswith(".c") for file in files)
        for entry in (e for entries in self.build.compiles.values() for e in entries):
            stands_for = object_of(entry)
            if f"CMakeFiles/{target}.dir/" not in stands_for:
                continue
            source = str(pathlib.Path(entry["file"]).relative_to(self.build.root))
            if not source.startswith("src/"): # the explorer's scenarios
                continue
            if some and source not in files:
                continue
            out = self.folder / (target + (checks or "") + source.replace("/", "_") + ".o")
            words = self.command(entry, out)
            words[words.index(entry["file"])] = str(self.folder / source)
            if checks is not None:
                words = [w if not w.startswith("-DHAK_CHECKS=") else f"-DHAK_CHECKS={checks}"
                         for w in words]
            tasks.append((words, entry["directory"], source))
            objects[stands_for] = out
            sources.discard(source)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda t: common.quiet(t[0], f"{t[2]} does not compile", cwd=t[1]),
                          tasks))
        sources -= {c.file for c in self.found if c.file.endswith(".h")}
        if sources:
            raise common.Wrong(f"not files of the library: {sorted(sources)}")
        (self.folder / "conditions.json").write_text(json.dumps([vars(c) for c in self.found]))
        return objects

    def command(self, entry, out):
        """The compiler's command, with the library's headers as they are with the conditions."""
        words = shlex.split(entry["command"])
        words[words.index("-o") + 1] = str(out)
        words = ["-O1" if w in ("-O2", "-O3") else
                 w.replace(f"-I{self.build.root}/src", f"-I{self.folder}/src")
                 for w in words if w != "-g"]
        return words + ["-w", "-include", str(self.folder / "mutated.h")]

    def compile_test(self, program):
        """What the program has of its own, if it sees the library's headers: they may have
        conditions; the objects by those that they stand for."""
        objects = {}
        own = f"CMakeFiles/{pathlib.Path(program).name}.dir/"
        for entry in (e for entries in self.build.compiles.values() for e in entries):
            stands_for = object_of(entry)
            if own not in stands_for or f"-I{self.build.root}/src" not in entry["command"]:
                continue
            out = self.folder / "programs" / stands_for.replace("/", "_")
            common.quiet(self.command(entry, out), f"{entry['file']} does not compile",
                         cwd=entry["directory"])
            objects[stands_for] = out
        return objects

    def program(self, test):
        command, _ = common.command_of(self.build, test)
        return self.folder / "programs" / pathlib.Path(command[0]).name

    def archive(self, name, objects):
        archive = self.folder / name
        archive.unlink(missing_ok=True)
        common.quiet(["ar", "rcs", str(archive)] + [str(o) for o in objects.values()], name)

    def link(self, program):
        """Links the program with the archives of the same names in the place of the library
        and of the hardened one."""
        try:
            words = shlex.split(self.build.link(program))
        except subprocess.CalledProcessError: # no program that the build makes
            return
        words = words[words.index("&&") + 1:] if "&&" in words else words
        words = words[:words.index("&&")] if "&&" in words else words
        out = self.folder / "programs" / pathlib.Path(program).name
        words[words.index("-o") + 1] = str(out)
        # The first one has all that the program needs.
        at = next((i for i, w in enumerate(words) if pathlib.Path(w).name in ARCHIVES), None)
        if at is None: # it has the library in another way
            return
        words[at:at + 1] = [str(self.runtime), str(self.folder / pathlib.Path(words[at]).name)]
        own = self.compile_test(program)
        words = [str(own.get(w, w)) for w in words]
        common.quiet(words, f"{out.name} does not link", cwd=self.build.folder)

    def run(self, test, variables, seconds):
        command, own = common.command_of(self.build, test)
        own.update(variables)
        with tempfile.TemporaryDirectory(prefix="hakmem-mutant-") as folder:
            return common.run_program([str(self.program(test))] + command[1:], own, seconds,
                                      pathlib.Path(folder))

    def load(self):
        self.found = []
        for values in json.loads((self.folder / "conditions.json").read_text()):
            c = places.Condition.__new__(places.Condition)
            vars(c).update(values)
            self.found.append(c)

    def seen_by(self, test):
        """(seconds, numbers) of what the test comes by with the other value than it gets."""
        with tempfile.NamedTemporaryFile() as seen:
            seen.write(bytes(65536))
            seen.flush()
            start = time.monotonic()
            how = self.run(test, {"MUTATED_SEEN": seen.name}, 120)
            took = time.monotonic() - start
            data = pathlib.Path(seen.name).read_bytes()
        if how:
            print(f"{test} fails without a mutant: {how}", flush=True)
            return None
        return took, [c.number for c in self.found if data[c.number] & (1 << (1 - c.to))]

    def fails(self, test, conditions, took):
        """How the test fails without these conditions; '' if it passes."""
        at = ",".join(f"{c.number}:{c.to}" for c in conditions)
        limit = 5 + 5 * took
        how = self.run(test, {"MUTATED_AT": at}, limit)
        if how == common.HANGS:
            # Of a machine that is busy no mutant is accused.
            start = time.monotonic()
            if self.run(test, {}, limit) or time.monotonic() - start > limit / 2:
                return ""
            how = self.run(test, {"MUTATED_AT": at}, 2 * limit)
        return how


ARCHIVES = ("libhakmem.a", "libhakmem_hardened.a")
TESTS = r"(unit|death|model)\."
NO_TESTS = r"nightly|strict|os_failures|long"


def candidates(build):
    names = [n for n in sorted(build.tests)
             if re.match(TESTS, n) and not re.search(NO_TESTS, n)]
    # Asked for one that there is not, it says which there are.
    said = subprocess.run([build.tests["explore.scenarios"][0][0], "one", "none"],
                          capture_output=True, text=True).stderr
    scenarios = [n for n in said.partition("these are:")[2].split() if "litmus" not in n]
    if not scenarios:
        raise common.Wrong(f"the explorer names no scenario: {said}")
    return names + ["explore:" + n for n in scenarios]


def build_all(args):
    work = Work(args.build, args.work)
    for name, checks in zip(ARCHIVES, (None, "3")):
        work.archive(name, work.compile(jobs=args.jobs, checks=checks))
    programs = sorted({work.build.tests[n][0][0] for n in candidates(work.build)
                       if not n.startswith("explore:")})
    (work.folder / "programs").mkdir(exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(work.link, programs))
    objects = work.compile(jobs=args.jobs, target="hakmem_explored")
    objects["mutated.c"] = work.runtime
    out = work.program("explore:")
    common.link(work.build, work.build.tests["explore.scenarios"][0][0], objects, out)


def reach(args):
    work = Work(args.build, args.work)
    work.load()
    names = [n for n in candidates(work.build) if work.program(n).exists()]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        result = {n: s for n, s in zip(names, pool.map(work.seen_by, names)) if s and s[1]}
    (work.folder / "reach.json").write_text(json.dumps(result))
    print(f"{len(result)} tests come by conditions", flush=True)


# ---- Trying -------------------------------------------------------------------------------


def near(test, file):
    """Whether it is the file's own test by its name."""
    path = pathlib.Path(file)
    return test.endswith(f".{path.parent.name}_{path.stem}")


def bisect(work, test, took, group, kill):
    """Tries all of the group at once, and parts of it if the test fails."""
    how = work.fails(test, group, took)
    if not how:
        return
    if len(group) == 1:
        kill(group[0], test, how)
        return
    # A half that hangs costs as much as the whole did: one by one then.
    step = 1 if how == common.HANGS else len(group) // 2
    for at in range(0, len(group), step):
        bisect(work, test, took, group[at:at + step], kill)


def results(folder):
    """What came of each condition, by its key; the last line counts."""
    log = folder / "tried.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    return dict(reversed(line.split(" | ", 1)) for line in lines)


def attempt(args):
    work = Work(args.build, args.work)
    work.load()
    reached = json.loads((work.folder / "reach.json").read_text())
    reached = {n: s for n, s in reached.items() if s[0] <= args.slowest}
    before, known = results(work.folder), Known()
    left = {c.number: c for c in chosen(work.found, args.files)
            if c.key not in known.reasons and not before.get(c.key, "").startswith("killed")}
    by_number, share = collections.defaultdict(list), collections.Counter()
    file_of = {c.number: c.file for c in work.found}
    for name, (_, numbers) in reached.items():
        for number in numbers:
            by_number[number].append(name)
            share[name, file_of[number]] += 1 / len(numbers)
    log = open(work.folder / "tried.txt", "a", buffering=1)

    def say(c, verdict):
        with work.lock:
            log.write(f"{verdict} | {c.key}\n")

    def kill(c, test, how):
        with work.lock:
            left.pop(c.number, None)
        say(c, f"killed {test}: {how}")

    def alone(c):
        tests = sorted(by_number[c.number], key=lambda n: (not near(n, c.file),
                                                           -share[n, c.file]))
        for test in [n for n in tests if near(n, c.file) or reached[n][0] < 1][:args.alone]:
            how = work.fails(test, [c], reached[test][0])
            if how:
                kill(c, test, how)
                return

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(alone, list(left.values())))
    # What lives lives with most tests: many at once show that soon.
    for test in sorted(reached, key=lambda n: reached[n][0]):
        numbers = set(reached[test][1])
        group = [c for c in list(left.values()) if c.number in numbers]
        groups = [group[at:at + 16] for at in range(0, len(group), 16)]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda g: bisect(work, test, reached[test][0], g, kill), groups))
    for c in left.values():
        tests = by_number[c.number]
        say(c, f"lives {len(tests)} tests" if tests else "unreached")


def counted(found, known, came, files):
    """For each file its conditions by what came of them."""
    counts = collections.defaultdict(lambda: collections.defaultdict(list))
    for c in chosen(found, files):
        word = "equivalent" if c.key in known.reasons else came.get(c.key, "untried").split()[0]
        if came.get(c.key, "").endswith(common.HANGS) and word == "killed":
            word = "hangs"
        counts[c.file][word].append(c)
    return counts


WORDS = ("killed", "hangs", "lives", "unreached", "equivalent", "untried")


def print_figures(counts):
    folders = collections.defaultdict(collections.Counter)
    for file, words in counts.items():
        for word, some in words.items():
            folders[folder_of(file)][word] += len(some)
            folders["all"][word] += len(some)
    print(f"{'':16}" + "".join(f"{w:>11}" for w in WORDS))
    for folder in sorted(folders, key=lambda f: (f == "all", f)):
        print(f"{folder:16}" + "".join(f"{folders[folder][w]:>11}" for w in WORDS))


def report(args):
    folder = pathlib.Path(args.work)
    found, _ = places.survey(pathlib.Path(args.root).resolve())
    came = results(folder)
    counts = counted(found, Known(), came, args.files)
    for words in counts.values():
        for c in words["lives"] + words["unreached"]:
            print(f"{came[c.key]:16} {c.line:4} {c.key}")
    print_figures(counts)


def limits(args):
    found, _ = places.survey(pathlib.Path(args.root).resolve())
    counts = counted(found, Known(), results(pathlib.Path(args.work)), [])
    print("# How many conditions of a file may be left out and no test fails, without a reason\n"
          "# in conditions.known. Written by conditions.py limits; see docs/internals/MUTANTS.md.")
    for file, words in counts.items():
        many = len(words["lives"]) + len(words["unreached"]) + len(words["untried"])
        if many:
            print(f"open {file} {many}")


def judge(counts, known):
    """Fails if a file has more that live than it may."""
    bad = []
    for file, words in sorted(counts.items()):
        alive, may = words["lives"] + words["unreached"], known.open.get(file, 0)
        if len(alive) > may:
            bad.append(f"{file}: {len(alive)} of its conditions can be left out and no test "
                       f"fails; {may} are known:\n" +
                       "\n".join(f"  {c.line:4} {c.key}" for c in alive))
        elif len(alive) < may:
            print(f"{file}: {len(alive)} have no test, and {OPEN.name} says {may}")
    if bad:
        raise common.Wrong("\n".join(bad))


def of_tonight(files, nights):
    """Every so manyth file, beginning with another one each day."""
    return sorted(files)[int(time.time()) // 86400 % nights::nights]


def all_of_it(args):
    with tempfile.TemporaryDirectory(prefix="hakmem-conditions-") as folder:
        args.work, args.files, args.slowest, args.alone = folder, [], 60, 4
        build_all(args)
        reach(args)
        work = Work(args.build, folder)
        work.load()
        known = Known()
        files = {c.file for c in chosen(work.found, [])}
        args.files = of_tonight(files, args.nights)
        if args.nights > 1:
            print(f"{len(args.files)} of {len(files)} files:", *args.files, flush=True)
        attempt(args)
        counts = counted(work.found, known, results(work.folder), args.files)
        print_figures(counts)
        judge(counts, known)


def sample(args):
    """Each of `pairs` is a file, a colon, and tests joined by commas."""
    pairs = {file: tests.split(",") for file, _, tests in
             (pair.partition(":") for pair in args.pairs)}
    known, came = Known(), {}
    with tempfile.TemporaryDirectory(prefix="hakmem-conditions-") as folder:
        work = Work(args.build, folder)
        # The explorer has no files of the system's.
        explored = [file for file, tests in pairs.items()
                    if any(test.startswith("explore:") for test in tests)]
        objects = {name: work.compile(files, target=name) for name, files in
                   (("hakmem", list(pairs)), ("hakmem_explored", explored)) if files}
        (work.folder / "programs").mkdir()
        seen = {}
        for test in sorted({test for tests in pairs.values() for test in tests}):
            name = "hakmem_explored" if test.startswith("explore:") else "hakmem"
            program = common.command_of(work.build, test)[0][0]
            if not work.program(test).exists():
                own = {} if name == "hakmem_explored" else work.compile_test(program)
                common.link(work.build, program,
                            {**objects[name], **own, "mutated.c": work.runtime},
                            work.program(test))
            seen[test] = work.seen_by(test)
            if seen[test] is None:
                raise common.Wrong(f"{test} fails without a mutant")

        def one(c):
            tests = [n for n in pairs[c.file] if c.number in seen[n][1]]
            came[c.key] = "lives" if tests else "unreached"
            for test in tests:
                how = work.fails(test, [c], seen[test][0])
                if how:
                    came[c.key] = f"killed {test}: {how}"
                    break

        some = [c for c in work.found if c.file in pairs and c.changes and
                c.key not in known.reasons]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(one, some))
        counts = {f: w for f, w in counted(work.found, known, came, list(pairs)).items()
                  if f in pairs}
        for words in counts.values():
            for c in words["lives"] + words["unreached"]:
                print(f"{came[c.key]:10} {c.line:4} {c.key}")
        print_figures(counts)
        judge(counts, known)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, what, places in (
            ("list", list_all, ["root", "files"]), ("check", check, ["root"]),
            ("build", build_all, ["build", "work"]), ("reach", reach, ["build", "work"]),
            ("try", attempt, ["build", "work", "files"]),
            ("report", report, ["root", "work", "files"]), ("limits", limits, ["root", "work"]),
            ("sample", sample, ["build", "pairs"]), ("all", all_of_it, ["build"])):
        command = commands.add_parser(name)
        command.set_defaults(what=what)
        command.add_argument("--jobs", type=int, default=2)
        command.add_argument("--alone", type=int, default=4,
                             help="tests that a condition is tried with before others join")
        command.add_argument("--nights", type=int, default=1,
                             help="of all: how many nights it takes to try everything")
        command.add_argument("--slowest", type=float, default=60,
                             help="seconds that a test may take to be of use")
        for place in places:
            command.add_argument(place, nargs="*" if place in ("files", "pairs") else None)
    args = parser.parse_args()
    try:
        args.what(args)
    except common.Wrong as wrong:
        print(f"FAIL: conditions: {wrong}")
        sys.exit(1)


if __name__ == "__main__":
    main()
