// SPDX-License-Identifier: MIT
/* All headers of the hooked functions, and declarations of those that have none. */
#pragma once
#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <locale.h>
#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pty.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <syslog.h>
#include <termios.h>
#include <threads.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <wchar.h>

/* glibc's own, without a header of theirs */
int gmp_sigsetjmp(struct __cancel_jmp_buf_tag *env, int savemask) __asm__("__sigsetjmp") __attribute__((returns_twice));
void __pthread_register_cancel(__pthread_unwind_buf_t *buf);
void __pthread_unregister_cancel(__pthread_unwind_buf_t *buf);
void __pthread_unwind_next(__pthread_unwind_buf_t *buf) __attribute__((noreturn));
void _pthread_cleanup_push(struct _pthread_cleanup_buffer *buffer, void (*routine)(void *), void *arg);
void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *buffer, int execute);
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end);
__typeof__(pthread_mutex_lock) __pthread_mutex_lock;
__typeof__(pthread_mutex_trylock) __pthread_mutex_trylock;
__typeof__(pthread_mutex_unlock) __pthread_mutex_unlock;
__typeof__(pthread_rwlock_rdlock) __pthread_rwlock_rdlock;
__typeof__(pthread_rwlock_wrlock) __pthread_rwlock_wrlock;
__typeof__(pthread_rwlock_tryrdlock) __pthread_rwlock_tryrdlock;
__typeof__(pthread_rwlock_trywrlock) __pthread_rwlock_trywrlock;
__typeof__(pthread_rwlock_unlock) __pthread_rwlock_unlock;
__typeof__(pthread_once) __pthread_once;
int __pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);
void __call_tls_dtors(void);
void __ctype_init(void);
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *addr, socklen_t *len);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t size);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size);
void __longjmp_chk(struct __jmp_buf_tag env[1], int val) __attribute__((noreturn));
struct __res_state; /* resolv.h, which has macros for these, and for half the alphabet */
int res_query(const char *name, int class, int type, unsigned char *answer, int n);
int res_search(const char *name, int class, int type, unsigned char *answer, int n);
int res_nquery(struct __res_state *state, const char *name, int class, int type, unsigned char *answer, int n);
int res_nsearch(struct __res_state *state, const char *name, int class, int type, unsigned char *answer, int n);
struct __user_cap_header_struct; /* linux/capability.h */
struct __user_cap_data_struct;
int capget(struct __user_cap_header_struct *head, struct __user_cap_data_struct *data);
int capset(struct __user_cap_header_struct *head, const struct __user_cap_data_struct *data);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int fd, const char *path, int flags);
int __openat64_2(int fd, const char *path, int flags);
int _IO_getc(FILE *fp);
int _IO_putc(int c, FILE *fp);
ssize_t _IO_file_read(FILE *fp, void *buf, ssize_t n);
ssize_t _IO_file_write(FILE *fp, const void *buf, ssize_t n);
int _IO_file_close(FILE *fp);
extern const void *_IO_file_jumps[];
char *__fgets_chk(char *buf, size_t size, int n, FILE *fp);
size_t __fread_chk(void *buf, size_t size, size_t width, size_t n, FILE *fp);
wchar_t *__fgetws_chk(wchar_t *buf, size_t size, int n, FILE *fp);
int __printf_chk(int flag, const char *fmt, ...);
int __fprintf_chk(FILE *fp, int flag, const char *fmt, ...);
int __vprintf_chk(int flag, const char *fmt, va_list ap);
int __vfprintf_chk(FILE *fp, int flag, const char *fmt, va_list ap);
int __wprintf_chk(int flag, const wchar_t *fmt, ...);
int __fwprintf_chk(FILE *fp, int flag, const wchar_t *fmt, ...);
int __vwprintf_chk(int flag, const wchar_t *fmt, va_list ap);
int __vfwprintf_chk(FILE *fp, int flag, const wchar_t *fmt, va_list ap);
int __isoc99_scanf(const char *fmt, ...);
int __isoc99_fscanf(FILE *fp, const char *fmt, ...);
int __isoc99_vscanf(const char *fmt, va_list ap);
int __isoc99_vfscanf(FILE *fp, const char *fmt, va_list ap);
int __isoc99_wscanf(const wchar_t *fmt, ...);
int __isoc99_fwscanf(FILE *fp, const wchar_t *fmt, ...);
int __isoc99_vwscanf(const wchar_t *fmt, va_list ap);
int __isoc99_vfwscanf(FILE *fp, const wchar_t *fmt, va_list ap);
void __syslog_chk(int priority, int flag, const char *fmt, ...);
void __vsyslog_chk(int priority, int flag, const char *fmt, va_list ap);
int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
sighandler_t bsd_signal(int sig, sighandler_t handler);
int sigsetmask(int mask);
int sigblock(int mask);
int __xpg_sigpause(int sig);
int __sigpause(int sig_or_mask, int is_sig);
