# SPDX-License-Identifier: MIT
"""The man pages: no complaint of the formatter, and every option and variable is in them."""
import os
import re
import shutil
import subprocess
import sys

from see import expect

TOOLS = os.environ['GMP_TOOLS']
pages = {}
for name in ('gmprun.1', 'gmpshim.7'):
    with open(f'{TOOLS}/{name}', encoding='utf-8') as f:
        pages[name] = f.read()
    if shutil.which('groff'):
        r = subprocess.run(['groff', '-man', '-Tutf8', '-ww', '-z', f'{TOOLS}/{name}'], capture_output=True, text=True,
                           check=False)
        expect(r.returncode == 0 and r.stderr == '', f'{name}: {r.stderr}')
    for title in ('NAME', 'SYNOPSIS', 'DESCRIPTION', 'SEE ALSO'):
        expect(re.search(rf'^\.SH "?{title}"?$', pages[name], re.M), f'{name}: no section {title}')
usage = subprocess.run([os.environ['GMP_RUN'], '--help'], capture_output=True, text=True, check=True).stdout
usage += subprocess.run([sys.executable, f'{TOOLS}/gmpcompare.py', '--shim', 'x', '--help'], capture_output=True,
                        text=True, check=True).stdout
plain = pages['gmprun.1'].replace('\\-', '-')
for option in set(re.findall(r'(?<![\w-])--?[a-zA-Z][a-z]*', usage)) - {'-h', '--help', '--shim'}:
    expect(option in plain, f'gmprun.1 does not tell of {option}')
for root, _, names in os.walk(f'{TOOLS}/../preload'):
    for name in names:
        with open(os.path.join(root, name), encoding='utf-8') as f:
            for variable in re.findall(r'gmp_getenv\("(\w+)"\)', f.read()):
                expect(variable in pages['gmpshim.7'], f'gmpshim.7 does not tell of {variable}')
