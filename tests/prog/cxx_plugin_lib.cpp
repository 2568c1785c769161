/* SPDX-License-Identifier: MIT */
/*
 * For cxx_plugin.c: C++ that throws, catches and lets an exception pass through frames of its own.
 */
#include <stdexcept>
#include <string>
#include <vector>

extern "C" int plugin_run(int n);

static int middle(int n)
{
	std::vector<std::string> v(static_cast<size_t>(n % 7 + 1),
				   "some text that is not small at all");
	if (n % 3 == 0)
		throw std::runtime_error(v[0]);
	if (n % 3 == 1)
		throw n;
	return static_cast<int>(v.size());
}

static thread_local int calls;

int plugin_run(int n)
{
	calls++;
	try {
		return middle(n) > 0 ? calls : -1;
	} catch (const std::exception &e) {
		return e.what()[0] == 's' ? calls : -1;
	} catch (int v) {
		return v == n ? calls : -1;
	}
}
