/* SPDX-License-Identifier: MIT */
/* Dynamic TLS for tls.c, opened with dlopen: an image, zeros, and a block that is not small. */
int *tls_lib_counter(void);
char *tls_lib_big(void);

static __thread int counter = 1234;
static __thread char big[65536] = "big";

int *tls_lib_counter(void)
{
	return &counter;
}

char *tls_lib_big(void)
{
	return big;
}
