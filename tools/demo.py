#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gmprun compare on a thread-per-connection server that is set up here: MariaDB or tinyproxy.

Started by run-demo.sh. Server, load generator and checks run on loopback, out of a temporary
folder; nothing of them is left however this ends. Only the server of the shim's rounds sees
LD_PRELOAD and GOMAXPROCS. The server's answers are checked before, during and after the load; a
wrong one ends the demo with status 1.
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import resource
import socket
import subprocess
import sys
import time
import urllib.request

import gmpcompare
from gmpcompare import Failed, expect, positive

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60


def client(command, sql, timeout_s=60):
    """Feeds sql to a short-lived command-line client and returns what it prints."""
    try:
        r = subprocess.run(command, input=sql, text=True, capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Failed(f'a client got no answer within {timeout_s} s: {sql[:60]}') from None
    expect(r.returncode == 0, f'a client failed: {r.stderr.strip()}')
    return r.stdout


def in_parallel(function, count):
    pool = concurrent.futures.ThreadPoolExecutor(count)
    try:
        for done in [pool.submit(function) for _ in range(count)]:
            done.result()
    finally:
        # No wait: after a failure the rest ends when the server is killed.
        pool.shutdown(wait=False, cancel_futures=True)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_for_port(port, child):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        expect(child.poll() is None, f'the server ended at its start, status {child.poll()}')
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failed(f'the server did not listen within {START_TIMEOUT_S} s')


class MariaDB:
    """MariaDB with one thread per connection; sysbench's point selects over TCP."""

    title = 'MariaDB, --thread-handling=one-thread-per-connection; sysbench oltp_point_select'
    TABLES, ROWS, CHECK_ROWS = 4, 10000, 2000
    WRITERS, INCREMENTS = 32, 50

    def __init__(self, work, conns, secs, children):
        self.work, self.conns, self.secs, self.children = work, conns, secs, children
        self.port = free_port()
        self.client = ['mariadb', '--no-defaults', '-uroot', '-h127.0.0.1', f'-P{self.port}', '-NB']
        self.user = ['--user=root'] if os.geteuid() == 0 else []
        self.digests = ''.join(f'{i}\t{hashlib.md5(str(i).encode()).hexdigest()}\n'
                               for i in range(1, self.CHECK_ROWS + 1))
        self.sums = None

    def command(self):
        return ['mariadbd', '--no-defaults', *self.user, f'--datadir={self.work}/data',
                f'--socket={self.work}/s', f'--port={self.port}', '--bind-address=127.0.0.1',
                f'--pid-file={self.work}/pid', '--thread-handling=one-thread-per-connection',
                f'--max-connections={self.conns + 100}', f'--back-log={self.conns + 100}',
                '--max-prepared-stmt-count=1000000', '--innodb-log-file-size=16M',
                '--skip-log-bin', '--skip-name-resolve']

    def sysbench(self, *extra):
        return ['sysbench', 'oltp_point_select', '--mysql-host=127.0.0.1',
                f'--mysql-port={self.port}', '--mysql-user=root', '--mysql-db=sbtest',
                f'--tables={self.TABLES}', f'--table-size={self.ROWS}', *extra]

    def sql(self, text):
        return client(self.client, text)

    def set_up(self, log):
        """Fills the data folder; the server for this runs on NPTL."""
        self.children.run(['mariadb-install-db', '--no-defaults', *self.user,
                           f'--datadir={self.work}/data', '--skip-test-db', '--skip-name-resolve',
                           '--auth-root-authentication-method=normal'], log, 120)
        server = self.children.start(self.command(), log)
        wait_for_port(self.port, server)
        self.sql('create database sbtest; create database t; use t;'
                 'create table counter (id int primary key, n int) engine=innodb;'
                 'insert into counter select seq, 0 from seq_1_to_8;'
                 'create table digest (id int primary key, h char(32)) engine=innodb;'
                 f'insert into digest select seq, md5(seq) from seq_1_to_{self.CHECK_ROWS};')
        self.children.run(self.sysbench('prepare'), log, 120)
        self.sums = self.checksums()
        stop(server)

    def checksums(self):
        tables = ','.join(f'sbtest.sbtest{i + 1}' for i in range(self.TABLES))
        return self.sql(f'checksum table {tables} extended')

    def read_check(self):
        expect(self.sql('select id, h from t.digest order by id') == self.digests,
               'a select returned wrong rows')

    def write_check(self):
        """Concurrent increments of a few rows: none may be lost."""
        self.sql('update t.counter set n = 0')
        updates = ''.join(f'update t.counter set n = n + 1 where id = {1 + i % 8};\n'
                          for i in range(self.INCREMENTS))
        in_parallel(lambda: self.sql(updates), self.WRITERS)
        total = int(self.sql('select sum(n) from t.counter'))
        expect(total == self.WRITERS * self.INCREMENTS, f'lost updates: the sum is {total}')

    def check_before(self):
        in_parallel(self.read_check, 8)
        self.write_check()

    check_during = read_check

    def check_after(self):
        self.read_check()
        expect(self.checksums() == self.sums, 'a table changed under a read-only load')

    def load_command(self):
        return self.sysbench(f'--threads={self.conns}', f'--time={self.secs}', '--histogram',
                             'run')

    parse = staticmethod(gmpcompare.parse_load)


class Tinyproxy:
    """tinyproxy, a thread for each connection, before an event-driven nginx; wrk as the load."""

    title = 'tinyproxy, a new thread for each request, before nginx; wrk'
    BODY = hashlib.sha512(b'demo').hexdigest() * 8
    BIG = b''.join(hashlib.sha512(b'%d' % i).digest() for i in range(80000))
    NGINX = '''daemon off; master_process off; pid %(work)s/nginx.pid; error_log %(work)s/log crit;
worker_rlimit_nofile 65536;
events { worker_connections 16384; }
http {
	access_log off; keepalive_requests 1000000;
	client_body_temp_path %(work)s/b; proxy_temp_path %(work)s/p; fastcgi_temp_path %(work)s/f;
	uwsgi_temp_path %(work)s/u; scgi_temp_path %(work)s/s;
	server { listen 127.0.0.1:%(backend)d backlog=4096; root %(work)s/www; }
}
'''
    PROXY = '''Port %(port)d
Listen 127.0.0.1
Timeout 60
MaxClients %(clients)d
LogLevel Critical
'''
    # Every body is compared. wrk counts a read error when tinyproxy closes a connection, as it
    # does after each answer; those are no failures.
    WRK = '''wrk.path = "http://127.0.0.1:%(backend)d/small"
local want = "%(body)s"
local threads = {}
function setup(t) table.insert(threads, t) end
function init() good, bad = 0, 0 end
function response(status, headers, body)
	if status == 200 and body == want then good = good + 1 else bad = bad + 1 end
end
function done(summary, latency)
	local good, bad, e = 0, 0, summary.errors
	for _, t in ipairs(threads) do good = good + t:get("good"); bad = bad + t:get("bad") end
	print(string.format("RESULT %%d %%d %%f %%f %%f", good, bad + e.connect + e.status + e.timeout,
		good / (summary.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
'''

    def __init__(self, work, conns, secs, children):
        self.work, self.conns, self.secs, self.children = work, conns, secs, children
        self.port, self.backend = free_port(), free_port()

    def write(self, name, text):
        with open(f'{self.work}/{name}', 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())

    def set_up(self, log):
        names = {'work': self.work, 'port': self.port, 'backend': self.backend, 'body': self.BODY,
                 'clients': self.conns + 50}
        os.mkdir(f'{self.work}/www')
        self.write('www/small', self.BODY)
        self.write('www/big', self.BIG)
        self.write('nginx.conf', self.NGINX % names)
        self.write('proxy.conf', self.PROXY % names)
        self.write('load.lua', self.WRK % names)
        nginx = self.children.start(['nginx', '-p', self.work, '-e', f'{self.work}/log',
                                     '-c', f'{self.work}/nginx.conf'], log)
        wait_for_port(self.backend, nginx)

    def command(self):
        return ['tinyproxy', '-d', '-c', f'{self.work}/proxy.conf']

    def get(self, name):
        proxy = urllib.request.ProxyHandler({'http': f'http://127.0.0.1:{self.port}'})
        url = f'http://127.0.0.1:{self.backend}/{name}'
        with urllib.request.build_opener(proxy).open(url, timeout=30) as answer:
            return answer.read()

    def read_check(self):
        try:
            same = self.get('big') == self.BIG
        except OSError as e:
            raise Failed(f'a download failed: {e}') from None
        expect(same, 'a 5 MB download came back changed')

    def check_before(self):
        in_parallel(self.read_check, 8)

    check_during = read_check
    check_after = read_check

    def load_command(self):
        return ['wrk', '-t2', f'-c{self.conns}', f'-d{self.secs}s', '--timeout', '10s',
                '-s', f'{self.work}/load.lua', f'http://127.0.0.1:{self.port}']

    @staticmethod
    def parse(text):
        good, bad, rate, p50, p99 = re.search(r'^RESULT (.*)$', text, re.MULTILINE)[1].split()
        expect(int(bad) == 0, f'{bad} of {int(good) + int(bad)} answers were wrong or missing')
        return {'requests': int(good), 'rate': float(rate), 'p50': float(p50), 'p99': float(p99)}


def stop(server):
    expect(server.poll() is None, f'the server died, status {server.poll()}')
    server.terminate()
    try:
        status = server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Failed(f'the server was still there {STOP_TIMEOUT_S} s after SIGTERM') from None
    expect(status == 0, f'the server ended with status {status} after SIGTERM')


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--shim', required=True)
    p.add_argument('--server', choices=('mariadb', 'tinyproxy'), default='mariadb')
    p.add_argument('--conns', type=positive, default=256)
    p.add_argument('--secs', type=positive, default=6)
    p.add_argument('--rounds', type=positive, default=3)
    p.add_argument('--procs', type=positive, default=len(os.sched_getaffinity(0)))
    p.add_argument('--html', default='gmprun-compare.html')
    args = p.parse_args()
    args.shim = os.path.realpath(args.shim)
    if not os.path.exists(args.shim):
        p.error(f'{args.shim}: no such file')
    return args


def run(args, children, work, log):
    kind = {'mariadb': MariaDB, 'tinyproxy': Tinyproxy}[args.server](work, args.conns, args.secs, children)
    print(f'{kind.title}\n{args.conns} connections, {args.rounds} rounds of {args.secs} s each, '
          f'GOMAXPROCS={args.procs}, {os.cpu_count()} CPUs, Linux {os.uname().release}', flush=True)
    kind.set_up(log)
    plan = gmpcompare.Plan(args.shim, kind.command(), kind.load_command(), title=kind.title, rounds=args.rounds,
                           procs=args.procs, timeout=args.secs + 90, before=kind.check_before,
                           during=kind.check_during, after=kind.check_after, parse=kind.parse, status=(0,))
    rows = gmpcompare.run(plan, children, log, work)
    gmpcompare.print_table(rows)
    gmpcompare.write_reports(plan, rows, args.html, None)
    # The proof that the shim carried the connections: far fewer kernel threads than there are.
    peak = max(r['threads'] for r in rows['shim'])
    if peak >= args.conns / 2:
        print(f'But the shim used {peak} kernel threads for {args.conns} connections: it did not carry them.')
        return 1
    print('Every answer that was checked was right.')
    return 0


def main():
    args = arguments()
    for name in ('LD_PRELOAD', 'GOMAXPROCS'):
        os.environ.pop(name, None)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return gmpcompare.guarded(lambda children, work, log: run(args, children, work, log), 'demo')


if __name__ == '__main__':
    sys.exit(main())
