# SPDX-License-Identifier: MIT
"""Reads the scheduler of a process that runs under libgmpshim.so, from outside and without disturbing it.

The library carries a note that leads to a table of names and offsets (core/view.c).
"""
import os
import struct

STATUS = ('idle', 'runnable', 'running', 'syscall', 'waiting', 'dead')
WAIT_FD = 1 << 63


class NoShim(Exception):
    """The process does not run under the library, or may not be looked at."""


def find_note(data):
    """The address of the table, as in the ELF file `data`."""
    phoff, = struct.unpack_from('<Q', data, 32)
    phentsize, phnum = struct.unpack_from('<HH', data, 54)
    for i in range(phnum):
        kind, _, offset, vaddr, _, size = struct.unpack_from('<IIQQQQ', data, phoff + i * phentsize)
        at = 0
        while kind == 4 and at + 12 <= size:  # PT_NOTE
            namesz, descsz, _ = struct.unpack_from('<III', data, offset + at)
            desc = at + 12 + (namesz + 3 & ~3)
            if data[offset + at + 12:offset + at + 12 + namesz] == b'GMPSHIM\0':
                return vaddr + desc + struct.unpack_from('<q', data, offset + desc)[0]
            at = desc + (descsz + 3 & ~3)
    raise NoShim('the library has no table for tools')


class Process:
    """A live process; every number is read anew when it is asked for."""

    def __init__(self, pid, writable=False):
        self.pid = pid
        try:
            base, path = self.library()
            with open(f'/proc/{pid}/root{path}', 'rb') as f:
                table = base + find_note(f.read())
            self.mem = open(f'/proc/{pid}/mem', 'r+b' if writable else 'rb', buffering=0)
        except OSError as e:
            raise NoShim(f'process {pid}: {e.strerror}') from None
        self.view = {}
        while True:
            name, value = struct.unpack('<24sQ', self.read(table, 32))
            if name[0] == 0:
                break
            self.view[name.rstrip(b'\0').decode()] = value
            table += 32

    def library(self):
        with open(f'/proc/{self.pid}/maps', encoding='utf-8', errors='replace') as f:
            for line in f:
                words = line.split(None, 5)
                if len(words) == 6 and 'libgmpshim' in words[5] and words[2].strip('0') == '':
                    return int(words[0].split('-')[0], 16), words[5].rstrip('\n')
        raise NoShim(f'process {self.pid} does not run under libgmpshim.so')

    def close(self):
        self.mem.close()

    def read(self, address, size):
        try:
            data = os.pread(self.mem.fileno(), size, address)
        except (OSError, OverflowError):
            raise NoShim(f'process {self.pid} cannot be read') from None
        if len(data) != size:
            raise NoShim(f'process {self.pid} has ended')
        return data

    def write(self, address, data):
        try:
            os.pwrite(self.mem.fileno(), data, address)
        except OSError:
            raise NoShim(f'process {self.pid} has ended') from None

    def number(self, base, name, form='<Q'):
        return struct.unpack(form, self.read(base + self.view[name], struct.calcsize(form)))[0]

    def sched(self, name, form='<i'):
        return self.number(self.view['sched'], name, form)

    def text(self, address, size=40):
        if address == 0:
            return ''
        try:
            return self.read(address, size).split(b'\0')[0].decode(errors='replace')
        except NoShim:
            return '?'

    def procs(self):
        """Dicts of the Ps."""
        n = self.sched('sched.gomaxprocs')
        table = struct.unpack(f'<{n}Q', self.read(self.view['sched'] + self.view['sched.allp'], 8 * n))
        for p in table:
            block = self.read(p, self.view['sizeof.p'])
            yield {name[2:]: struct.unpack_from('<Q' if name[2:] in ('m', 'created', 'switches', 'steals', 'preempts')
                                                else '<I', block, offset)[0]
                   for name, offset in self.view.items() if name.startswith('p.')}

    def machines(self):
        m = self.sched('sched.allm', '<Q')
        forms = {'id': '<i', 'tid': '<i', 'idlewait': '<I'}
        while m != 0:
            block = self.read(m, self.view['sizeof.m'])
            yield {name[2:]: struct.unpack_from(forms.get(name[2:], '<Q'), block, offset)[0]
                   for name, offset in self.view.items() if name.startswith('m.')}
            m = struct.unpack_from('<Q', block, self.view['m.alllink'])[0]

    def gs(self):
        """Dicts of the living Gs, newest first."""
        g = self.sched('sched.allg', '<Q')
        forms = {'status': '<I', 'tid': '<i', 'running': '<I', 'waitsince': '<q', 'name': '<16s'}
        fields = [(name[2:], offset, forms.get(name[2:], '<Q'))
                  for name, offset in self.view.items() if name.startswith('g.')]
        while g != 0:
            block = self.read(g, self.view['sizeof.g'])
            one = {name: struct.unpack_from(form, block, offset)[0] for name, offset, form in fields}
            one['name'] = one['name'].split(b'\0')[0].decode(errors='replace')
            if one['status'] not in (0, 5):
                yield one
            g = one['alllink']
