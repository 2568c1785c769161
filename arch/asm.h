/* SPDX-License-Identifier: MIT */
/* Macros for assembler files: a function with its ELF type, size and call-frame information. */
#pragma once

#define FUNC(name)             \
	.globl name;           \
	.hidden name;          \
	.type name, @function; \
	.balign 16;            \
	name:                  \
	.cfi_startproc

#define END(name)    \
	.cfi_endproc; \
	.size name, .- name

.section .note.GNU-stack, "", @progbits
.text
