// SPDX-License-Identifier: MIT

// The measurements of gmpbench.c with goroutines: the Go runtime as the yardstick for an M:N
// scheduler. Same names, same output, same way to choose the number of operations; see there.
// A semaphore is a channel of capacity 1. sync.Cond and sync.Mutex stand for the barrier too.
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	target = 400 * time.Millisecond
	enough = 250 * time.Millisecond // a trial this long is the result
	sane   = 20 * time.Millisecond  // a trial shorter than this predicts nothing

	many           = 1000
	yielders       = 4
	barrierParties = 16
	rwThreads      = 8
	rwWriteEvery   = 16
	ringPipes      = 400
	ringTokens     = 40
	sleeperCount   = 1000
	sleepMin       = 20000 // us
	sleepSpread    = 20000 // us
)

type span struct {
	wall, cpu time.Duration
	start     time.Time
	startCPU  time.Duration
}

type trial struct {
	ops     int64 // operations really done: n rounded to what the measurement can do
	span    span
	join    span          // create_many only
	lateP99 time.Duration // sleepers only
}

type bench struct {
	name    string
	run     func(n int64, threads int, t *trial)
	threads int   // > 0: the count is part of the name
	first   int64 // operations of the first trial
}

func die(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "gmpbench: %s: %v\n", what, err)
		os.Exit(1)
	}
}

func expect(what string, ok bool) {
	if !ok {
		fmt.Fprintf(os.Stderr, "gmpbench: wrong result: %s\n", what)
		os.Exit(1)
	}
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func (s *span) begin() {
	s.startCPU = cpuTime()
	s.start = time.Now()
}

// end adds what passed since begin.
func (s *span) end() {
	s.wall += time.Since(s.start)
	s.cpu += cpuTime() - s.startCPU
}

// crew runs work in several goroutines that start together once all exist.
func crew(threads int, n int64, t *trial, work func(self int, rounds int64)) {
	rounds := n / int64(threads)
	if rounds == 0 {
		rounds = 1
	}
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	ready.Add(threads)
	done.Add(threads)
	for i := 0; i < threads; i++ {
		go func(self int) {
			ready.Done()
			<-gate
			work(self, rounds)
			done.Done()
		}(i)
	}
	ready.Wait()
	t.span.begin()
	close(gate)
	done.Wait()
	t.span.end()
	t.ops = rounds * int64(threads)
}

func createJoin(n int64, _ int, t *trial) {
	t.span.begin()
	for i := int64(0); i < n; i++ {
		done := make(chan struct{}, 1)
		go func() { done <- struct{}{} }()
		<-done
	}
	t.span.end()
	t.ops = n
}

func createMany(n int64, _ int, t *trial) {
	batches := (n + many - 1) / many
	done := make([]chan struct{}, many)
	for b := int64(0); b < batches; b++ {
		t.span.begin()
		for i := range done {
			c := make(chan struct{}, 1)
			done[i] = c
			go func() { c <- struct{}{} }()
		}
		t.span.end()
		t.join.begin()
		for _, c := range done {
			<-c
		}
		t.join.end()
	}
	t.ops = batches * many
}

func yield(n int64, _ int, t *trial) {
	crew(yielders, n, t, func(_ int, rounds int64) {
		for ; rounds > 0; rounds-- {
			runtime.Gosched()
		}
	})
}

func semPingpong(n int64, _ int, t *trial) {
	ping, pong := make(chan struct{}, 1), make(chan struct{}, 1)
	go func() {
		for i := int64(0); i < n; i++ {
			<-ping
			pong <- struct{}{}
		}
	}()
	t.span.begin()
	for i := int64(0); i < n; i++ {
		ping <- struct{}{}
		<-pong
	}
	t.span.end()
	t.ops = n
}

func condPingpong(n int64, _ int, t *trial) {
	var lock sync.Mutex
	changed := [2]*sync.Cond{sync.NewCond(&lock), sync.NewCond(&lock)}
	turn := 0
	takeTurns := func(self int) {
		lock.Lock()
		for i := int64(0); i < n; i++ {
			for turn != self {
				changed[self].Wait()
			}
			turn = 1 - self
			changed[1-self].Signal()
		}
		lock.Unlock()
	}
	done := make(chan struct{})
	t.span.begin()
	go func() {
		takeTurns(1)
		close(done)
	}()
	takeTurns(0)
	<-done
	t.span.end()
	t.ops = n
}

type readWriter interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
}

func readAll(r readWriter, buf []byte) {
	n, err := r.Read(buf)
	die("read", err)
	expect("short read", n == len(buf))
}

func writeAll(w readWriter, buf []byte) {
	_, err := w.Write(buf)
	die("write", err)
}

func fdPingpong(n int64, in, out, peerIn, peerOut readWriter, t *trial) {
	done := make(chan struct{})
	go func() {
		c := make([]byte, 1)
		for i := int64(0); i < n; i++ {
			readAll(peerIn, c)
			writeAll(peerOut, c)
		}
		close(done)
	}()
	sent, got, same := make([]byte, 1), make([]byte, 1), true
	t.span.begin()
	for i := int64(0); i < n; i++ {
		sent[0] = byte(i)
		writeAll(out, sent)
		readAll(in, got)
		same = same && got[0] == sent[0]
	}
	t.span.end()
	<-done
	expect("a byte came back changed", same)
	t.ops = n
}

func pipePingpong(n int64, _ int, t *trial) {
	thereR, thereW, err := os.Pipe()
	die("pipe", err)
	backR, backW, err := os.Pipe()
	die("pipe", err)
	fdPingpong(n, backR, thereW, thereR, backW, t)
	for _, f := range []*os.File{thereR, thereW, backR, backW} {
		f.Close()
	}
}

func sockpairPingpong(n int64, _ int, t *trial) {
	sv, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	die("socketpair", err)
	var conn [2]net.Conn
	for i := range conn {
		f := os.NewFile(uintptr(sv[i]), "socketpair")
		conn[i], err = net.FileConn(f)
		die("FileConn", err)
		f.Close()
	}
	fdPingpong(n, conn[0], conn[0], conn[1], conn[1], t)
	conn[0].Close()
	conn[1].Close()
}

func mutex(n int64, _ int, t *trial) {
	var lock sync.Mutex
	t.span.begin()
	for i := int64(0); i < n; i++ {
		lock.Lock()
		lock.Unlock() //nolint:staticcheck // an empty critical section is the measurement
	}
	t.span.end()
	t.ops = n
}

func contended(n int64, threads int, t *trial) {
	var lock sync.Mutex
	var counter int64
	crew(threads, n, t, func(_ int, rounds int64) {
		for ; rounds > 0; rounds-- {
			lock.Lock()
			counter++
			lock.Unlock()
		}
	})
	expect("contended: lost updates", counter == t.ops)
}

func rwlock(n int64, _ int, t *trial) {
	var lock sync.RWMutex
	var counter int64
	crew(rwThreads, n, t, func(self int, rounds int64) {
		last := int64(0)
		for i := int64(self); i < int64(self)+rounds; i++ {
			if i%rwWriteEvery == 0 {
				lock.Lock()
				counter++
				lock.Unlock()
			} else {
				lock.RLock()
				expect("rwlock: an update was undone", counter >= last)
				last = counter
				lock.RUnlock()
			}
		}
	})
}

func barrier(n int64, _ int, t *trial) {
	var lock sync.Mutex
	open := sync.NewCond(&lock)
	arrived, generation := 0, 0
	crew(barrierParties, n*barrierParties, t, func(_ int, rounds int64) {
		for ; rounds > 0; rounds-- {
			lock.Lock()
			arrived++
			if arrived == barrierParties {
				arrived = 0
				generation++
				open.Broadcast()
			} else {
				for g := generation; g == generation; {
					open.Wait()
				}
			}
			lock.Unlock()
		}
	})
	t.ops /= barrierParties
}

func putHops(w readWriter, hops int64) {
	var b [8]byte
	for i := range b {
		b[i] = byte(hops >> (8 * i))
	}
	writeAll(w, b[:])
}

func getHops(r readWriter) int64 {
	var b [8]byte
	readAll(r, b[:])
	hops := int64(0)
	for i := range b {
		hops |= int64(b[i]) << (8 * i)
	}
	return hops
}

func pipeRing(n int64, _ int, t *trial) {
	var r, w [ringPipes]*os.File
	var err error
	var done sync.WaitGroup
	arrived := make(chan struct{}, ringTokens)
	for i := range r {
		r[i], w[i], err = os.Pipe()
		die("pipe", err)
	}
	done.Add(ringPipes)
	for i := range r {
		go func(i int) {
			defer done.Done()
			for {
				hops := getHops(r[i])
				if hops < 0 {
					return
				} else if hops == 0 {
					arrived <- struct{}{}
				} else {
					putHops(w[(i+1)%ringPipes], hops-1)
				}
			}
		}(i)
	}
	hops := n/ringTokens + 1
	t.span.begin()
	for i := 0; i < ringTokens; i++ {
		putHops(w[i*(ringPipes/ringTokens)], hops)
	}
	for i := 0; i < ringTokens; i++ {
		<-arrived
	}
	t.span.end()
	for i := range w {
		putHops(w[i], -1)
	}
	done.Wait()
	for i := range r {
		r[i].Close()
		w[i].Close()
	}
	t.ops = hops * ringTokens
}

func sleepers(n int64, _ int, t *trial) {
	late := make([]time.Duration, n+sleeperCount)
	var used int64
	crew(sleeperCount, n, t, func(self int, rounds int64) {
		for i := int64(0); i < rounds; i++ {
			us := sleepMin + (int64(self)*7919+i*104729)%sleepSpread
			d := time.Duration(us) * time.Microsecond
			start := time.Now()
			time.Sleep(d)
			late[atomic.AddInt64(&used, 1)-1] = time.Since(start) - d
		}
	})
	late = late[:t.ops]
	sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
	expect("sleepers: a sleep was too short", late[0] >= 0)
	t.lateP99 = late[t.ops*99/100]
}

var benches = []bench{
	{"create_join", createJoin, 0, 100},
	{"create_many", createMany, 0, many},
	{"sem_pingpong", semPingpong, 0, 1000},
	{"cond_pingpong", condPingpong, 0, 1000},
	{"yield", yield, 0, 10000},
	{"mutex", mutex, 0, 100000},
	{"contended", contended, 2, 10000},
	{"contended", contended, 16, 10000},
	{"contended", contended, 128, 10000},
	{"barrier", barrier, 0, 100},
	{"rwlock", rwlock, 0, 10000},
	{"pipe_pingpong", pipePingpong, 0, 1000},
	{"sockpair_pingpong", sockpairPingpong, 0, 1000},
	{"pipe_ring", pipeRing, 0, 4000},
	{"sleepers", sleepers, 0, sleeperCount},
}

// measure repeats with more operations until a trial is long enough to be believed.
func measure(b *bench, threads int) *trial {
	for n := b.first; ; {
		t := &trial{}
		b.run(n, threads, t)
		took := t.span.wall + t.join.wall
		if took >= enough {
			return t
		}
		if took >= sane {
			n = int64(float64(n) * float64(target) / float64(took))
		} else {
			n *= 8
		}
	}
}

func run(b *bench, threads int) {
	t := measure(b, threads)
	name := b.name
	if threads > 0 {
		name += "_" + strconv.Itoa(threads)
	}
	print := func(suffix string, total time.Duration, ops int64) {
		fmt.Printf("%s%s %.1f ns\n", name, suffix, float64(total)/float64(ops))
	}
	switch b.name {
	case "create_many":
		print(".create", t.span.wall, t.ops)
		print(".join", t.join.wall, t.ops)
	case "sleepers":
		print(".late_p99", t.lateP99, 1)
	default:
		print("", t.span.wall, t.ops)
	}
	print(".cpu", t.span.cpu+t.join.cpu, t.ops)
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: gmpbench list | all | NAME [THREADS]")
	os.Exit(2)
}

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		usage()
	}
	what, found := os.Args[1], false
	for i := range benches {
		b := &benches[i]
		if what == "list" && b.threads > 0 {
			fmt.Println(b.name, b.threads)
			continue
		} else if what == "list" {
			fmt.Println(b.name)
			continue
		} else if what == "all" {
			run(b, b.threads)
			continue
		}
		if what != b.name || found {
			continue
		}
		found = true
		threads := b.threads
		if len(os.Args) > 2 {
			count, err := strconv.Atoi(os.Args[2])
			if err != nil || count < 1 || threads == 0 {
				usage()
			}
			threads = count
		}
		run(b, threads)
	}
	if !found && what != "list" && what != "all" {
		usage()
	}
}
