/* SPDX-License-Identifier: MIT */
/*
 * The C++ library on threads: std::thread, mutexes, condition_variable, shared_mutex, future,
 * async, promise with an exception, call_once that throws, exceptions in many threads at once,
 * thread_local.
 */
#include "prog.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::atomic<int> constructed{0}, destroyed{0};

struct counted {
	int value = 7;
	counted() { constructed++; }
	~counted() { destroyed++; }
};

static thread_local counted local;

static void throw_deep(int depth)
{
	std::string s(static_cast<size_t>(depth) + 1, 'x');	/* has a destructor to run */
	if (depth == 0)
		throw std::runtime_error("deep");
	throw_deep(depth - 1);
	if (s.empty())
		std::abort();
}

static void check_exceptions()
{
	std::vector<std::thread> ts;
	std::atomic<int> caught{0};

	for (int i = 0; i < 16; i++)
		ts.emplace_back([&caught] {
			for (int j = 0; j < 50; j++) {
				try {
					throw_deep(20);
				} catch (const std::exception &e) {
					CHECK(std::string(e.what()) == "deep");
					/* blocks inside a handler */
					std::this_thread::yield();
					try {
						throw j;
					} catch (int v) {
						std::this_thread::sleep_for(
							std::chrono::microseconds(10));
						CHECK_EQ(v, j);
					}
					CHECK(std::string(e.what()) == "deep");
					caught++;
				}
				CHECK_EQ(std::uncaught_exceptions(), 0);
			}
		});
	for (auto &t : ts)
		t.join();
	CHECK_EQ(caught, 800);
	puts("exceptions ok");
}

static void check_queue()
{
	std::mutex m;
	std::condition_variable cv;
	std::deque<int> q;
	std::vector<std::thread> ts;
	long sum = 0;

	for (int i = 0; i < 4; i++)
		ts.emplace_back([&] {
			for (int j = 0; j < 1000; j++) {
				std::lock_guard<std::mutex> g(m);
				q.push_back(j);
				cv.notify_one();
			}
		});
	for (int i = 0; i < 4000; i++) {
		std::unique_lock<std::mutex> g(m);
		cv.wait(g, [&q] { return !q.empty(); });
		sum += q.front();
		q.pop_front();
	}
	for (auto &t : ts)
		t.join();
	CHECK_EQ(sum, 4L * 999 * 1000 / 2);
	std::unique_lock<std::mutex> g(m);
	auto before = std::chrono::steady_clock::now();
	CHECK(!cv.wait_for(g, std::chrono::milliseconds(15), [] { return false; }));
	CHECK(std::chrono::steady_clock::now() - before >= std::chrono::milliseconds(15));
	puts("queue ok");
}

static void check_locks()
{
	std::recursive_mutex r;
	std::timed_mutex t;
	std::shared_mutex s;
	std::vector<std::thread> ts;
	int value = 0;

	r.lock();
	CHECK(r.try_lock());
	t.lock();
	std::thread([&] {
		CHECK(!r.try_lock());
		CHECK(!t.try_lock_for(std::chrono::milliseconds(5)));
	}).join();
	t.unlock();
	r.unlock();
	r.unlock();
	for (int i = 0; i < 8; i++)
		ts.emplace_back([&, i] {
			for (int j = 0; j < 500; j++) {
				if (i & 1) {
					std::unique_lock<std::shared_mutex> g(s);
					value++;
				} else {
					std::shared_lock<std::shared_mutex> g(s);
					CHECK(value <= 2000);
				}
			}
		});
	for (auto &th : ts)
		th.join();
	CHECK_EQ(value, 2000);
	puts("locks ok");
}

static void check_futures()
{
	std::vector<std::future<int>> fs;
	std::promise<int> p;
	std::shared_future<int> shared = p.get_future().share();
	std::vector<std::thread> ts;
	std::atomic<int> thrown{0};

	for (int i = 0; i < 20; i++)
		fs.push_back(std::async(std::launch::async, [i] {
			std::this_thread::yield();
			return i * i;
		}));
	int sum = 0;
	for (auto &f : fs)
		sum += f.get();
	CHECK_EQ(sum, 2470);
	auto failing =
		std::async(std::launch::async, []() -> int { throw std::logic_error("async"); });
	try {
		failing.get();
		CHECK(!"reached");
	} catch (const std::logic_error &e) {
		CHECK(std::string(e.what()) == "async");
	}
	for (int i = 0; i < 5; i++)
		ts.emplace_back([shared, &thrown] {
			try {
				shared.get();
			} catch (const std::out_of_range &) {
				thrown++;
			}
		});
	p.set_exception(std::make_exception_ptr(std::out_of_range("promise")));
	for (auto &t : ts)
		t.join();
	CHECK_EQ(thrown, 5);
	std::promise<void> never;
	CHECK(never.get_future().wait_for(std::chrono::milliseconds(5)) ==
	      std::future_status::timeout);
	std::packaged_task<int(int)> task([](int v) { return v + 1; });
	auto result = task.get_future();
	std::thread(std::move(task), 41).join();
	CHECK_EQ(result.get(), 42);
	puts("futures ok");
}

static void check_once()
{
	std::once_flag flag;
	std::atomic<int> tries{0}, passed{0};
	std::vector<std::thread> ts;

	for (int i = 0; i < 10; i++)
		ts.emplace_back([&] {
			for (;;) {
				try {
					std::call_once(flag, [&] {
						std::this_thread::yield();
						if (++tries < 4)
							throw std::runtime_error("again");
					});
					passed++;
					return;
				} catch (const std::runtime_error &) {
				}
			}
		});
	for (auto &t : ts)
		t.join();
	CHECK_EQ(tries, 4);
	CHECK_EQ(passed, 10);
	puts("call_once ok");
}

static int magic(std::atomic<int> &made)
{
	static int value = (made++, std::this_thread::sleep_for(std::chrono::milliseconds(2)), 5);
	return value;
}

int main()
{
	prog_init();
	{
		std::vector<std::thread> ts;
		std::vector<long> out(50);
		std::atomic<int> made{0};

		for (size_t i = 0; i < out.size(); i++)
			ts.emplace_back([&out, &made, i] {
				local.value += static_cast<int>(i);
				std::this_thread::yield();
				out[i] = local.value;
				CHECK_EQ(magic(made), 5);
			});
		for (auto &t : ts)
			t.join();
		CHECK_EQ(std::accumulate(out.begin(), out.end(), 0L), 50 * 7 + 49 * 50 / 2);
		CHECK_EQ(constructed, 50);
		CHECK_EQ(destroyed, 50);
		CHECK_EQ(made, 1);
		puts("threads ok");
	}
	check_exceptions();
	check_queue();
	check_locks();
	check_futures();
	check_once();
	return 0;
}
