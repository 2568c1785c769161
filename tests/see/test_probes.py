# SPDX-License-Identifier: MIT
"""The USDT probes are in the library, when it was built where systemtap's header is."""
import os
import re
import subprocess
import sys

from see import SHIM, expect

SKIP = 77
if not os.path.exists('/usr/include/sys/sdt.h') and not os.path.exists('/usr/include/x86_64-linux-gnu/sys/sdt.h'):
    sys.exit(SKIP)
text = subprocess.run(['readelf', '-n', SHIM], capture_output=True, text=True, check=True).stdout
probes = re.findall(r'Provider: gmpshim\s+Name: (\w+)\s+Location: (\w+), Base: \w+, Semaphore: \w+\s+'
                    r'Arguments: ([^\n]*)', text)
expect({(name, len(args.split())) for name, _, args in probes} ==
       {('create', 2), ('park', 3), ('ready', 1), ('switch', 2), ('handoff', 1)}, f'{probes}')
