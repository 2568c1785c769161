// SPDX-License-Identifier: MIT

// httpd.c in Go: a goroutine per connection, no net/http. Same output.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n")

func serve(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 2048)
	have := 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		if have >= 4 && bytes.Equal(buf[have-4:have], []byte("\r\n\r\n")) {
			have = 0
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				continue
			}
			go serve(c)
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	fmt.Printf("cpu %.6f maxrss %d served 0\n", float64(ru.Utime.Nano()+ru.Stime.Nano())/1e9, ru.Maxrss)
}
