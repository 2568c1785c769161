/* SPDX-License-Identifier: MIT */
/* tools/gmp-gdb.py, where gdb looks for it; not loaded into memory. The 4: Python, inlined, first line is its name. */
	.section .debug_gdb_scripts, "MS", @progbits, 1
	.byte 4
	.ascii "gmp-gdb\n"
	.incbin GMP_GDB_SCRIPT
	.byte 0
	.section .note.GNU-stack, "", @progbits
