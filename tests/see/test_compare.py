# SPDX-License-Identifier: MIT
"""gmprun compare: the table against the raw data, the report, known outputs of loads, and nothing left behind."""
import html.parser
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

from see import SHIM, expect

GMPRUN, SERVER, LOAD, TOOLS = (os.environ[n] for n in ('GMP_RUN', 'GMP_SERVER', 'GMP_LOAD', 'GMP_TOOLS'))
sys.path.insert(0, TOOLS)
import gmpcompare  # noqa: E402


def compare(work, load, *more, **kwargs):
    return subprocess.Popen([GMPRUN, 'compare', '--procs', '2', '--html', f'{work}/r.html', '--json', f'{work}/r.json',
                             '--svg', f'{work}/r.svg',
                             '--load', load, *more, '--', SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, **kwargs)


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []
        self.links = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ('src', 'href')]


def table_is_the_raw_data(work):
    child = compare(work, f'{sys.executable} {LOAD} {{port}} 100 1', '--rounds', '3')
    out, err = child.communicate(timeout=600)
    expect(child.returncode == 0, f'status {child.returncode}: {err}\n{out}')
    with open(f'{work}/r.json', encoding='utf-8') as f:
        rounds = json.load(f)['rounds']
    order = re.findall(r'^round (\d) (\w+):', out, re.M)
    expect(order == [('1', 'NPTL'), ('1', 'shim'), ('2', 'shim'), ('2', 'NPTL'), ('3', 'NPTL'), ('3', 'shim')],
           f'not in turns: {order}')
    for title, key, form in (('results per second', 'rate', '.0f'), ('kernel threads, peak', 'threads', '.0f'),
                             ('server CPU per result, us', 'cpu', '.1f'), ('peak RSS, MB', 'rss', '.1f')):
        want = [title]
        for who in ('NPTL', 'shim'):
            v = [r[key] for r in rounds[who]]
            want.append(f'{statistics.median(v):{form}} ({min(v):{form}}..{max(v):{form}})')
        nptl, shim = (statistics.median([r[key] for r in rounds[who]]) for who in ('NPTL', 'shim'))
        want.append(f'{shim / nptl:.2f}x')
        row = [line for line in out.splitlines() if line.startswith(title)]
        expect(len(row) == 1 and re.split(r'\s{2,}', row[0]) == want, f'{row} is not {want}')
    expect(all(r['threads'] >= 100 for r in rounds['NPTL']) and all(r['threads'] < 50 for r in rounds['shim']),
           f"kernel threads {[r['threads'] for r in rounds['NPTL']]} {[r['threads'] for r in rounds['shim']]}")
    expect(all(r['gs'] >= 100 for r in rounds['shim']), f'Gs: {[r["gs"] for r in rounds["shim"]]}')
    last = out.strip().splitlines()[-2]
    expect(re.match(r'(The shim|NPTL) is better: |No difference in results', last), f'no plain sentence: {last}')
    page = Page()
    with open(f'{work}/r.html', encoding='utf-8') as f:
        page.feed(f.read())
    expect(page.tags.count('svg') == 6 and page.tags.count('polyline') >= 20, f'plots: {page.tags}')
    expect(xml.etree.ElementTree.parse(f'{work}/r.svg').getroot().tag.endswith('svg'), 'the picture')
    expect(page.links == [], f'the report is not self-contained: {page.links}')


def nothing_is_left(work):
    child = compare(work, f'{sys.executable} {LOAD} {{port}} 20 100000', start_new_session=True)
    deadline = time.monotonic() + 600
    while not os.path.exists(f'/proc/{child.pid}') or len(gmpcompare.children_of([child.pid])) < 4:
        expect(time.monotonic() < deadline and child.poll() is None, 'the load never ran')
        time.sleep(0.1)
    pids = gmpcompare.children_of([child.pid]) - {child.pid}
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=600)
    expect(child.returncode == 130 and 'Traceback' not in err, f'status {child.returncode}: {err}{out}')
    expect(not any(os.path.exists(f'/proc/{p}') for p in pids), 'processes are left')


def failures(work):
    for load, message in (('exit 3', 'the load ended with status 3'), ('echo nothing', 'no result in the output'),
                          ('kill -9 $$', 'the load was ended by SIGKILL\n'),
                          ('kill -9 $(ps -o pid= --ppid $PPID | head -n 1); sleep 9; echo 1',
                           'the server was ended by SIGKILL under load')):
        child = compare(work, load, '--rounds', '1')
        _, err = child.communicate(timeout=600)
        expect(child.returncode == 1 and message in err, f'{load}: {child.returncode} {err}')
    for server, message in (
            (['sleep', '100'], 'the server did not listen within 1 s\n'),
            (['false'], 'the server ended with status 1 before it listened\n'),
            (['sh', '-c', 'sleep 100 &'], 'into the background: it needs its option for the foreground\n'),
            (['sh', '-c', 'echo oops; exit 3'],
             "status 3 before it listened\n--- end of the server's output\noops\n")):
        r = subprocess.run([GMPRUN, 'compare', '--load', 'true', '--ready', '1', '--html', '', '--', *server],
                           capture_output=True, text=True, timeout=600, check=False)
        expect(r.returncode == 1 and r.stderr.endswith(message), f'{server}: {r}')
    r = subprocess.run([GMPRUN, 'compare', '--load', 'true', '--json', f'{work}/none/x', '--', 'sleep', '100'],
                       capture_output=True, text=True, timeout=600, check=False)
    expect(r.returncode == 2 and r.stderr.startswith(f'gmprun compare: cannot write {work}/none/x\n'), f'{r}')


WRK = """Running 2s test @ http://127.0.0.1:8080/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.20ms    1.10ms  40.00ms   91.00%
    Req/Sec    36.10k     2.00k   40.00k    80.00%
  Latency Distribution
     50%  820.00us
     99%    5.50ms
  143000 requests in 2.00s, 12.00MB read
Requests/sec:  71500.25
"""
AB = """Complete requests:      5000
Failed requests:        0
Requests per second:    12345.67 [#/sec] (mean)
Time per request:       0.810 [ms] (mean)
  50%      4
  99%     21 (longest request)
"""
SYSBENCH = """    transactions:                        10000  (999.50 per sec.)
    queries:                             200000 (19990.00 per sec.)
    ignored errors:                      0      (0.00 per sec.)
    reconnects:                          0      (0.00 per sec.)
         avg:                                    2.50
         99th percentile:                        9.90
"""
REDIS = """====== SET ======
  throughput summary: 100000.00 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        0.250     0.080     0.200     0.400     0.900     3.000
"""
HEY = """
Summary:
  Total:	5.0021 secs
  Slowest:	0.0421 secs
  Fastest:	0.0001 secs
  Average:	0.0020 secs
  Requests/sec:	24989.5321

Latency distribution:
  10%% in 0.0005 secs
  50%% in 0.0018 secs
  99%% in 0.0090 secs

Status code distribution:
  [200]	124990 responses
  [302]	10 responses
"""
MCPERF = """Total: connections 50 requests 10000 responses 10000 test-duration 2.000 s

Request rate: 5000.1 req/s (0.2 ms/req)
Response rate: 5000.0 rsp/s (0.2 ms/rsp)
Response time [ms]: avg 0.4 min 0.1 max 5.0 stddev 0.10
Response time [ms]: p25 0.2 p50 0.3 p75 0.5
Response time [ms]: p95 0.9 p99 1.5 p999 4.0
Errors: total 0 client-timo 0 socket-timo 0 connrefused 0 connreset 0
"""
MEMTIER = """Type       Ops/sec   Hits/sec   Misses/sec  Avg. Latency  p50 Latency  p99 Latency  p99.9 Latency  KB/sec
Sets       1000.00        ---          ---        0.50000       0.40000       1.20000         2.10000    70.00
Totals    11000.00     100.00      9900.00        0.45000       0.35000       1.10000         2.00000   400.00
"""
MUTILATE = """#type       avg     std     min     5th    10th    90th    95th    99th
read      120.5    30.1    50.0    60.0    70.0   150.0   170.0   250.0
Total QPS = 70000.5 (140001 / 2.0s)
"""
SIEGE = """
{	"transactions":			        2123,
	"availability":			      100.00,
	"transaction_rate":		     2868.92,
	"successful_transactions":	        2123,
	"failed_transactions":		           0
}
"""
OLD_SIEGE = """Transactions:		        2123 hits
Transaction rate:	     2868.92 trans/sec
Successful transactions:        2123
Failed transactions:	           0
"""
MEMCSLAP = """Time to start             2 threads:                  0.000 seconds.
Time to set           20000 keys by    2 threads:     1.250 seconds.
Time total:                                           1.370 seconds.
"""
KNOWN = ((SIEGE, {'rate': 2868.92, 'requests': 2123}), (OLD_SIEGE, {'rate': 2868.92, 'requests': 2123}),
         (MEMCSLAP, {'rate': 16000, 'requests': 20000}),
         (WRK, {'rate': 71500.25, 'p50': 0.82, 'p99': 5.5, 'mean': 1.2, 'requests': 143000}),
         (AB, {'rate': 12345.67, 'p50': 4, 'p99': 21, 'requests': 5000}),
         (SYSBENCH, {'rate': 19990, 'mean': 2.5, 'p99': 9.9, 'requests': 200000}),
         (REDIS, {'rate': 100000, 'p50': 0.2, 'p99': 0.9}),
         ('SET: 80000.00 requests per second, p50=0.303 msec\nGET: 90000.00 requests per second, p50=0.301 msec\n',
          {'rate': 85000, 'p50': 0.302}),
         ('Run time: 10.0s Ops: 500000 TPS: 50000 Net_rate: 10.0M/s\n', {'rate': 50000, 'requests': 500000}),
         (MUTILATE, {'rate': 70000.5, 'requests': 140001, 'mean': 0.1205, 'p99': 0.25}),
         (HEY, {'rate': 24989.5321, 'p50': 1.8, 'p99': 9, 'mean': 2, 'requests': 125000}),
         (MCPERF, {'rate': 5000, 'requests': 10000, 'mean': 0.4, 'p50': 0.3, 'p99': 1.5}),
         (MEMTIER, {'rate': 11000, 'mean': 0.45, 'p50': 0.35, 'p99': 1.1}),
         ('Totals     61000.10    0.00    100.0   1.0  1.1\n', {'rate': 61000.1}),
         ('warming up 3\n 17.5\n 42.25\n', {'rate': 42.25}))


def known_outputs():
    for text, want in KNOWN:
        got = gmpcompare.parse_load(text)
        for key, value in want.items():
            expect(abs(got[key] - value) < 1e-6, f'{key} is {got.get(key)}, not {value}, of:\n{text}')
    for text in (WRK + '  Non-2xx or 3xx responses: 4\n', AB.replace('requests:        0', 'requests:        7'),
                 HEY + 'Error distribution:\n  [7]\tGet "http://x": EOF\n', HEY.replace('[302]', '[503]'),
                 SIEGE.replace('           0', '           2'),
                 SYSBENCH.replace('ignored errors:                      0', 'ignored errors: 3')):
        try:
            gmpcompare.parse_load(text)
        except gmpcompare.Failed:
            continue
        expect(False, 'errors of the load were not seen:\n' + text)


known_outputs()
with tempfile.TemporaryDirectory() as where:
    table_is_the_raw_data(where)
    nothing_is_left(where)
    failures(where)
