/* SPDX-License-Identifier: MIT */
/*
 * What C++20 added to the library of threads, most of it on raw futex calls inside the program: jthread and stop
 * tokens, latch, barrier, semaphores, waits on atomics, condition_variable_any with stop tokens. Besides: timed shared
 * locks, exceptions that cross threads, call_once that throws, thread_local destructors that block, async.
 */
#include "prog.h"

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

static void check_jthread()
{
	std::atomic<int> stopped{0};
	std::mutex m;
	std::condition_variable_any cv;

	{
		std::vector<std::jthread> ts;

		for (int i = 0; i < 20; i++)
			ts.emplace_back([&](std::stop_token st) {
				std::unique_lock<std::mutex> l(m);

				/* nobody ever makes it true: the token ends the wait */
				CHECK(!cv.wait(l, st, [] { return false; }));
				stopped++;
			});
		prog_nap_ms(5);
	} /* request_stop and join of each */
	CHECK_EQ(stopped.load(), 20);

	std::stop_source src;
	int called = 0;
	std::stop_callback cb(src.get_token(), [&] { called++; });
	std::jthread([&] { src.request_stop(); }).join();
	CHECK_EQ(called, 1);

	std::jthread t([&](std::stop_token st) {
		std::unique_lock<std::mutex> l(m);
		CHECK(!cv.wait_for(l, st, 10ms, [] { return false; }));
		CHECK(!st.stop_requested());
	});
	t.join();
	puts("jthread");
}

static void check_latch_barrier()
{
	const int n = 12, rounds = 50;
	std::latch go(1), done(n);
	std::vector<std::thread> ts;
	std::atomic<int> in{0};
	int phases = 0;
	auto completion = [&]() noexcept {
		CHECK_EQ(in.exchange(0), n);
		phases++;
	};
	std::barrier<decltype(completion)> bar(n, completion);

	for (int i = 0; i < n; i++)
		ts.emplace_back([&, i] {
			go.wait();
			for (int r = 0; r < rounds; r++) {
				in++;
				if (i == 0 && r % 7 == 0)
					std::this_thread::sleep_for(1ms);	/* the others are in their futex */
				bar.arrive_and_wait();
			}
			done.arrive_and_wait();
		});
	CHECK(!go.try_wait());
	prog_nap_ms(5);
	go.count_down();
	done.wait();
	for (auto &t : ts)
		t.join();
	CHECK_EQ(phases, rounds);

	/* members that leave */
	std::barrier<> leave(5);
	ts.clear();
	for (int i = 0; i < 5; i++)
		ts.emplace_back([&, i] {
			for (int r = 0; r < i; r++)
				leave.arrive_and_wait();
			leave.arrive_and_drop();
		});
	for (auto &t : ts)
		t.join();
	printf("latch, barrier: %d phases\n", phases);
}

static void check_semaphores()
{
	std::counting_semaphore<10> slots(3);
	std::binary_semaphore ping(0), pong(0);
	std::atomic<int> inside{0}, most{0};
	std::vector<std::thread> ts;

	for (int i = 0; i < 16; i++)
		ts.emplace_back([&] {
			for (int r = 0; r < 30; r++) {
				slots.acquire();
				int now = ++inside, old = most.load();
				while (now > old && !most.compare_exchange_weak(old, now))
					;
				std::this_thread::yield();
				inside--;
				slots.release();
			}
		});
	for (auto &t : ts)
		t.join();
	CHECK(most.load() <= 3);

	std::thread other([&] {
		for (int i = 0; i < 2000; i++) {
			ping.acquire();
			pong.release();
		}
	});
	for (int i = 0; i < 2000; i++) {
		ping.release();
		pong.acquire();
	}
	other.join();
	CHECK(!ping.try_acquire());
	int64_t t0 = prog_now_ns(CLOCK_MONOTONIC);
	CHECK(!ping.try_acquire_for(20ms));
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - t0 >= 19000000);
	CHECK(!ping.try_acquire_until(std::chrono::system_clock::now() + 10ms));
	std::thread late([&] {
		prog_nap_ms(5);
		ping.release();
	});
	CHECK(ping.try_acquire_for(60s));
	late.join();
	puts("semaphores");
}

struct wide {	/* waited for through a proxy word */
	long a, b;
	bool operator==(const wide &) const = default;
};

template <class T> static void bounce(T first, T second)
{
	std::atomic<T> word{first};
	std::thread t([&] {
		for (int i = 0; i < 500; i++) {
			word.wait(first);
			word.store(first);
			word.notify_all();
		}
	});
	for (int i = 0; i < 500; i++) {
		word.store(second);
		word.notify_one();
		word.wait(second);
	}
	t.join();
}

static void check_atomic_wait()
{
	bounce<int>(0, 1);		/* a futex of its own */
	bounce<char>(0, 1);		/* a proxy */
	bounce<long>(0, 1L << 40);
	bounce<wide *>(nullptr, reinterpret_cast<wide *>(8));

	std::atomic_flag gate = ATOMIC_FLAG_INIT;
	std::atomic<int> through{0};
	std::vector<std::thread> ts;

	for (int i = 0; i < 32; i++)
		ts.emplace_back([&] {
			gate.wait(false);
			through++;
		});
	prog_nap_ms(10);
	CHECK_EQ(through.load(), 0);
	gate.test_and_set();
	gate.notify_all();
	for (auto &t : ts)
		t.join();
	CHECK_EQ(through.load(), 32);
	puts("atomic wait");
}

static void check_shared_timed()
{
	std::shared_timed_mutex m;
	std::recursive_timed_mutex r;
	std::vector<std::thread> ts;
	std::atomic<int> timeouts{0};

	m.lock();
	r.lock();
	r.lock();
	for (int i = 0; i < 6; i++)
		ts.emplace_back([&, i] {
			bool got = i % 3 == 0 ? m.try_lock_shared_for(10ms)
				 : i % 3 == 1 ? m.try_lock_until(std::chrono::steady_clock::now() + 10ms)
					      : r.try_lock_for(10ms);
			timeouts += !got;
		});
	for (auto &t : ts)
		t.join();
	CHECK_EQ(timeouts.load(), 6);
	ts.clear();
	std::atomic<int> got{0};
	for (int i = 0; i < 6; i++)
		ts.emplace_back([&, i] {
			if (i % 2) {
				std::unique_lock<std::shared_timed_mutex> l(m, 60s);
				got += l.owns_lock();
			} else {
				std::shared_lock<std::shared_timed_mutex> l(m, 60s);
				got += l.owns_lock();
			}
		});
	prog_nap_ms(3);
	m.unlock();
	r.unlock();
	r.unlock();
	for (auto &t : ts)
		t.join();
	CHECK_EQ(got.load(), 6);
	puts("timed locks");
}

static void check_exceptions()
{
	std::promise<int> p;
	std::exception_ptr carried;
	std::thread a([&] {
		try {
			throw std::out_of_range("first");
		} catch (...) {
			carried = std::current_exception();
		}
	});
	a.join();
	std::thread b([&] {
		try {
			std::rethrow_exception(carried);
		} catch (std::out_of_range &) {
			try {
				std::throw_with_nested(std::runtime_error("second"));
			} catch (...) {
				p.set_exception(std::current_exception());
			}
		}
	});
	std::string text;
	try {
		p.get_future().get();
	} catch (std::runtime_error &e) {
		text = e.what();
		try {
			std::rethrow_if_nested(e);
		} catch (std::out_of_range &in) {
			text += std::string(" of ") + in.what();
		}
	}
	b.join();

	/* call_once: each failing run hands on to the next waiter */
	std::once_flag flag;
	std::atomic<int> runs{0}, failed{0};
	std::vector<std::thread> ts;
	for (int i = 0; i < 10; i++)
		ts.emplace_back([&] {
			try {
				std::call_once(flag, [&] {
					std::this_thread::sleep_for(1ms);
					if (++runs < 5)
						throw 1;
				});
			} catch (int) {
				failed++;
			}
		});
	for (auto &t : ts)
		t.join();
	printf("exceptions: %s, call_once %d runs, %d failed\n", text.c_str(), runs.load(), failed.load());
}

static std::atomic<int> gone{0};
static std::mutex gone_lock;

struct blocker {	/* its destructor waits and throws: it runs as an ordinary part of the thread */
	int n = 1;
	~blocker()
	{
		std::lock_guard<std::mutex> l(gone_lock);
		std::this_thread::sleep_for(100us);
		try {
			throw n;
		} catch (int v) {
			gone += v;
		}
	}
};

static thread_local blocker tl;

static void check_thread_local()
{
	std::vector<std::future<int>> fs;
	std::vector<std::thread> ts;
	int sum = 0;

	for (int i = 0; i < 20; i++)
		ts.emplace_back([] { tl.n = 2; });
	for (auto &t : ts)
		t.join();
	CHECK_EQ(gone.load(), 40);
	for (int i = 0; i < 20; i++)
		fs.push_back(std::async(std::launch::async, [i] { return i + tl.n; }));
	for (auto &f : fs)
		sum += f.get();
	fs.clear();	/* joins */
	CHECK_EQ(sum, 210);
	std::promise<int> at_exit;
	auto f = at_exit.get_future();
	int before = gone.load();
	std::thread([&] {
		tl.n = 1;
		at_exit.set_value_at_thread_exit(5);
	}).detach();
	CHECK_EQ(f.get(), 5);
	CHECK(gone.load() > before);
	auto lazy = std::async(std::launch::deferred, [] { return 3; });
	CHECK(lazy.wait_for(0s) == std::future_status::deferred);
	std::packaged_task<int(int)> task([](int v) { return v * 2; });
	auto doubled = task.get_future();
	std::jthread(std::move(task), 21).join();
	printf("thread_local %d, async %d\n", lazy.get(), doubled.get());
}

int main()
{
	prog_init();
	check_jthread();
	check_latch_barrier();
	check_semaphores();
	check_atomic_wait();
	check_shared_timed();
	check_exceptions();
	check_thread_local();
	CHECK(std::thread::hardware_concurrency() > 0);
	puts("done");
	return 0;
}
