# SPDX-License-Identifier: MIT
"""The programs of run_apps.py: how each is started, driven, verified and loaded.

drive(run) checks every byte that comes back and returns the number of operations. load(run, seconds), where there is
one, makes the operations that are timed, with a faster client than this one; without it drive is timed.
"""
import gzip
import lzma
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time

DEADLINE = 60  # seconds for one step: a hang, not slowness
CONNS = 48
NAMES = 200  # in the name server


class Bad(Exception):
    pass


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def receive(sock, size=None):
    """size bytes, or all until the end."""
    parts, left = [], size
    while left is None or left > 0:
        got = sock.recv(65536 if left is None else min(left, 65536))
        if not got:
            break
        parts.append(got)
        left = None if left is None else left - len(got)
    return b"".join(parts)


def expect(got, want, what):
    if got != want:
        raise Bad("%s: got %d bytes %r..., want %d bytes %r..." % (what, len(got), got[:60], len(want), want[:60]))


def config(run, text):
    path = os.path.join(run.dir, "conf")
    with open(path, "w") as f:
        f.write(text)
    return path


def command(args, secs=DEADLINE):
    """A client; what it printed."""
    done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=secs, text=True, check=False)
    if done.returncode != 0:
        raise Bad("%s: status %d: %s" % (args[0], done.returncode, done.stdout.strip()[-200:]))
    return done.stdout


# --- HTTP ---

def drive_http(run):
    prefix = "http://127.0.0.1:%d" % run.backend if run.app.proxy == "http" else ""
    tls = ssl._create_unverified_context() if run.app.tls else None
    for _ in range(8):
        conns = [connect(run.port) for _ in range(CONNS)]
        if tls:
            conns = [tls.wrap_socket(c) for c in conns]
        for n, c in enumerate(conns):
            if n % 16 == 7:  # one that vanishes
                c.sendall(b"GET %s/big HTTP/1.0\r\n" % prefix.encode())
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                c.close()
            else:
                c.sendall(b"GET %s/%s HTTP/1.0\r\n\r\n" % (prefix.encode(), b"big" if n % 16 == 0 else b"small"))
        for n, c in enumerate(conns):
            if n % 16 != 7:
                head, _, body = receive(c).partition(b"\r\n\r\n")
                expect(head.split()[1:2], [b"200"], "status")
                expect(body, run.files["big" if n % 16 == 0 else "small"], "body")
                c.close()
    return 8 * CONNS


def load_http(run, secs):
    if not shutil.which("wrk"):
        return drive_http(run)
    script = os.path.join(run.dir, "wrk.lua")
    with open(script, "w") as f:
        if run.app.proxy == "http":
            f.write('wrk.path = "http://127.0.0.1:%d/small"\n' % run.backend)
        else:
            f.write('wrk.path = "/small"\n')
    out = command(["wrk", "-t1", "-c64", "-d%ds" % secs, "--timeout", "20s", "-s", script,
                   "%s://127.0.0.1:%d" % ("https" if run.app.tls else "http", run.port)])
    if "Non-2xx" in out or re.search(r"Socket errors: connect [^0]|timeout [^0]", out):
        raise Bad("wrk: " + out.strip()[-200:])
    return int(re.search(r"(\d+) requests in", out).group(1))


def args_tinyproxy(run):
    return ["tinyproxy", "-d", "-c", config(run, "Port %d\nListen 127.0.0.1\nTimeout 30\nMaxClients 200\n"
                                                 "LogLevel Critical\n" % run.port)]


def args_stunnel(run):
    key = os.path.join(run.dir, "key.pem")
    if not os.path.exists(key):
        command(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", key + ".crt",
                 "-days", "2", "-subj", "/CN=localhost"])
        os.chmod(key, 0o600)
    return ["stunnel4", config(run, "foreground = yes\npid =\ndebug = err\nsyslog = no\n[h]\naccept = 127.0.0.1:%d\n"
                                    "connect = 127.0.0.1:%d\ncert = %s.crt\nkey = %s\n"
                                    % (run.port, run.backend, key, key))]


def args_haproxy(run):
    return ["haproxy", "-db", "-f", config(run, """
global
  nbthread 4
defaults
  mode http
  timeout connect 10s
  timeout client 30s
  timeout server 30s
frontend f
  bind 127.0.0.1:%d
  default_backend b
backend b
  server s 127.0.0.1:%d
""" % (run.port, run.backend))]


def args_apache(mpm):
    def args(run):
        return ["apache2", "-DFOREGROUND", "-f", config(run, """
ServerRoot {dir}
PidFile {dir}/apache.pid
ErrorLog /dev/stderr
LogLevel crit
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
ServerName localhost
Listen 127.0.0.1:{port}
DocumentRoot {dir}
User www-data
Group www-data
StartServers 1
ServerLimit 2
ThreadsPerChild 64
MaxRequestWorkers 128
MaxKeepAliveRequests 0
<Directory />
Require all granted
</Directory>
""".format(dir=run.dir, port=run.port, mpm=mpm))]
    return args


def args_puma(run):
    with open(os.path.join(run.dir, "config.ru"), "w") as f:
        f.write("run lambda { |env| b = File.binread(%r + env['PATH_INFO'])\n"
                "[200, {'Content-Length' => b.bytesize.to_s}, [b]] }\n" % run.dir)
    return ["puma", "-q", "-e", "production", "-t", "16:16", "-b", "tcp://127.0.0.1:%d" % run.port,
            os.path.join(run.dir, "config.ru")]


# --- caches, databases, name servers ---

def drive_memcached(run):
    conns = [connect(run.port) for _ in range(CONNS)]
    for i in range(40):
        value = {c: b"%d/%d:" % (i, n) * (1 + 97 * n) for n, c in enumerate(conns)}
        for n, c in enumerate(conns):
            c.sendall(b"set k%d 0 0 %d\r\n%s\r\n" % (n, len(value[c]), value[c]))
        for c in conns:
            expect(receive(c, 8), b"STORED\r\n", "set")
        for n, c in enumerate(conns):
            c.sendall(b"get k%d\r\n" % ((n + 1) % CONNS))
        for n, c in enumerate(conns):
            v = value[conns[(n + 1) % CONNS]]
            want = b"VALUE k%d 0 %d\r\n%s\r\nEND\r\n" % ((n + 1) % CONNS, len(v), v)
            expect(receive(c, len(want)), want, "get")
        if i % 10 == 9:  # clients come and go
            for n in range(0, CONNS, 3):
                conns[n].close()
                conns[n] = connect(run.port)
    return 2 * 40 * CONNS


def load_memcached(run, secs):
    if not shutil.which("memcslap"):
        return drive_memcached(run)
    each = 400 * secs
    command(["memcslap", "--servers=127.0.0.1:%d" % run.port, "--concurrency=64", "--execute-number=%d" % each,
             "--initial-load=1000", "--test=get"])
    return 64 * each


def drive_redis(run):
    conns = [connect(run.port) for _ in range(CONNS)]
    for i in range(20):
        for n, c in enumerate(conns):
            v = b"%d/%d:" % (i, n) * (1 + 97 * n)
            c.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\nk%d\r\n$%d\r\n%s\r\n" % (len(b"k%d" % n), n, len(v), v))
            c.sendall(b"*2\r\n$4\r\nINCR\r\n$3\r\nall\r\n*2\r\n$3\r\nGET\r\n$%d\r\nk%d\r\n" % (len(b"k%d" % n), n))
        seen = set()
        for n, c in enumerate(conns):
            v = b"%d/%d:" % (i, n) * (1 + 97 * n)
            expect(receive(c, 6), b"+OK\r\n:", "set")
            number = b""
            while not number.endswith(b"\r\n"):
                number += receive(c, 1)
            seen.add(int(number))
            want = b"$%d\r\n%s\r\n" % (len(v), v)
            expect(receive(c, len(want)), want, "get")
        if seen != set(range(i * CONNS + 1, (i + 1) * CONNS + 1)):
            raise Bad("incr: %d different numbers" % len(seen))
    return 3 * 20 * CONNS


def load_redis(run, secs):
    if not shutil.which("redis-benchmark"):
        return drive_redis(run)
    n = 20000 * secs
    command(["redis-benchmark", "-p", str(run.port), "-n", str(n), "-c", "64", "-t", "get", "--csv"])
    return n


def args_mariadb(run):
    data = os.path.join(run.dir, "data")
    shutil.rmtree(data, ignore_errors=True)
    command(["mariadb-install-db", "--no-defaults", "--user=root", "--datadir=" + data,
             "--auth-root-authentication-method=normal", "--skip-test-db"])
    return ["mariadbd", "--no-defaults", "--user=root", "--datadir=" + data, "--socket=%s/sql" % run.dir,
            "--port=%d" % run.port, "--bind-address=127.0.0.1", "--pid-file=%s/sql.pid" % run.dir,
            "--max-connections=200", "--innodb-buffer-pool-size=64M", "--skip-log-bin"]


def sysbench(run, *more):
    return command(["sysbench", "oltp_read_write", "--mysql-host=127.0.0.1", "--mysql-port=%d" % run.port,
                    "--mysql-user=root", "--mysql-db=sbtest", "--tables=2", "--table-size=2000"] + list(more))


def drive_mariadb(run):
    sql = ["mariadb", "--no-defaults", "-uroot", "-h127.0.0.1", "-P%d" % run.port, "-NBe"]
    command(sql + ["create database sbtest; create table sbtest.n (i int primary key, v int) engine=innodb; "
                   "insert into sbtest.n values (0, 0), (1, 0), (2, 0), (3, 0)"])
    command(["mariadb-slap", "--no-defaults", "-uroot", "-h127.0.0.1", "-P%d" % run.port, "--create-schema=sbtest",
             "--no-drop", "--concurrency=32", "--number-of-queries=1280", "--detach=10",
             "--query=update n set v = v + 1 where i = connection_id() mod 4"])
    expect(command(sql + ["select sum(v) from sbtest.n"]), "1280\n", "sum of all increments")
    sysbench(run, "--threads=4", "prepare")
    return 1280


def load_mariadb(run, secs):
    out = sysbench(run, "--threads=64", "--time=%d" % secs, "run")
    for t in (1, 2):
        rows = command(["mariadb", "--no-defaults", "-uroot", "-h127.0.0.1", "-P%d" % run.port, "-NBe",
                        "select count(*) from sbtest.sbtest%d" % t])
        expect(rows, "2000\n", "rows")
    return int(re.search(r"transactions: +(\d+)", out).group(1))


def args_unbound(run):
    text = """server:
 interface: 127.0.0.1
 port: %d
 num-threads: 4
 do-daemonize: no
 username: ""
 chroot: ""
 directory: "%s"
 pidfile: ""
 use-syslog: no
 access-control: 127.0.0.0/8 allow
 module-config: "iterator"
""" % (run.port, run.dir)
    for i in range(NAMES):
        text += ' local-data: "h%d.test. A 10.1.%d.%d"\n' % (i, i // 250, i % 250)
    return ["unbound", "-d", "-c", config(run, text)]


def dns_query(i, number):
    host = b"h%d" % i
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + bytes([len(host)]) + host + b"\4test\0\0\1\0\1"


def drive_unbound(run):
    """Half by UDP, half by TCP, with many queries under way."""
    udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(16)]
    for s in udp:
        s.settimeout(DEADLINE)
        s.connect(("127.0.0.1", run.port))
    for i in range(2 * NAMES):
        for number, s in enumerate(udp):
            s.send(dns_query(i % NAMES, number))
        for number, s in enumerate(udp):
            check_answer(s.recv(512), i % NAMES, number)
    for i in range(0, NAMES, 20):
        tcp = [connect(run.port) for _ in range(8)]
        for number, s in enumerate(tcp):
            for k in range(20):
                q = dns_query(i + k, number)
                s.sendall(struct.pack(">H", len(q)) + q)
        for number, s in enumerate(tcp):
            left = set(range(i, i + 20))  # answers may come in any order
            for k in range(20):
                answer = receive(s, struct.unpack(">H", receive(s, 2))[0])
                left.discard(int(answer[14:14 + answer[12] - 1]))
                check_answer(answer, int(answer[14:14 + answer[12] - 1]), number)
            if left:
                raise Bad("no answer for %r" % left)
            s.close()
    for s in udp:
        s.close()
    return 16 * 2 * NAMES + 8 * NAMES


def check_answer(answer, i, number):
    q = dns_query(i, number)
    expect(answer[:2] + answer[3:4] + answer[6:8] + answer[12:len(q)], q[:2] + b"\x80\0\1" + q[12:], "answer")
    expect(answer[-4:], bytes([10, 1, i // 250, i % 250]), "address")


# --- programs that end by themselves ---

def drive_filter(run):
    out, _ = run.proc.communicate(run.files["text"], timeout=2 * DEADLINE)
    expect((gzip if run.app.name == "pigz" else lzma).decompress(out), run.files["text"], "decompressed")
    return len(run.files["text"]) >> 20


def drive_output(pattern):
    """It must print `pattern`, whose group, if there is one, is the number of operations."""
    def drive(run):
        out, _ = run.proc.communicate(b"", timeout=2 * DEADLINE)
        m = re.search(pattern, out.decode(errors="replace"))
        if m is None:
            raise Bad("it printed %r" % out[-200:])
        return int(m.group(1)) if m.groups() else 1
    return drive


PERL = """use threads; use threads::shared; use Thread::Queue; my $q = Thread::Queue->new; my $sum :shared = 0;
my @t = map { threads->create(sub { while (defined(my $x = $q->dequeue)) { lock $sum; $sum += $x } }) } 1..8;
$q->enqueue($_) for 1..20000; $q->enqueue((undef) x 8); $_->join for @t; print "sum $sum of 20000\\n";"""


# Processes pass binaries and lists to each other, in compiled code, until every one of them has ended.
ERLANG = """-mode(compile).
main([N]) -> io:format("sum ~b of ~s~n", [rounds(list_to_integer(N), 0), N]).
rounds(0, Sum) -> Sum;
rounds(N, Sum) ->
    Self = self(),
    Pids = [spawn_link(fun() -> worker(Self, I) end) || I <- lists:seq(1, 40)],
    [P ! {go, lists:seq(1, 300)} || P <- Pids],
    New = lists:sum([receive {P, V, B} -> V + erlang:crc32(B) end || P <- Pids]),
    spawn_link(fun() -> ring(Self, 200) end) ! {token, 0},
    200 = receive {ring, K} -> K end,
    rounds(N - 1, (Sum * 31 + New) rem 1000000007).
worker(Parent, I) ->
    receive {go, L} ->
        B = iolist_to_binary([[I, integer_to_list(X * I), binary:copy(<<X:32>>, 200)] || X <- L]),
        M = lists:foldl(fun(X, Map) -> maps:put({I, X}, X * X, Map) end, #{}, L),
        Parent ! {self(), lists:sum(maps:values(M)) + lists:sum(lists:sort([X * I rem 97 || X <- L])), B}
    end.
ring(Parent, 0) -> receive {token, K} -> Parent ! {ring, K} end;
ring(Parent, N) ->
    Next = spawn_link(fun() -> ring(Parent, N - 1) end),
    receive {token, K} -> Next ! {token, K + 1} end.
"""


def args_erlang(run):
    script = os.path.join(run.dir, "load.erl")
    with open(script, "w") as f:
        f.write("#!/usr/bin/env escript\n%%! +S 4:4\n" + ERLANG)
    return ["escript", script, "40"]


class App:
    def __init__(self, name, version, args, drive, load=None, stop=None, proxy=None, tls=False, needs=(), title=None,
                 how=""):
        self.name = name        # the command
        self.title = title or name
        self.version = version  # arguments that make it print its version
        self.args = args
        self.drive, self.load = drive, load
        self.stop = stop        # the signal that ends a server; None: it reads its input and ends
        self.proxy = proxy      # "http": asked for the backend's address; "plain": configured with it
        self.tls = tls
        self.needs = (name,) + tuple(needs)  # commands
        self.how = how          # for the table


TERM = signal.SIGTERM
APPS = [
    App("mariadbd", ["-V"], args_mariadb, drive_mariadb, load_mariadb, TERM, title="MariaDB",
        needs=("mariadb", "mariadb-slap", "mariadb-install-db", "sysbench"), how="a thread per connection, 64 of them"),
    App("memcached", ["-V"],
        lambda r: ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(r.port), "-U", "0", "-t", "4"],
        drive_memcached, load_memcached, TERM, how="4 event loops"),
    App("redis-server", ["-v"],
        lambda r: ["redis-server", "--port", str(r.port), "--bind", "127.0.0.1", "--io-threads", "2",
                   "--io-threads-do-reads", "yes", "--dir", r.dir, "--save", ""],
        drive_redis, load_redis, TERM, title="redis", how="2 I/O threads that spin for each other"),
    App("apache2", ["-v"], args_apache("worker"), drive_http, load_http, TERM, title="Apache, worker MPM",
        how="64 threads per process"),
    App("apache2", ["-v"], args_apache("event"), drive_http, load_http, TERM, title="Apache, event MPM",
        how="a listener and 64 threads per process"),
    App("haproxy", ["-v"], args_haproxy, drive_http, load_http, TERM, proxy="plain", how="4 event loops"),
    App("tinyproxy", ["-v"], args_tinyproxy, drive_http, load_http, TERM, proxy="http",
        how="a thread per connection"),
    App("stunnel4", ["-version"], args_stunnel, drive_http, load_http, TERM, proxy="plain", tls=True,
        needs=("openssl",), title="stunnel", how="a thread per connection"),
    App("civetweb", ["-V"],
        lambda r: ["civetweb", "-document_root", r.dir, "-listening_ports", "127.0.0.1:%d" % r.port,
                   "-num_threads", "64", "-enable_keep_alive", "yes"],
        drive_http, load_http, TERM, how="64 threads behind a queue"),
    App("unbound", ["-V"], args_unbound, drive_unbound, None, TERM, how="4 event loops"),
    App("puma", ["-V"], args_puma, drive_http, load_http, TERM, how="Ruby, 16 threads and the timer thread"),
    App("python3", ["-V"],
        lambda r: ["python3", "-c", "import http.server as h; h.ThreadingHTTPServer.request_queue_size = 128; "
                   "h.test(h.SimpleHTTPRequestHandler, h.ThreadingHTTPServer, port=%d, bind='127.0.0.1')" % r.port],
        drive_http, None, signal.SIGINT, title="Python", how="http.server, a thread per connection"),
    App("perl", ["-v"], lambda r: ["perl", "-e", PERL], drive_output(r"sum 200010000 of (\d+)"), title="Perl",
        how="8 interpreter threads, a queue"),
    App("erl", ["+V"], args_erlang, drive_output(r"sum 200661922 of (40)\n"), title="Erlang", needs=("escript",),
        how="4 schedulers, compiled code whose stack is its heap"),
    App("pigz", ["-V"], lambda r: ["pigz", "-p", "8", "-c"], drive_filter, how="8 compressors in a chain"),
    App("xz", ["-V"], lambda r: ["xz", "-T", "4", "--block-size=512KiB", "-1", "-c"], drive_filter,
        how="4 compressors"),
    App("hackbench", ["--help"], lambda r: ["hackbench", "-T", "-g", "10", "-l", "200"],
        drive_output(r"Time: [0-9.]+"), how="400 threads over socket pairs"),
    App("hackbench", ["--help"], lambda r: ["hackbench", "-T", "-p", "-g", "10", "-l", "400"],
        drive_output(r"Time: [0-9.]+"), title="hackbench -p", how="400 threads over pipes"),
    App("sysbench", ["--version"],
        lambda r: ["sysbench", "threads", "--threads=128", "--thread-yields=50", "--thread-locks=4", "--time=0",
                   "--events=10000", "run"],
        drive_output(r"total number of events: +(10000)\b"), title="sysbench threads",
        how="128 threads, yields and locks"),
]


def version(app):
    out = subprocess.run([app.name] + app.version, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         check=False, stdin=subprocess.DEVNULL, timeout=DEADLINE).stdout
    m = re.search(r"(?<![\w.])v?=?(\d+(?:\.\d+)+)", out)
    return m.group(1) if m else ""


def wait_port(run):
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return connect(run.port).close()
        except ConnectionRefusedError:
            if run.proc.poll() is not None or time.monotonic() > end:
                raise Bad("it never listened") from None
            time.sleep(0.02)
