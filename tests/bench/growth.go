// SPDX-License-Identifier: MIT

// The measurements of growth.c with goroutines; see there. poll and idle use net.Pipe's kernel cousin, a socketpair.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	minOps = 400000
	stride = 7919
)

func impossible(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func cpu() int64 {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return ru.Utime.Nano() + ru.Stime.Nano()
}

func most(a, b int) int {
	if a > b {
		return a
	}
	return b
}

func timeSwitch(n int) float64 {
	rounds := most(minOps/n, 4)
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	ready.Add(n)
	done.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			ready.Done()
			<-gate
			for r := 0; r < rounds; r++ {
				runtime.Gosched()
			}
			done.Done()
		}()
	}
	ready.Wait()
	t := time.Now()
	close(gate)
	done.Wait()
	return float64(time.Since(t)) / float64(n*rounds)
}

func startAnswers(n int) ([]chan struct{}, chan struct{}) {
	peers, answer := make([]chan struct{}, n), make(chan struct{}, 1)
	var ready sync.WaitGroup
	ready.Add(n)
	for i := range peers {
		c := make(chan struct{}, 1)
		peers[i] = c
		go func() {
			ready.Done()
			for {
				<-c
				answer <- struct{}{}
			}
		}()
	}
	ready.Wait()
	return peers, answer
}

func timeWake(n int) float64 {
	ops := most(minOps, n)
	peers, answer := startAnswers(n)
	t := time.Now()
	for i := 0; i < ops; i++ {
		peers[i*stride%n] <- struct{}{}
		<-answer
	}
	return float64(time.Since(t)) / float64(ops)
}

func timeCreate(n int) float64 {
	t := time.Now()
	startAnswers(n)
	return float64(time.Since(t)) / float64(n)
}

func startEchoes(n int) []*os.File {
	files := make([]*os.File, n)
	var lim syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim)
	lim.Cur = lim.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
	var ready sync.WaitGroup
	ready.Add(n)
	for i := range files {
		fd, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		impossible(err)
		files[i] = os.NewFile(uintptr(fd[0]), "here")
		there := os.NewFile(uintptr(fd[1]), "there")
		go func() {
			c := make([]byte, 1)
			ready.Done()
			for {
				if _, err := there.Read(c); err != nil {
					return
				}
				there.Write(c)
			}
		}()
	}
	ready.Wait()
	return files
}

func timePoll(n int) float64 {
	ops := most(minOps/8, n)
	files := startEchoes(n)
	c := make([]byte, 1)
	t := time.Now()
	for i := 0; i < ops; i++ {
		f := files[i*stride%n]
		f.Write(c)
		_, err := f.Read(c)
		impossible(err)
	}
	return float64(time.Since(t)) / float64(ops)
}

func cpuIdle(n int) float64 {
	files := startEchoes(n)
	time.Sleep(time.Second)
	t := cpu()
	time.Sleep(time.Second)
	runtime.KeepAlive(files)
	return float64(cpu() - t)
}

func main() {
	all := map[string]func(int) float64{"switch": timeSwitch, "wake": timeWake, "poll": timePoll,
		"create": timeCreate, "idle": cpuIdle}
	if len(os.Args) == 3 {
		n, err := strconv.Atoi(os.Args[2])
		if run := all[os.Args[1]]; run != nil && err == nil && n > 0 {
			fmt.Printf("%.1f ns\n", run(n))
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: growth switch|wake|poll|create|idle N")
	os.Exit(2)
}
