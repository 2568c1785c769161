/* SPDX-License-Identifier: MIT */
extern void *__dso_handle __attribute__((visibility("hidden")));
