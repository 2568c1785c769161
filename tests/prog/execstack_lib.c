/* SPDX-License-Identifier: MIT */
/* Linked with -z execstack: whoever opens it makes all stacks of the process executable. */
int execstack_answer(void)
{
	return 42;
}
