# SPDX-License-Identifier: MIT
"""load.py PORT CONNECTIONS SECONDS: requests over connections that stay open; prints the rate."""
import socket
import sys
import time

port, conns, seconds = map(int, sys.argv[1:])
socks = [socket.create_connection(('127.0.0.1', port)) for _ in range(conns)]
begin, done = time.monotonic(), 0
while done == 0 or time.monotonic() - begin < seconds:
    for s in socks:
        s.sendall(b'GET / HTTP/1.1\r\n\r\n')
    for s in socks:
        if not s.recv(1000).startswith(b'HTTP/1.1 200'):
            sys.exit('a wrong answer')
    done += conns
print(done / (time.monotonic() - begin))
