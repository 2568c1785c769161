// SPDX-License-Identifier: MIT
/*
 * gmprun: starts a program under libgmpshim.so, says beforehand what will not work, lists what the library does with
 * the functions a program imports, and starts the other tools. See gmprun(1).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/tracefile.h"

#define LIBRARY	     "libgmpshim.so"
#define CANNOT_START 126 /* as a shell says it */
#define NOT_FOUND    127

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#else
#define OWN_MACHINE EM_NONE
#endif

static const struct hook {
	const char *name, *class;
} hooks[] = {
#define HOOK(name, version, class) {#name, #class},
#include "preload/hooks.def"
#undef HOOK
};

/* Functions of libc that may block and have no hook: sysmon finds that, after some ms. */
static const char *const unseen[] = {
	"getc", "getchar", "fgetc", "_IO_getc", "scanf", "fscanf", "__isoc99_scanf", "__isoc99_fscanf", "vfscanf",
	"getaddrinfo_a", "aio_read", "aio_write", "lio_listio", "readdir", "readdir64", "msync", "mkdir", "rename",
	"unlink", "stat", "fstat", "lstat", "fopencookie", "tmpfile", "syslog", "vsyslog", "getpass", "getlogin",
	"io_getevents", "nftw", "ftw", "glob", "realpath",
};

static void usage(FILE *to)
{
	fputs("usage: gmprun [-p N] [-s] [-S FILE] [-t MS] [-T FILE] [-f] [--] PROGRAM [ARGUMENT...]\n"
	      "       gmprun --check PROGRAM\n"
	      "       gmprun compare --load 'COMMAND' [OPTION...] -- SERVER [ARGUMENT...]\n"
	      "       gmprun top [-n TIMES] [-d SECONDS] PID\n"
	      "       gmprun trace [-d SECONDS] [-m MB] [-o FILE] PID | -- PROGRAM [ARGUMENT...]\n"
	      "       gmprun trace --convert FILE\n"
	      "  -p N     GOMAXPROCS: run program code on N processors at most\n"
	      "  -s       print statistics at exit; -S FILE: append them to FILE as JSON\n"
	      "  -t MS    print the state of the scheduler every MS milliseconds (schedtrace)\n"
	      "  -T FILE  write a trace of the scheduler for ui.perfetto.dev\n"
	      "  -f       start the program even if the library cannot work in it\n",
	      to);
}

static void __attribute__((noreturn, format(printf, 1, 2))) wrong(const char *fmt, ...)
{
	va_list ap;

	fputs("gmprun: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	usage(stderr);
	exit(2);
}

static void __attribute__((noreturn, format(printf, 2, 3))) die(int status, const char *fmt, ...)
{
	va_list ap;

	fputs("gmprun: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

/* --- finding things --- */

static bool join(char *to, const char *dir, const char *name)
{
	return snprintf(to, PATH_MAX, "%s/%s", dir, name) < PATH_MAX && access(to, R_OK) == 0;
}

/* Beside gmprun in the build tree, or where it was installed; also when the whole tree was moved. */
static void own_dir(char *dir)
{
	ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);

	dir[n > 0 ? n : 0] = '\0';
	if (strrchr(dir, '/') != NULL)
		*strrchr(dir, '/') = '\0';
}

static void find_library(char *path)
{
	static const char *const near[] = {"../preload/" LIBRARY, "../lib/" LIBRARY, "../" LIBDIR "/" LIBRARY};
	char dir[PATH_MAX], real[PATH_MAX];

	own_dir(dir);
	for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++)
		if (join(path, dir, near[i]) && realpath(path, real) != NULL) {
			strcpy(path, real);
			return;
		}
	if (join(path, PREFIX "/" LIBDIR, LIBRARY))
		return;
	die(CANNOT_START, LIBRARY " is neither beside this program nor in " PREFIX "/" LIBDIR);
}

static void find_script(char *path, const char *name)
{
	char dir[PATH_MAX];

	own_dir(dir);
	if (join(path, dir, name) || join(path, PREFIX "/" SCRIPTDIR, name))
		return;
	strcat(dir, "/../" SCRIPTDIR);
	if (!join(path, dir, name))
		die(CANNOT_START, "%s is neither beside this program nor in " PREFIX "/" SCRIPTDIR, name);
}

/* As execvp would find it. */
static bool find_program(const char *name, char *path)
{
	const char *p = getenv("PATH");
	struct stat st;

	if (strchr(name, '/') != NULL) {
		snprintf(path, PATH_MAX, "%s", name);
		return stat(path, &st) == 0;
	}
	for (p = p != NULL ? p : "/usr/bin:/bin"; *p != '\0'; p += strcspn(p, ":"), p += *p == ':') {
		int n = (int)strcspn(p, ":");

		if (snprintf(path, PATH_MAX, "%.*s/%s", n, n > 0 ? p : ".", name) < PATH_MAX && stat(path, &st) == 0 &&
		    S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* --- looking into an ELF file --- */

struct elf {
	const char *data;
	size_t size;
};

/* n bytes at `at`, or NULL when the file is shorter. */
static const void *at(const struct elf *e, uint64_t off, uint64_t n)
{
	return off <= e->size && n <= e->size - off ? e->data + off : NULL;
}

static bool map_file(const char *path, struct elf *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	void *p = MAP_FAILED;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return false;
	e->data = p;
	e->size = (size_t)st.st_size;
	return true;
}

static bool is_elf64(const struct elf *e)
{
	const Elf64_Ehdr *eh = at(e, 0, sizeof(*eh));

	return eh != NULL && memcmp(eh->e_ident, ELFMAG, SELFMAG) == 0 && eh->e_ident[EI_CLASS] == ELFCLASS64 &&
	       eh->e_phentsize == sizeof(Elf64_Phdr);
}

static const Elf64_Phdr *segment(const struct elf *e, uint32_t type)
{
	const Elf64_Ehdr *eh = at(e, 0, sizeof(*eh));
	const Elf64_Phdr *ph = at(e, eh->e_phoff, (uint64_t)eh->e_phnum * sizeof(*ph));

	for (int i = 0; ph != NULL && i < eh->e_phnum; i++)
		if (ph[i].p_type == type)
			return &ph[i];
	return NULL;
}

static bool has_go_note(const struct elf *e)
{
	const Elf64_Ehdr *eh = at(e, 0, sizeof(*eh));
	const Elf64_Phdr *ph = at(e, eh->e_phoff, (uint64_t)eh->e_phnum * sizeof(*ph));

	for (int i = 0; ph != NULL && i < eh->e_phnum; i++) {
		uint64_t off = ph[i].p_offset, end = off + ph[i].p_filesz;
		const Elf64_Nhdr *nh;

		while (ph[i].p_type == PT_NOTE && off < end && (nh = at(e, off, sizeof(*nh) + 4)) != NULL) {
			if (nh->n_namesz == 4 && memcmp(nh + 1, "Go\0", 4) == 0)
				return true;
			off += sizeof(*nh) + ((nh->n_namesz + 3u) & ~3u) + ((nh->n_descsz + 3u) & ~3u);
		}
	}
	return false;
}

/* What keeps the library from working in path, a line each. How many. */
static int complain(const char *path, const struct elf *e)
{
	const Elf64_Phdr *interp;
	const char *name = NULL;
	struct stat st;
	int n = 0;

#define SAY(...) (fprintf(stderr, "gmprun: %s: ", path), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), ++n)
	if (stat(path, &st) < 0)
		return SAY("%s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return SAY("is a directory");
	if (access(path, X_OK) < 0)
		SAY("is not executable (chmod +x)");
	if (st.st_mode & (S_ISUID | S_ISGID))
		SAY("is set-user-ID or set-group-ID: the dynamic linker ignores LD_PRELOAD with a path there");
	else if (getxattr(path, "security.capability", NULL, 0) > 0)
		SAY("has file capabilities: the dynamic linker ignores LD_PRELOAD with a path there");
	if (e->data == NULL || e->size < EI_NIDENT || memcmp(e->data, ELFMAG, SELFMAG) != 0)
		return SAY("is neither an ELF program nor a script");
	if (!is_elf64(e) || ((const Elf64_Ehdr *)e->data)->e_machine != OWN_MACHINE)
		return SAY("is for another CPU architecture than the library");
	interp = segment(e, PT_INTERP);
	if (interp != NULL)
		name = at(e, interp->p_offset, interp->p_filesz);
	if (has_go_note(e))
		SAY("is a Go program: it has this scheduler already");
	if (interp == NULL)
		SAY("is statically linked: nothing can be preloaded");
	else if (name != NULL && memmem(name, interp->p_filesz, "musl", 4) != NULL)
		SAY("is linked with musl: the library works with glibc only");
#undef SAY
	return n;
}

/* The length of the word at *p, which moves to its begin; of one line. */
static size_t word(const char **p, const char *end)
{
	size_t n = 0;

	while (*p < end && (**p == ' ' || **p == '\t'))
		(*p)++;
	while (*p + n < end && n < PATH_MAX - 1 && strchr(" \t\n\r", (*p)[n]) == NULL)
		n++;
	return n;
}

/* The interpreter of a #! script into path, when that is one; of "env NAME" that which env would start. */
static bool script(const struct elf *e, char *path)
{
	const char *p = e->data + 2, *end = e->data + e->size;
	char name[PATH_MAX], found[PATH_MAX];
	size_t n;

	if (e->size < 3 || memcmp(e->data, "#!", 2) != 0)
		return false;
	n = word(&p, end);
	if (n == 0)
		return false;
	memcpy(path, p, n);
	path[n] = '\0';
	if (strcmp(path, "/usr/bin/env") != 0)
		return true;
	p += n;
	n = word(&p, end);
	if (n == 2 && memcmp(p, "-S", 2) == 0) {
		p += n;
		n = word(&p, end);
	}
	memcpy(name, p, n);
	name[n] = '\0';
	if (n > 0 && *name != '-' && strchr(name, '=') == NULL && find_program(name, found))
		strcpy(path, found);
	return true;
}

/* From the script at path to the program that runs it, into path and e. Says why one cannot be started; how many. */
static int follow_scripts(char *path, struct elf *e)
{
	char interpreter[PATH_MAX];
	int n = 0;

	for (int depth = 0; depth < 5; depth++) {
		e->data = NULL;
		if (!map_file(path, e) || !script(e, interpreter))
			break;
		if (access(path, X_OK) < 0)
			n += fprintf(stderr, "gmprun: %s: is not executable (chmod +x)\n", path) > 0;
		strcpy(path, interpreter);
	}
	return n;
}

static int check_start(const char *name)
{
	char path[PATH_MAX];
	struct elf e = {0};
	int n;

	if (!find_program(name, path))
		die(NOT_FOUND, "%s: not found", name);
	n = follow_scripts(path, &e);
	return n + complain(path, &e);
}

/* --- gmprun --check --- */

struct import {
	const char *name, *library;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct import *)a)->name, ((const struct import *)b)->name);
}

static const char *class_of(const struct import *im)
{
	static const char *const libcs[] = {"libc.", "libm.", "libpthread.", "librt.", "libdl.", "ld-linux"};
	bool own = false;

	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		if (strcmp(hooks[i].name, im->name) == 0)
			return hooks[i].class;
	for (size_t i = 0; i < sizeof(libcs) / sizeof(libcs[0]); i++)
		own = own || (im->library != NULL && strncmp(im->library, libcs[i], strlen(libcs[i])) == 0);
	if (!own)
		return "UNKNOWN";
	for (size_t i = 0; i < sizeof(unseen) / sizeof(unseen[0]); i++)
		if (strcmp(unseen[i], im->name) == 0)
			return "UNSEEN";
	return "PASS";
}

static const Elf64_Shdr *section(const struct elf *e, uint32_t type)
{
	const Elf64_Ehdr *eh = at(e, 0, sizeof(*eh));
	const Elf64_Shdr *sh = at(e, eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(*sh));

	for (int i = 0; sh != NULL && i < eh->e_shnum; i++)
		if (sh[i].sh_type == type && at(e, sh[i].sh_offset, sh[i].sh_size) != NULL)
			return &sh[i];
	return NULL;
}

/* A string of a string section, which must end with a 0. */
static const char *string(const struct elf *e, const Elf64_Shdr *strings, uint64_t off)
{
	const char *base = at(e, strings->sh_offset, strings->sh_size);

	return base != NULL && off < strings->sh_size && base[strings->sh_size - 1] == '\0' ? base + off : "?";
}

/* The library that a symbol's version is asked of. */
static const char *library_of(const struct elf *e, const Elf64_Shdr *need, const Elf64_Shdr *strings, uint16_t version)
{
	uint64_t off = need->sh_offset;

	for (;;) {
		const Elf64_Verneed *vn = at(e, off, sizeof(*vn));
		uint64_t aux = vn != NULL ? off + vn->vn_aux : 0;

		for (int i = 0; vn != NULL && i < vn->vn_cnt; i++) {
			const Elf64_Vernaux *va = at(e, aux, sizeof(*va));

			if (va == NULL)
				break;
			if ((va->vna_other & 0x7fff) == (version & 0x7fff))
				return string(e, strings, vn->vn_file);
			aux += va->vna_next;
		}
		if (vn == NULL || vn->vn_next == 0)
			return NULL;
		off += vn->vn_next;
	}
}

static void print_class(const struct import *im, size_t n, const char *class, const char *title)
{
	size_t count = 0;
	int column = 0;

	for (size_t i = 0; i < n; i++)
		count += strcmp(class_of(&im[i]), class) == 0;
	printf("%s: %zu\n", title, count);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(class_of(&im[i]), class) != 0)
			continue;
		if (column + (int)strlen(im[i].name) + 2 > 100) {
			putchar('\n');
			column = 0;
		}
		column += printf("%s%s", column == 0 ? "    " : "  ", im[i].name);
	}
	if (count > 0)
		putchar('\n');
}

static int check(const char *name)
{
	char path[PATH_MAX], script[PATH_MAX];
	struct elf e = {0};
	const Elf64_Shdr *dyn, *versions, *need, *strings;
	const Elf64_Sym *sym;
	const uint16_t *versym;
	struct import *imports;
	size_t n = 0, nsym;
	int bad;

	if (!find_program(name, path))
		die(NOT_FOUND, "%s: not found", name);
	strcpy(script, path);
	bad = follow_scripts(path, &e);
	if (strcmp(script, path) != 0)
		printf("%s is a script of %s, which follows\n", script, path);
	bad += complain(path, &e);
	if (e.data == NULL || !is_elf64(&e) || (dyn = section(&e, SHT_DYNSYM)) == NULL)
		return bad > 0 ? 1 : 0;
	strings = (const Elf64_Shdr *)at(&e, ((const Elf64_Ehdr *)e.data)->e_shoff, 0) + dyn->sh_link;
	versions = section(&e, SHT_GNU_versym);
	need = section(&e, SHT_GNU_verneed);
	sym = at(&e, dyn->sh_offset, dyn->sh_size);
	nsym = dyn->sh_size / sizeof(*sym);
	versym = versions != NULL ? at(&e, versions->sh_offset, nsym * sizeof(*versym)) : NULL;
	imports = calloc(nsym + 1, sizeof(*imports));
	if (imports == NULL)
		die(1, "out of memory");
	for (size_t i = 1; i < nsym; i++) {
		int type = ELF64_ST_TYPE(sym[i].st_info);

		if (sym[i].st_shndx != SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC))
			continue;
		imports[n].name = string(&e, strings, sym[i].st_name);
		if (versym != NULL && need != NULL)
			imports[n].library = library_of(&e, need, strings, versym[i]);
		n++;
	}
	qsort(imports, n, sizeof(*imports), by_name);
	print_class(imports, n, "PARK", "parks (the thread waits, no kernel thread does)");
	print_class(imports, n, "HANDOFF", "hands off (a kernel thread waits, others run on)");
	print_class(imports, n, "LOCAL", "handled without waiting");
	print_class(imports, n, "UNSEEN", "may wait past the library (found after some milliseconds)");
	print_class(imports, n, "PASS", "passes to libc");
	print_class(imports, n, "UNKNOWN", "does not know (of other libraries)");
	return bad > 0 ? 1 : 0;
}

/* --- starting --- */

static long number(const char *s, long max, const char *what)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (errno != 0 || *s == '\0' || *end != '\0' || v < 1 || v > max)
		wrong("%s wants a number from 1 to %ld, not '%s'", what, max, s);
	return v;
}

/* Put value in front of what the variable holds. */
static void prepend(const char *name, const char *value, char separator)
{
	const char *old = getenv(name);
	char *all;

	if (asprintf(&all, old != NULL && *old != '\0' ? "%s%c%s" : "%s", value, separator, old) < 0 ||
	    setenv(name, all, 1) != 0)
		die(1, "out of memory");
	free(all);
}

static void __attribute__((noreturn)) run_script(const char *name, char **args, int nargs)
{
	char library[PATH_MAX], path[PATH_MAX], self[PATH_MAX] = "";
	char *argv[nargs + 7];
	int n = 0;

	find_library(library);
	find_script(path, name);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		die(CANNOT_START, "/proc/self/exe: %s", strerror(errno));
	argv[n++] = "python3";
	argv[n++] = path;
	argv[n++] = "--shim";
	argv[n++] = library;
	if (strcmp(name, "gmptrace.py") == 0) {
		argv[n++] = "--gmprun";
		argv[n++] = self;
	}
	for (int i = 0; i < nargs; i++)
		argv[n++] = args[i];
	argv[n] = NULL;
	execvp("python3", argv);
	die(CANNOT_START, "python3: %s", strerror(errno));
}

/* A raw trace as JSON to stdout. */
static int convert(const char *path)
{
	struct elf raw;

	if (!map_file(path, &raw))
		die(1, "%s: cannot be read", path);
	fflush(stdout);
	if (gmp_trace_json(raw.data, raw.size, STDOUT_FILENO) != 0)
		die(1, "%s: is no raw trace", path);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"check", required_argument, NULL, 'c'},
					      {"procs", required_argument, NULL, 'p'},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, 'V'},
					      {NULL, 0, NULL, 0}};
	char library[PATH_MAX], text[PATH_MAX + 8];
	bool force = false;
	int c;

	if (argc > 1 && strcmp(argv[1], "compare") == 0)
		run_script("gmpcompare.py", argv + 2, argc - 2);
	if (argc > 1 && strcmp(argv[1], "top") == 0)
		run_script("gmptop.py", argv + 2, argc - 2);
	if (argc > 1 && strcmp(argv[1], "trace") == 0) {
		if (argc > 2 && strcmp(argv[2], "--convert") == 0) {
			if (argc != 4)
				wrong("trace --convert wants one file");
			return convert(argv[3]);
		}
		run_script("gmptrace.py", argv + 2, argc - 2);
	}
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+p:sS:t:T:fhV", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			if (optind < argc)
				wrong("--check wants one program");
			return check(optarg);
		case 'p':
			snprintf(text, sizeof(text), "%ld", number(optarg, 256, "-p"));
			setenv("GOMAXPROCS", text, 1);
			break;
		case 's':
			setenv("GMPSHIM_STATS", "1", 1);
			break;
		case 'S':
			snprintf(text, sizeof(text), "json:%s", optarg);
			setenv("GMPSHIM_STATS", text, 1);
			break;
		case 't':
			snprintf(text, sizeof(text), "schedtrace=%ld", number(optarg, 86400000, "-t"));
			prepend("GODEBUG", text, ',');
			break;
		case 'T':
			setenv("GMPSHIM_TRACE", optarg, 1);
			break;
		case 'f':
			force = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			puts("gmprun " VERSION);
			return 0;
		default:
			if (optopt == 0 || strchr("pStTc", optopt) == NULL)
				wrong("no such option: %s", argv[optind - 1]);
			wrong("an argument is missing after %s", argv[optind - 1]);
		}
	}
	if (optind == argc)
		wrong("no program given");
	if (check_start(argv[optind]) > 0 && !force)
		return CANNOT_START;
	find_library(library);
	if (strpbrk(library, " :") != NULL)
		die(CANNOT_START, "%s: LD_PRELOAD takes no path with a space or a colon", library);
	prepend("LD_PRELOAD", library, ':');
	execvp(argv[optind], argv + optind);
	die(errno == ENOENT ? NOT_FOUND : CANNOT_START, "%s: %s", argv[optind], strerror(errno));
}
