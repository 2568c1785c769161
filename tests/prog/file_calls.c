/* SPDX-License-Identifier: MIT */
/*
 * Functions on files, in their forms with and without 64: results, partial counts, errors. What they print is
 * compared with a native run.
 */
#undef _FILE_OFFSET_BITS /* both forms under their own names */
#include "prog.h"

#include <aio.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int fd, const char *path, int flags);
int __openat64_2(int fd, const char *path, int flags);
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t size);

static char dir[] = "/tmp/gmpshim-file-XXXXXX", path[64], buf[64];
static int dirfd_, fd;

/* Prints the result of a call, with errno if it failed. */
#define SHOW(call)                                                            \
	do {                                                                  \
		errno = 0;                                                    \
		long show_ret = (long)(call);                                 \
		printf("%s: %ld %d\n", #call, show_ret, show_ret == -1 ? errno : 0); \
	} while (0)

static void positions(void)
{
	struct iovec out[2] = { { "hello ", 6 }, { "world", 5 } }, in[2] = { { buf, 4 }, { buf + 4, 60 } };

	SHOW(pwrite(fd, "0123456789", 10, 0));
	SHOW(pwrite64(fd, "abc", 3, 8));
	SHOW(pread(fd, buf, 64, 5));
	printf("%.6s\n", buf);
	SHOW(pread64(fd, buf, 64, 100));
	SHOW(pread(fd, buf, 1, -1));
	SHOW(pread(-1, buf, 1, 0));
	SHOW(pwritev(fd, out, 2, 2));
	SHOW(pwritev64(fd, out, 1, 20));
	SHOW(preadv(fd, in, 2, 0));
	printf("%.13s\n", buf);
	SHOW(preadv64(fd, in, 2, 20));
	SHOW(pwritev2(fd, out, 2, 0, RWF_DSYNC));
	SHOW(preadv2(fd, in, 2, 3, 0));
	SHOW(lseek(fd, 1, SEEK_SET));
	SHOW(preadv2(fd, in, 1, -1, 0));
	SHOW(pwritev64v2(fd, out, 2, -1, 0));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(preadv64v2(fd, in, 1, 0, 0x40000000));
	SHOW(__pread_chk(fd, buf, 8, 0, sizeof(buf)));
	SHOW(__pread64_chk(fd, buf, 8, 0, sizeof(buf)));
	SHOW(__read_chk(fd, buf, 8, sizeof(buf)));
}

static void sizes(void)
{
	struct stat st;

	SHOW(ftruncate(fd, 100));
	SHOW(ftruncate64(fd, 50));
	SHOW(ftruncate(fd, -1));
	SHOW(truncate(path, 70));
	SHOW(truncate64(path, 60));
	SHOW(truncate("/nonexistent", 1));
	SHOW(fallocate(fd, 0, 0, 4096));
	SHOW(fallocate64(fd, FALLOC_FL_KEEP_SIZE, 0, 8192));
	SHOW(fallocate(fd, 0, -1, 1));
	SHOW(posix_fallocate(fd, 0, 9000));
	SHOW(posix_fallocate64(-1, 0, 1));
	SHOW(fstat(fd, &st));
	printf("size %ld\n", (long)st.st_size);
	SHOW(fsync(fd));
	SHOW(fdatasync(fd));
	SHOW(fsync(-1));
	SHOW(sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE));
	SHOW(syncfs(fd));
	sync();
}

static void map(void)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	p[0] = 'm';
	SHOW(msync(p, 4096, MS_SYNC));
	SHOW(msync(p + 1, 4096, MS_SYNC));
	CHECK_EQ(munmap(p, 4096), 0);
	SHOW(pread(fd, buf, 1, 0));
	printf("%c\n", buf[0]);
}

static void copies(void)
{
	int p[2], q[2];
	off_t off = 0;
	off64_t off64 = 2, to = 0;
	struct iovec v = { "vmspliced", 9 };
	int out = openat(dirfd_, "copy", O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(out >= 0);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe(q), 0);
	SHOW(ftruncate(fd, 0));
	SHOW(pwrite(fd, "copy me around", 14, 0));
	SHOW(sendfile(p[1], fd, &off, 5));
	SHOW(sendfile64(p[1], fd, &off64, 3));
	printf("%ld %ld\n", (long)off, (long)off64);
	SHOW(tee(p[0], q[1], 100, 0));
	SHOW(splice(p[0], NULL, out, &to, 100, 0));
	SHOW(vmsplice(q[1], &v, 1, 0));
	SHOW(read(q[0], buf, 64));
	printf("%.17s\n", buf);
	SHOW(splice(q[0], NULL, out, NULL, 1, SPLICE_F_NONBLOCK));
	SHOW(tee(fd, out, 1, 0));
	off64 = 0;
	SHOW(copy_file_range(fd, &off64, out, NULL, 4, 0));
	SHOW(copy_file_range(fd, NULL, out, NULL, 4, 1));
	SHOW(sendfile(out, -1, NULL, 1));
	close(out);
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(q[i]);
	}
}

static void opens(void)
{
	char name[80];

	snprintf(name, sizeof(name), "%s/new", dir);
#define OPENED(call)                                              \
	do {                                                      \
		int o = (call);                                   \
		CHECK(o >= 0);                                    \
		struct stat st;                                   \
		CHECK_EQ(fstat(o, &st), 0);                       \
		printf("%s: mode %o\n", #call, st.st_mode & 0777); \
		CHECK_EQ(close(o), 0);                            \
	} while (0)
	OPENED(open(name, O_RDWR | O_CREAT | O_EXCL, 0640));
	SHOW(open(name, O_RDWR | O_CREAT | O_EXCL, 0640));
	OPENED(open64(name, O_RDONLY));
	OPENED(openat(dirfd_, "new2", O_WRONLY | O_CREAT, 0600));
	OPENED(openat64(dirfd_, "new2", O_RDONLY));
	OPENED(creat(name, 0600));
	OPENED(creat64(name, 0600));
	OPENED(__open_2(name, O_RDONLY));
	OPENED(__open64_2(name, O_RDONLY));
	OPENED(__openat_2(dirfd_, "new2", O_RDONLY));
	OPENED(__openat64_2(dirfd_, "new2", O_RDONLY));
	OPENED(dup3(fd, 100, O_CLOEXEC));
	SHOW(dup3(fd, fd, 0));
	SHOW(open("/nonexistent/x", O_RDONLY));
	SHOW(creat("/nonexistent/x", 0600));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(-1, F_GETFD));
	SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 200));
	SHOW(close(200));
}

static void streams(void)
{
	char name[80];
	FILE *f;

	snprintf(name, sizeof(name), "%s/stream", dir);
	f = fopen(name, "w+");
	CHECK(f);
	SHOW(fputs("one\ntwo\n", f) >= 0);
	f = freopen(name, "r", f);
	CHECK(f);
	CHECK(fgets(buf, sizeof(buf), f));
	printf("%s", buf);
	SHOW(fclose(f));
	CHECK(!fopen("/nonexistent/x", "r"));
	CHECK_EQ(errno, ENOENT);
	f = tmpfile();
	CHECK(f);
	SHOW(fclose(f));
}

static volatile int ended;

static void on_signal(int sig)
{
}

/* A handler that comes too early costs a round. */
static void *interrupts(void *arg)
{
	while (!ended) {	/* the first signals may come before the call */
		prog_nap_ms(20);
		CHECK_EQ(pthread_kill(*(pthread_t *)arg, SIGALRM), 0);
	}
	return arg;
}

/* Another process holds the lock. */
static void locks(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_t t, self = pthread_self();
	int go[2], status;
	pid_t pid;
	char c;

	CHECK_EQ(sigaction(SIGALRM, &sa, NULL), 0);
	CHECK_EQ(pipe(go), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	pid = fork();
	if (pid == 0) {
		if (lockf(fd, F_LOCK, 10) || write(go[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	CHECK_EQ(read(go[0], &c, 1), 1);
	SHOW(lockf(fd, F_TLOCK, 5));
	SHOW(lockf64(fd, F_TEST, 5));
	t = prog_start(interrupts, &self);
	SHOW(lockf(fd, F_LOCK, 5)); /* ended by a handler without SA_RESTART */
	ended = 1;
	prog_join(t);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	SHOW(lockf64(fd, F_LOCK, 5));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	SHOW(lockf(fd, F_ULOCK, 5));
	close(go[0]);
	close(go[1]);
}

static void semaphores(void)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf up = { 0, 1, 0 }, down = { 0, -1, 0 }, nowait = { 0, -1, IPC_NOWAIT };
	struct timespec ts = { 0, 20000000 }, bad = { 0, 2000000000 };
	int64_t t0;

	CHECK(id >= 0);
	SHOW(semtimedop(id, &up, 1, NULL));
	SHOW(semtimedop(id, &down, 1, &ts));
	t0 = prog_now_ns(CLOCK_MONOTONIC);
	SHOW(semtimedop(id, &down, 1, &ts));
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - t0 >= 20000000);
	SHOW(semtimedop(id, &nowait, 1, &ts));
	SHOW(semtimedop(id, &down, 1, &bad));
	CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
	SHOW(semtimedop(id, &up, 1, NULL) == -1 && (errno == EINVAL || errno == EIDRM));
}

static void aio(void)
{
	static char a[8], b[8];
	struct aiocb c[2] = { { .aio_fildes = fd, .aio_buf = a, .aio_nbytes = 4, .aio_lio_opcode = LIO_READ },
			      { .aio_fildes = fd, .aio_buf = b, .aio_nbytes = 4, .aio_offset = 4,
				.aio_lio_opcode = LIO_READ } };
	struct aiocb *list[2] = { &c[0], &c[1] };
	struct aiocb64 c64 = { .aio_fildes = fd, .aio_buf = a, .aio_nbytes = 4, .aio_lio_opcode = LIO_READ };
	struct aiocb64 *list64[1] = { &c64 };

	SHOW(lio_listio(LIO_WAIT, list, 2, NULL));
	SHOW(aio_return(&c[0]));
	SHOW(aio_return(&c[1]));
	printf("%s%s\n", a, b);
	SHOW(aio_read(&c[0]));
	while (aio_error(&c[0]) == EINPROGRESS)
		CHECK_EQ(aio_suspend((const struct aiocb **)list, 1, NULL), 0);
	SHOW(aio_return(&c[0]));
	SHOW(lio_listio64(LIO_WAIT, list64, 1, NULL));
	SHOW(aio_suspend64((const struct aiocb64 **)list64, 1, NULL));
	SHOW(aio_return64(&c64));
}

static void terminal(void)
{
	struct termios t;
	int master, slave;
	char c;

	if (openpty(&master, &slave, NULL, NULL, NULL) != 0) {
		puts("no pty");
		return;
	}
	CHECK_EQ(tcgetattr(slave, &t), 0);
	cfmakeraw(&t);
	SHOW(tcsetattr(slave, TCSADRAIN, &t));
	SHOW(write(slave, "x", 1));
	SHOW(read(master, &c, 1));
	SHOW(tcdrain(slave));
	SHOW(tcdrain(fd));
	SHOW(tcsetattr(fd, TCSANOW, &t));
	close(slave);
	close(master);
}

static void *body(void *arg)
{
	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	umask(022);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	CHECK(dirfd_ >= 0);
	positions();
	sizes();
	map();
	copies();
	opens();
	streams();
	locks();
	semaphores();
	aio();
	terminal();
	return arg;
}

int main(void)
{
	char cmd[100];

	prog_init();
	prog_join(prog_start(body, NULL));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	CHECK_EQ(system(cmd), 0);
	return 0;
}
