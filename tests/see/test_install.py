# SPDX-License-Identifier: MIT
"""meson install into a folder: everything is there, and the installed gmprun finds its library and its tools."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from see import WAITS, expect

SKIP = 77
BUILD, PREFIX, LIBDIR = (os.environ[n] for n in ('GMP_BUILD', 'GMP_PREFIX', 'GMP_LIBDIR'))
if shutil.which('meson') is None:
    sys.exit(SKIP)


def run(*args, **env):
    clean = {k: v for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'GOMAXPROCS', 'LD_LIBRARY_PATH')}
    return subprocess.run(args, input='\n', capture_output=True, text=True, timeout=100, check=False,
                          env={**clean, **env})


with tempfile.TemporaryDirectory() as d:
    r = run('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', d)
    expect(r.returncode == 0, f'{r}')
    root = d + PREFIX
    library = f'{root}/{LIBDIR}/libgmpshim.so'
    for name in (library, f'{root}/bin/gmprun', f'{root}/include/gmpshim.h', f'{root}/share/man/man1/gmprun.1',
                 f'{root}/share/man/man7/gmpshim.7', f'{root}/{LIBDIR}/pkgconfig/gmpshim.pc',
                 f'{root}/share/gdb/auto-load{PREFIX}/{LIBDIR}/libgmpshim.so-gdb.py',
                 *(f'{root}/libexec/gmpshim/gmp{n}.py' for n in ('compare', 'look', 'plot', 'top', 'trace', '-gdb'))):
        expect(os.path.exists(name), f'{name} was not installed')
    r = run(f'{root}/bin/gmprun', '-p', '2', '-s', '--', WAITS, '8')
    expect(r.returncode == 0 and r.stdout == 'ready\nbye\n' and 'gs_made 8' in r.stderr, f'{r}')
    r = run(f'{root}/bin/gmprun', '--', sys.executable, '-c', 'import os; print(os.environ["LD_PRELOAD"])')
    expect(r.stdout == os.path.realpath(library) + '\n', f'another library: {r}')
    for tool in ('top', 'trace'):
        r = run(f'{root}/bin/gmprun', tool, str(os.getpid()))
        expect(r.returncode == 1 and 'does not run under libgmpshim.so' in r.stderr, f'{r}')
    r = run(f'{root}/bin/gmprun', 'compare')
    expect(r.returncode == 2 and 'no server' in r.stderr, f'{r}')
    for compiler, suffix, standard in (('gcc', 'c', 'c89'), ('g++', 'cc', 'c++98')):  # old programs are what it is for
        if shutil.which(compiler):
            with open(f'{d}/live.{suffix}', 'w', encoding='utf-8') as f:
                f.write('#include <gmpshim.h>\nint main(void) { return gmpshim_live(); }\n')
            r = run(compiler, f'-std={standard}', '-pedantic', '-Wall', '-Werror', f'-I{root}/include', '-o',
                    f'{d}/live', f'{d}/live.{suffix}')
            expect(r.returncode == 0, f'gmpshim.h with {standard}: {r.stderr}')
            expect((run(f'{d}/live').returncode, run(f'{root}/bin/gmprun', f'{d}/live').returncode) == (0, 1),
                   f'gmpshim_live() with {standard}')
    if shutil.which('pkg-config'):
        r = run('pkg-config', '--variable=preload', 'gmpshim', PKG_CONFIG_PATH=f'{root}/{LIBDIR}/pkgconfig')
        expect(re.fullmatch(rf'{PREFIX}/{LIBDIR}/libgmpshim.so\n', r.stdout), f'{r}')
