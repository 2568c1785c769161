// SPDX-License-Identifier: MIT

// million.c with goroutines: how long creating, waking and joining each takes, and its memory.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func memory() (kb int) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if w := strings.Fields(s.Text()); w[0] == "VmRSS:" || w[0] == "VmPTE:" {
			n, _ := strconv.Atoi(w[1])
			kb += n
		}
	}
	return kb
}

func main() {
	n := 1000000
	if len(os.Args) > 1 {
		n, _ = strconv.Atoi(os.Args[1])
	}
	var lock sync.Mutex
	cond, all := sync.NewCond(&lock), sync.NewCond(&lock)
	waiting, open := 0, false
	var done sync.WaitGroup
	before, t0 := memory(), time.Now()
	done.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			lock.Lock()
			if waiting++; waiting == n {
				all.Signal()
			}
			for !open {
				cond.Wait()
			}
			lock.Unlock()
			done.Done()
		}()
	}
	lock.Lock()
	for waiting < n {
		all.Wait()
	}
	t1 := time.Now()
	used := memory() - before
	open = true
	cond.Broadcast()
	lock.Unlock()
	t2 := time.Now()
	done.Wait()
	fmt.Printf("threads %d (all) create %.2f us join %.2f us memory %.2f KB + 0.00 KB in the kernel\n", n,
		float64(t1.Sub(t0))/1e3/float64(n), float64(time.Since(t2))/1e3/float64(n), float64(used)/float64(n))
}
