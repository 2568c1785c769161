/* SPDX-License-Identifier: MIT */
/* The C++ half of tls.c: thread_local objects with constructor and destructor. */
#include <atomic>

extern "C" int tls_cxx_touch(int v);
extern "C" int tls_cxx_alive(void);
extern "C" int tls_cxx_order(void);

static std::atomic<int> alive{0}, wrong_order{0};

struct object {
	int value = 50;
	object() { alive++; }
	~object() { alive--; }
};

static thread_local object first;
static thread_local bool second_gone = false;

struct last_made {
	bool made = true;
	~last_made() { second_gone = true; }
};

struct made_first {
	bool made = true;
	~made_first()
	{
		if (!second_gone)	/* reverse order of construction */
			wrong_order++;
	}
};

static thread_local made_first outer;
static thread_local last_made inner;

int tls_cxx_touch(int v)
{
	if (!outer.made || !inner.made)
		return -1;
	first.value += v;
	return first.value;
}

int tls_cxx_alive(void)
{
	return alive;
}

int tls_cxx_order(void)
{
	return wrong_order;
}
