#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""glibc's own thread tests, native and under the shim: what passes on NPTL must pass under the shim.

glibc_tests.py --shim SO --work DIR [--procs 1,2,8] [--only RE] [--all] [-j N]

Unpacks Debian's glibc-source into DIR and builds the tests out of tree, against the system's libc: those of nptl,
sysdeps/pthread, rt and sysdeps/unix/sysv/linux that make threads (by their text, and that of what they include),
with the flags and arguments that glibc's makefiles give them. What does not build so, as it wants glibc's internal
headers or a static libc, is counted and left out; so is what slow.txt names, unless --all. What is built stays in DIR.

A test that fails under the shim is run natively twice more: if it fails there, it is unsteady by itself and only
mentioned. Exit status: 0; 1: some test passes on NPTL only; 77: no
glibc-source, or not that of the libc in use.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SKIP = 77
HERE = os.path.dirname(os.path.abspath(__file__))
DIRS = ("nptl", "sysdeps/pthread", "rt", "sysdeps/unix/sysv/linux")
MAKES_THREADS = re.compile(r"\b(x?pthread_create|thrd_create|SIGEV_THREAD|aio_(read|write|fsync)|lio_listio"
                           r"|mq_notify)\b")
# static or 32-bit twins, and what gdb drives; modules and parts of other tests
NOT_TESTS = re.compile(r"(-static|-time64|-gdb-attach|-printers|mod[0-9a-z]*|aux|-internal|common|skeleton[a-z-]*)$")
# of glibc's own headers only these, which stand alone; the rest would replace the system's
HEADERS = ("include/libc-diag.h", "include/array_length.h", "include/libc-pointer-arith.h", "include/intprops.h",
           "include/verify.h", "include/idx.h", "include/scratch_buffer.h", "sysdeps/x86_64/stackinfo.h",
           "sysdeps/generic/tst-stack-align.h", "sysdeps/nptl/internaltypes.h")
LIMIT = 150  # seconds; the tests have limits of their own, mostly 20 s


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shim", required=True)
    parser.add_argument("--work", required=True, metavar="DIR")
    parser.add_argument("--procs", default="2", help="GOMAXPROCS values, separated by commas; default 2")
    parser.add_argument("--only", default="", metavar="RE")
    parser.add_argument("--all", action="store_true", help="also what slow.txt names")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, metavar="N")
    return parser.parse_args()


def skip(why):
    print("SKIP: %s" % why)
    sys.exit(SKIP)


def source_archive():
    """The archive of glibc-source; its version must be that of the running libc."""
    archives = sorted(glob.glob("/usr/src/glibc/glibc-*.tar.*"))
    if not archives:
        skip("glibc-source is not installed (tools/setup.sh test)")
    version = os.confstr("CS_GNU_LIBC_VERSION").split()[-1]
    for archive in archives:
        if os.path.basename(archive).startswith("glibc-%s.tar" % version):
            return archive, version
    skip("glibc-source is %s, the libc in use %s" % (os.path.basename(archives[-1]), version))


def listed(name):
    """The first words of a file of this folder."""
    with open(os.path.join(HERE, name)) as f:
        return {line.split()[0] for line in f if line.strip() and not line.startswith("#")}


class Makefiles:
    """What glibc's makefiles say about single tests."""

    def __init__(self, src, bin_dir):
        self.vars = {}
        self.needs = {}
        for d in DIRS + ("sysdeps/nptl",):
            path = os.path.join(src, d, "Makefile")
            if not os.path.exists(path):
                continue
            with open(path) as f:
                text = f.read().replace("\\\n", " ")
            text = text.replace("$(objpfx)", bin_dir + "/").replace("$(stack-align-test-flags)", "")
            for var, value in re.findall(r"^((?:CFLAGS|LDFLAGS|LDLIBS)-\S+|\S+-(?:ARGS|ENV)) *[:+]?= *(.*)$", text,
                                         re.M):
                self.vars[var] = value
            for test, needs in re.findall(r"^%s/(\S+): *(.*)$" % re.escape(bin_dir), text, re.M):
                self.needs.setdefault(test, []).extend(needs.split())

    def words(self, var):
        value = self.vars.get(var, "")
        for _ in range(3):
            value = re.sub(r"\$\(([^() ]+)\)", lambda m: self.vars.get(m[1], m[0]), value)
        return value

    def flags(self, name, ext):
        """C flags and linker flags of a source file."""
        c = self.words("CFLAGS-%s%s" % (name, ext)) + " " + self.words("CFLAGS-%s.o" % name)
        ld = self.words("LDFLAGS-" + name) + " " + self.words("LDLIBS-" + name)
        return [w for w in c.split() if "$" not in w], [w for w in ld.split() if "$" not in w]

    def modules(self, name):
        """Shared modules the test is linked with."""
        return [n for n in self.needs.get(name, []) if n.endswith(".so") and "$" not in n]

    def command(self, name, exe):
        args = self.words(name + "-ARGS").replace("$(host-test-program-cmd)", exe)
        return [exe] + re.findall(r'[^\s"]+', args) if '"' not in args else [exe] + [
            a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', args)]

    def env(self, name):
        return dict(w.split("=", 1) for w in self.words(name + "-ENV").split() if "GLIBC_TUNABLES=" in w)


class Build:
    def __init__(self, opts):
        archive, self.version = source_archive()
        self.jobs = opts.j
        self.work = os.path.abspath(opts.work)
        self.src = os.path.join(self.work, "glibc-" + self.version)
        self.bin = os.path.join(self.work, "bin")
        self.obj = os.path.join(self.work, "obj")
        self.inc = os.path.join(self.work, "include")
        for d in (self.bin, self.obj, self.inc):
            os.makedirs(d, exist_ok=True)
        if not os.path.exists(os.path.join(self.src, ".unpacked")):
            leave = ["--exclude=*/%s/*" % d for d in ("benchtests", "iconvdata", "localedata", "manual", "math", "po")]
            subprocess.run(["tar", "-xf", archive, "-C", self.work] + leave, check=True)
            open(os.path.join(self.src, ".unpacked"), "w").close()
        for h in HEADERS:
            self.link_header(h)
        for h in glob.glob(os.path.join(self.src, "sysdeps/unix/sysv/linux/x86/tst-*.h")):
            self.link_header(os.path.relpath(h, self.src))
        self.make = Makefiles(self.src, self.bin)
        self.texts = {}

    def link_header(self, path):
        to = os.path.join(self.inc, os.path.basename(path))
        if not os.path.lexists(to):
            os.symlink(os.path.join(self.src, path), to)

    def compiler(self, path):
        cxx = path.endswith(".cc")
        cmd = ["g++", "-std=gnu++11"] if cxx else ["gcc", "-std=gnu11", "-fgnu89-inline"]
        cmd += ["-O2", "-w", "-D_GNU_SOURCE", "-DTIMEOUTFACTOR=1", '-DOBJPFX="%s/"' % self.bin,
                "-include", os.path.join(HERE, "include/prelude.h"),
                "-I" + os.path.join(HERE, "include"), "-I" + self.inc]
        for d in DIRS + ("support", "sysdeps/unix/sysv/linux/x86_64"):
            cmd += ["-iquote", os.path.join(self.src, d)]
        return cmd + ["-idirafter", self.src, "-idirafter", os.path.join(self.src, "support")]

    def run(self, cmd, target):
        """True when target is there. A failure is remembered, so that it is not tried again."""
        log = os.path.join(self.obj, os.path.basename(target) + ".log")
        if os.path.exists(target) or os.path.exists(log):
            return os.path.exists(target)
        tmp = target + ".tmp"
        done = subprocess.run(cmd + ["-o", tmp], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            with open(log, "wb") as f:
                f.write(done.stdout)
            return False
        os.rename(tmp, target)
        return True

    def each(self, fn, items):
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(fn, items))

    def support(self):
        lib = os.path.join(self.work, "libsupport.a")
        if os.path.exists(lib):
            return lib
        with open(os.path.join(self.src, "support/Makefile")) as f:
            text = f.read().replace("\\\n", " ")
        names = re.search(r"^libsupport-routines *= *(.*)$", text, re.M)[1].split()
        paths = ["support/%s.c" % n for n in names + ["temp_file", "support_test_main"]]
        paths += ["malloc/scratch_buffer_%s.c" % n for n in ("grow", "grow_preserve", "set_array_size", "dupfree")]
        dirs = {"SRCDIR_PATH": self.src, "OBJDIR_PATH": self.work, "INSTDIR_PATH": "/usr", "LIBDIR_PATH": "/usr/lib",
                "BINDIR_PATH": "/usr/bin", "SBINDIR_PATH": "/usr/sbin", "SLIBDIR_PATH": "/lib",
                "ROOTSBINDIR_PATH": "/sbin", "OBJDIR_ELF_LDSO_PATH": "/lib64/ld-linux-x86-64.so.2",
                "COMPLOCALEDIR_PATH": "/usr/lib/locale"}
        defs = ['-D%s="%s"' % d for d in dirs.items()] + ["-fcommon"]

        def one(path):
            source = os.path.join(self.src, path)
            target = os.path.join(self.obj, "support_" + os.path.basename(path)[:-2] + ".o")
            if os.path.exists(source) and self.run(self.compiler(source) + defs + ["-c", source], target):
                return target
            return None

        objects = [o for o in self.each(one, sorted(set(paths))) if o]
        subprocess.run(["ar", "rcs", lib + ".tmp"] + objects, check=True)
        os.rename(lib + ".tmp", lib)
        return lib

    def text(self, path, seen=()):
        """The source and the .c and skeleton files it includes."""
        if path in seen or not os.path.exists(path):
            return ""
        with open(path, errors="replace") as f:
            own = f.read()
        for name in re.findall(r'^#\s*include\s+["<]([^">]*(?:\.c|skeleton\S*\.[ch]|tst-\S+\.h))[">]', own, re.M):
            for d in (os.path.dirname(path),) + tuple(os.path.join(self.src, d) for d in DIRS) + (self.src,):
                if "test-skeleton" not in name and "test-driver" not in name and os.path.exists(os.path.join(d, name)):
                    own += self.text(os.path.normpath(os.path.join(d, name)), seen + (path,))
                    break
        return own

    def sources(self):
        found = {}
        for d in DIRS:
            for path in sorted(glob.glob(os.path.join(self.src, d, "tst-*.c*"))):
                name = os.path.splitext(os.path.basename(path))[0]
                if not NOT_TESTS.search(name) and MAKES_THREADS.search(self.text(path)):
                    found[name] = path
        return found

    def module(self, path):
        name = os.path.basename(path)
        c, ld = self.make.flags(name[:-2], ".c")
        needs = self.make.modules(name)
        target = os.path.join(self.bin, name[:-2] + ".so")
        return self.run(self.compiler(path) + c + ["-fPIC", "-shared", "-Wl,-soname," + name[:-2] + ".so", path] +
                        needs + ["-Wl,-rpath," + self.bin] + ld, target)

    def modules(self):
        paths = []
        for d in DIRS:
            paths += glob.glob(os.path.join(self.src, d, "tst-*mod[0-9a-z]*.c"))
            paths += glob.glob(os.path.join(self.src, d, "tst-*mod.c"))
        self.each(self.module, sorted(set(paths)))

    def test(self, item):
        name, path = item
        c, ld = self.make.flags(name, os.path.splitext(path)[1])
        aux = os.path.join(os.path.dirname(path), name + "aux.c")
        cmd = self.compiler(path) + c + ["-fPIE", "-pie", path] + ([aux] if os.path.exists(aux) else [])
        cmd += ["-Wl,--no-as-needed"] + self.make.modules(name) if self.make.modules(name) else []
        cmd += [os.path.join(self.work, "libsupport.a"), "-Wl,-rpath," + self.bin] + ld + ["-lresolv", "-lm"]
        return name if self.run(cmd, os.path.join(self.bin, name)) else None


class Runner:
    def __init__(self, build, sources, opts):
        self.build = build
        self.sources = sources
        self.shim = os.path.abspath(opts.shim)

    def run(self, name, procs=None):
        """(passed, text): native, or shimmed with that GOMAXPROCS."""
        env = {k: v for k, v in os.environ.items()
               if k not in ("LD_PRELOAD", "GOMAXPROCS", "GODEBUG") and not k.startswith("GMPSHIM_")}
        env.update(self.build.make.env(name), LC_ALL="C")
        if procs:
            env.update(LD_PRELOAD=self.shim, GOMAXPROCS=procs)
        exe = os.path.join(self.build.bin, name)
        with tempfile.TemporaryDirectory(prefix="glibc-test.") as tmp, tempfile.TemporaryFile() as out:
            os.chmod(tmp, 0o1777)
            env["TMPDIR"] = tmp
            # glibc runs a test in its source folder: some open "Makefile"
            proc = subprocess.Popen(self.build.make.command(name, exe), cwd=os.path.dirname(self.sources[name]),
                                    env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                    start_new_session=True)
            status = None
            try:
                status = proc.wait(LIMIT)
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(proc.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            proc.wait()
            out.seek(0)
            text = out.read().decode(errors="replace")
        return status == 0, "%s\nexit status %s\n" % (text[-3000:].strip(), status)

    def compare(self, name, all_procs):
        """pass, unsupported (natively), or a text."""
        if not self.run(name)[0]:
            return None
        bad = []
        for procs in all_procs:
            good, text = self.run(name, procs)
            if not good:
                bad.append("--- %s GOMAXPROCS=%s\n%s" % (name, procs, text))
        if bad and not all(self.run(name)[0] for _ in range(2)):
            return None
        return "".join(bad)


def main():
    opts = options()
    build = Build(opts)
    build.support()
    build.modules()
    sources = {n: p for n, p in build.sources().items() if re.search(opts.only, n)}
    slow, known = listed("slow.txt"), listed("known.txt")
    wanted = [i for i in sources.items() if opts.all or i[0] not in slow]
    names = sorted(n for n in build.each(build.test, wanted) if n)
    runner = Runner(build, sources, opts)
    results = dict(zip(names, build.each(lambda n: runner.compare(n, opts.procs.split(",")), names)))
    passed = [n for n, r in results.items() if r == ""]
    failed = {n: r for n, r in results.items() if r and n not in known}
    for text in failed.values():
        print(text)
    for n in sorted(known & set(passed)):
        print("%s passes, but known.txt says that it cannot" % n)
    print("native does not pass, or not always: %s" % " ".join(n for n, r in results.items() if r is None))
    print("glibc %s: of %d tests with threads %d are slow, %d cannot be built out of tree, %d run; "
          "%d pass on NPTL and under the shim, %d only on NPTL%s" %
          (build.version, len(sources), len(sources) - len(wanted), len(wanted) - len(names), len(names), len(passed),
           len(failed), ": " + " ".join(failed) if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
