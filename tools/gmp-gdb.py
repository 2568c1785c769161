# SPDX-License-Identifier: MIT
"""gdb commands for programs under libgmpshim.so: info gthreads, gthread N, gthread apply all|N... COMMAND.

A parked thread (a G without a kernel thread) is shown by an unwinder that makes its saved registers the caller of the
current kernel thread's innermost frame, so that bt, up and print work in it, also on core files: frame 0 is that of the
kernel thread, frame 1 the innermost of the G. `gthread 0` ends that. Nothing in the program is changed.
"""
import struct

import gdb
import gdb.unwinder

STATUS = ('idle', 'runnable', 'running', 'syscall', 'waiting', 'dead')
SAVED = ('r15', 'r14', 'r13', 'r12', 'rbx', 'rbp', 'rip')  # above the control words at a saved stack pointer


def read(address, form):
    data = gdb.selected_inferior().read_memory(address, struct.calcsize(form)).tobytes()
    return struct.unpack(form, data)


class View:
    """The library's table of names and offsets."""

    def __init__(self):
        self.table = {}
        name, text_at = self.library()
        with open(name, 'rb') as f:
            data = f.read()
        at = self.note(data) + text_at - self.text(data)
        while True:
            key, value = read(at, '<24sQ')
            if key[0] == 0:
                break
            self.table[key.rstrip(b'\0').decode()] = value
            at += 32

    @staticmethod
    def library():
        for line in gdb.execute('info sharedlibrary', to_string=True).splitlines():
            words = line.split()
            if words and 'libgmpshim' in words[-1] and words[0].startswith('0x'):
                return words[-1], int(words[0], 16)
        raise gdb.GdbError('libgmpshim.so is not in this program.')

    @staticmethod
    def note(data):
        phoff, = struct.unpack_from('<Q', data, 32)
        phentsize, phnum = struct.unpack_from('<HH', data, 54)
        for i in range(phnum):
            kind, _, offset, vaddr, _, size = struct.unpack_from('<IIQQQQ', data, phoff + i * phentsize)
            at = 0
            while kind == 4 and at + 12 <= size:
                namesz, descsz, _ = struct.unpack_from('<III', data, offset + at)
                desc = at + 12 + (namesz + 3 & ~3)
                if data[offset + at + 12:offset + at + 12 + namesz] == b'GMPSHIM\0':
                    return vaddr + desc + struct.unpack_from('<q', data, offset + desc)[0]
                at = desc + (descsz + 3 & ~3)
        raise gdb.GdbError('This libgmpshim.so has no table for gdb.')

    @staticmethod
    def text(data):
        """The address of .text in the file: where `info sharedlibrary` says that the library begins."""
        shoff, = struct.unpack_from('<Q', data, 40)
        shentsize, shnum, shstrndx = struct.unpack_from('<HHH', data, 58)
        sections = [struct.unpack_from('<IIQQQQ', data, shoff + i * shentsize) for i in range(shnum)]
        names = sections[shstrndx][4]
        for name, _, _, addr, _, _ in sections:
            if data[names + name:names + name + 6] == b'.text\0':
                return addr
        raise gdb.GdbError('libgmpshim.so has no .text')

    def field(self, base, name, form='<Q'):
        return read(base + self.table[name], form)[0]


class G:
    def __init__(self, view, address):
        self.view, self.address = view, address
        self.goid = view.field(address, 'g.goid')
        self.status = view.field(address, 'g.status', '<I')
        self.m = view.field(address, 'g.m') if self.status in (2, 3) else 0
        self.name = view.field(address, 'g.name', '<16s').split(b'\0')[0].decode(errors='replace')

    def state(self):
        reason = self.view.field(self.address, 'g.waitreason')
        if self.status != 4 or reason == 0:
            return STATUS[self.status]
        return gdb.selected_inferior().read_memory(reason, 40).tobytes().split(b'\0')[0].decode(errors='replace')

    def lwp(self):
        return self.view.field(self.m, 'm.tid', '<i') if self.m != 0 else 0

    def start(self):
        fn = self.view.field(self.address, 'g.start_fn')
        if fn == 0:
            return 'main'
        block = gdb.block_for_pc(fn)
        if block is not None and block.function is not None:
            return str(block.function)
        symbol = gdb.execute(f'info symbol {fn:#x}', to_string=True)
        return f'{fn:#x}' if symbol.startswith('No symbol') else symbol.split()[0]

    def registers(self):
        """What arch_switch saved, as it will be after its return."""
        sp = self.view.field(self.address, 'g.sp')
        regs = dict(zip(SAVED, read(sp + 8, '<7Q')))
        regs['rsp'] = sp + 64
        return regs


def all_gs():
    view = View()
    g = view.field(view.table['sched'], 'sched.allg')
    found = []
    while g != 0:
        one = G(view, g)
        if one.status not in (0, 5):
            found.append(one)
        g = view.field(g, 'g.alllink')
    if not found:  # there is always the main one
        raise gdb.GdbError("This core file lacks the threads: gdb's gcore leaves out memory with guard pages "
                           '(MADV_GUARD_INSTALL); one of the kernel has all.')
    found.reverse()
    return found


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class ParkedUnwinder(gdb.unwinder.Unwinder):
    """While a parked G is selected: its registers for the caller of the innermost frame."""

    def __init__(self):
        super().__init__('gmpshim-parked-g')
        self.registers = None
        self.at = None

    def select(self, registers):
        self.registers = None
        gdb.invalidate_cached_frames()
        if registers is not None:
            frame = gdb.newest_frame()
            self.at = int(frame.read_register('rsp')), int(frame.read_register('rip'))
            self.registers = registers
            gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.registers is None:
            return None
        sp, pc = pending.read_register('rsp'), pending.read_register('rip')
        if (int(sp), int(pc)) != self.at:
            return None
        # The lowest address: gdb stops where a caller's frame lies below that of the one it called.
        info = pending.create_unwind_info(FrameId(gdb.Value(16).cast(sp.type), pc))
        for name, value in self.registers.items():
            info.add_saved_register(name, gdb.Value(value).cast(pending.read_register(name).type))
        return info


parked = ParkedUnwinder()
gdb.unwinder.register_unwinder(None, parked, replace=True)
gdb.events.cont.connect(lambda event: parked.select(None) if parked.registers is not None else None)
selected = [None]


def select(g):
    """True when frame 0 is not the G's own."""
    parked.select(None)
    if g.m == 0:
        parked.select(g.registers())
        return True
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == g.lwp():
            thread.switch()
            return False
    raise gdb.GdbError(f'gthread {g.goid} runs on kernel thread {g.lwp()}, which gdb does not have.')


class InfoGthreads(gdb.Command):
    """List the threads of a program under libgmpshim.so: number, state, kernel thread, name, start function."""

    def __init__(self):
        super().__init__('info gthreads', gdb.COMMAND_STATUS)

    def invoke(self, arg, from_tty):
        for g in all_gs():
            where = f' on LWP {g.lwp()}' if g.m != 0 else ''
            name = f' "{g.name}"' if g.name else ''
            mark = '*' if g.goid == selected[0] else ' '
            print(f'{mark} {g.goid:<6} [{g.state()}]{where}{name} {g.start()}')


class Gthread(gdb.Command):
    """gthread N: select thread N of `info gthreads`; gthread 0: back; gthread apply all|N... COMMAND."""

    def __init__(self):
        super().__init__('gthread', gdb.COMMAND_RUNNING)

    def invoke(self, arg, from_tty):
        words = arg.split()
        if words[:1] == ['apply']:
            self.apply(words[1:])
        elif len(words) == 1 and words[0].isdigit():
            self.go(int(words[0]))
        else:
            raise gdb.GdbError(self.__doc__)

    @staticmethod
    def go(number):
        if number == 0:
            selected[0] = None
            parked.select(None)
            return
        for g in all_gs():
            if g.goid == number:
                if select(g):
                    gdb.execute('frame 1')
                else:
                    gdb.execute('frame')
                selected[0] = number
                return
        raise gdb.GdbError(f'There is no gthread {number}.')

    def apply(self, words):
        numbers = set()
        everybody = words[:1] == ['all']
        at = 1 if everybody else 0
        while not everybody and at < len(words) and words[at].isdigit():
            numbers.add(int(words[at]))
            at += 1
        if at == len(words) or not (everybody or numbers):
            raise gdb.GdbError(self.__doc__)
        thread = gdb.selected_thread()
        try:
            for g in all_gs():
                if everybody or g.goid in numbers:
                    print(f'\nGthread {g.goid} [{g.state()}]{" " + g.name if g.name else ""}:')
                    try:
                        if select(g):
                            gdb.execute('up-silently')
                        gdb.execute(' '.join(words[at:]))
                    except gdb.error as e:
                        print(f'  {e}')
        finally:
            parked.select(None)
            selected[0] = None
            if thread is not None and thread.is_valid():
                thread.switch()


InfoGthreads()
Gthread()
