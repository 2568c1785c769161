# SPDX-License-Identifier: MIT
"""Dumps: on SIGQUIT, on a signal of the user's, after a crash, and of a deadlock."""
import re
import resource
import signal

from see import Waits, expect

HEAD = re.compile(r'^goroutine (\d+)(?: "([^"]*)")? \[([^\]]+)\](.*):$', re.M)
COUNT = re.compile(r'^(\d+) goroutines with this stack:$', re.M)


def check_gs(text, n):
    heads = HEAD.findall(text)
    expect(len(heads) == n + 1, f'{len(heads)} goroutines, not {n + 1}')
    expect(len({h[0] for h in heads}) == n + 1, 'a goroutine twice')
    expect(f'gmpshim: {n + 1} goroutines' in text, 'the head counts otherwise')
    whys = {h[2].split(',')[0] for h in heads}
    for why in ('cond wait', 'semaphore', 'IO wait', 'sleep', 'running', 'mutex lock'):
        expect(why in whys, f'no goroutine is in [{why}]')
    locked = [h for h in heads if h[2].startswith('mutex lock')]
    expect(all(re.fullmatch(r'[a-zA-Z ]+(, \d+ minutes)?(, locked to thread)?', h[2]) for h in heads),
           'a state is not as Go prints it')
    expect(all(re.fullmatch(r'( for \d+ m?s)? on 0x[0-9a-f]+ held by goroutine 1', h[3]) for h in locked),
           'lock or owner is missing')
    expect(any(h[1] == 'semmy' for h in heads), 'a name is missing')
    expect(re.search(r'\[IO wait[^\]]*\](?: for \d+ m?s)? fd \d+ peer unix:', text), 'no fd and peer')
    left = re.search(r'\[sleep[^\]]*\](?: for \d+ m?s)?, (\d+) minutes left:', text)
    expect(left and left[1] in ('15', '16'), 'no sleep left')
    return heads


def check_stacks(text, n):
    blocks = text.split('\n\n')
    waiting = [b for b in blocks if 'wait_mutex+0x' in b]
    expect(len(waiting) == 1 and int(COUNT.match(waiting[0])[1]) == n - 5, 'equal stacks are not one group')
    expect(waiting[0].count('deep_in_program+0x') == 4, 'frames are missing:\n' + waiting[0])
    expect(re.search(r'^created by main\+0x[0-9a-f]+ in goroutine 1$', waiting[0], re.M), 'who created it?')
    for function in ('wait_cond', 'wait_sem', 'wait_socket', 'wait_sleep', 'burn', 'main'):
        expect(re.search(rf'^{function}\+0x', text, re.M), f'no frame of {function}')
    expect(re.search(r'^  P1: status=', text, re.M) and re.search(r'^  M0: ', text, re.M), 'no Ps or Ms')


def quit_signal():
    waits = Waits('1000')
    waits.child.send_signal(signal.SIGQUIT)
    status, out, err = waits.end(go=False)
    expect(status == -signal.SIGQUIT and out == '', f'status {status}, stdout {out!r}')
    check_gs(err, 1000)
    check_stacks(err, 1000)


def own_signal():
    waits = Waits('30', GMPSHIM_DUMP_SIGNAL='USR1')
    for _ in range(2):
        waits.child.send_signal(signal.SIGUSR1)
        text = '\n'.join(waits.lines('^  M0: ')) + '\n'
        check_gs(text, 30)
        check_stacks(text, 30)
    status, out, _ = waits.end()
    expect(status == 0 and out == 'bye\n', f'after the dump: status {status}, stdout {out!r}')


def crash(how, signo, function):
    status, _, err = Waits('12', how).end()
    expect(status == -signo, f'{how}: status {status}')
    check_gs(err, 12)
    first = err.split('\n\n')[1]
    expect(f'signal {int(signo)} here' in first and re.search(rf'^{function}\+0x', first, re.M),
           f'{how}: the first stack is not the one that crashed:\n{first}')


def off():
    status, _, err = Waits('12', 'crash', GOTRACEBACK='none').end()
    expect(status == -signal.SIGSEGV and err == '', f'GOTRACEBACK=none: status {status}, stderr {err!r}')


def owners():
    waits = Waits('12', 'rwlock')
    waits.child.send_signal(signal.SIGQUIT)
    status, _, err = waits.end(go=False)
    expect(status == -signal.SIGQUIT, f'status {status}')
    expect(re.search(r'^goroutine 14 \[rwlock read\](?: for \d+ m?s)? on 0x[0-9a-f]+ held by goroutine 1:$', err, re.M),
           'rwlock: ' + err)


def deadlock():
    waits = Waits('10', 'deadlock')
    text = '\n'.join(waits.lines('^  M0: '))
    expect('warning: all threads are asleep - deadlock?' in text, text)
    expect(re.search(r'^goroutine 1 \[join.*the end of goroutine 11:$', text, re.M), 'main\'s wait: ' + text)
    waits.child.kill()
    waits.end(go=False)


resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
quit_signal()
own_signal()
crash('crash', signal.SIGSEGV, 'fault_here')
crash('abort', signal.SIGABRT, 'abort')
off()
owners()
deadlock()
