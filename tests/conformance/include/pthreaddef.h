/* SPDX-License-Identifier: MIT */
#pragma once
#define ARCH_STACK_DEFAULT_SIZE (2 * 1024 * 1024)
#define TCB_ALIGNMENT 64
