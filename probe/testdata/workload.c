// SPDX-License-Identifier: Apache-2.0
/*
 * The workload of the probe's tests: runs the steps on its command line.
 *
 *	workload chdir /tmp , chown f 33 33 , fork { setuid 33 , open f }
 *
 * System calls are made raw, so that one step is one call by one thread (the C
 * library's setuid() calls in every thread). A step that fails is reported on
 * stderr as "step ERRNO" and the next one runs: the tests compare.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void run(int n, char **a);

static long num(const char *s)
{
	return strtoull(s, NULL, 0);
}

struct block {
	int n;
	char **a;
};

static void *in_thread(void *p)
{
	struct block *b = p;
	run(b->n, b->a);
	return NULL;
}

static int in_child(void *p)
{
	in_thread(p);
	_exit(0);
}

static void *to_the_end(void *p)
{
	in_child(p);
	return NULL;
}

static int capset_raw(int version, uint64_t e, uint64_t p, uint64_t i)
{
	static const unsigned magic[] = { 0, 0x19980330, 0x20071026, 0x20080522 };
	struct __user_cap_header_struct h = { magic[version], 0 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)e, (uint32_t)p, (uint32_t)i },
		{ e >> 32, p >> 32, i >> 32 },
	};
	return syscall(SYS_capset, &h, d);
}

static int bind_port(const char *network, int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, fd = socket(AF_INET, !strcmp(network, "udp") ? SOCK_DGRAM : SOCK_STREAM, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return bind(fd, (void *)&sa, sizeof(sa));
}

static int seccomp_filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { 1, &allow };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* Everything that accounts memory: mmap, mremap, mprotect, brk, shm, tmpfs, faults, fork, exec. */
static int memory(const char *self)
{
	size_t size = 1 << 20;
	int shm;
	char *m;

	for (int i = 0; i < 20; i++) {
		m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(m, 1, size);
		m = mremap(m, size, 2 * size, MREMAP_MAYMOVE);
		mprotect(m, size, PROT_READ);
		mprotect(m, size, PROT_READ | PROT_WRITE);
		munmap(m, 2 * size);
		m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		memset(m, 1, size);
		munmap(m, size);
		sbrk(1 << 16);

		/* Not reserved beforehand: each page is accounted as it is touched. */
		shm = memfd_create("storm", 0);
		if (ftruncate(shm, size))
			return -1;
		m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, shm, 0);
		for (size_t j = 0; j < size / 2; j += 4096)
			m[j] = 1;
		if (pwrite(shm, "x", 1, size - 1) != 1 || fallocate(shm, 0, size, size))
			return -1;
		munmap(m, size);
		close(shm);

		shm = shmget(IPC_PRIVATE, size, 0600);
		m = shmat(shm, NULL, 0);
		shmctl(shm, IPC_RMID, NULL);
		memset(m, 1, size);
		shmdt(m);

		pid_t pid = fork();
		if (!pid) {
			if (i % 2)
				execl(self, self, "getpid", NULL);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	return 0;
}

/* openat(2) by a worker of io_uring, which is a thread that never makes a system call. */
static int uring_open(const char *path)
{
	struct io_uring_params p = { 0 };
	int fd = syscall(SYS_io_uring_setup, 4, &p);
	struct io_uring_sqe *sqe;
	unsigned *tail, *array;
	char *sq, *cq;

	if (fd < 0)
		return -1;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  IORING_OFF_CQ_RING);
	sqe = mmap(NULL, p.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_OPENAT;
	sqe->flags = IOSQE_ASYNC;
	sqe->fd = AT_FDCWD;
	sqe->addr = (uintptr_t)path;
	sqe->open_flags = O_RDONLY;
	array = (unsigned *)(sq + p.sq_off.array);
	array[0] = 0;
	tail = (unsigned *)(sq + p.sq_off.tail);
	__atomic_store_n(tail, 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	errno = -((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res;
	return errno > 0 ? -1 : 0;
}

#if defined(__x86_64__)
/* chown(2) by the 32-bit table, where it has number 212; 64-bit's 212 is lookup_dcookie. */
static int chown32(const char *path, int uid, int gid)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int ret;

	strcpy(low, path);
	asm volatile("int $0x80" : "=a"(ret) : "a"(212), "b"(low), "c"(uid), "d"(gid) : "memory", "r8", "r9", "r10", "r11");
	errno = -ret;
	return ret < 0 ? -1 : 0;
}

/* symlink(2) by the 32-bit table, where it has number 83; 64-bit's 83 is mkdir. */
static int symlink32(const char *path)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int ret;

	strcpy(low, path);
	asm volatile("int $0x80" : "=a"(ret) : "a"(83), "b"(low), "c"(low) : "memory", "r8", "r9", "r10", "r11");
	errno = -ret;
	return ret < 0 ? -1 : 0;
}
#endif

static const char *flood_call;
static long flood_n;

static void *flood_thread(void *p)
{
	int host = !strcmp(flood_call, "sethostname"), time = !strcmp(flood_call, "settimeofday");
	long gid = getgid();

	for (long i = 0; i < flood_n; i++)
		if (host)
			syscall(SYS_sethostname, "", -1); /* asks, then finds the length invalid */
		else if (time)
			syscall(SYS_settimeofday, NULL, NULL); /* asks, and changes nothing */
		else
			syscall(SYS_setgid, gid);
	return p;
}

/* flood setgid|sethostname|settimeofday THREADS CALLS: prints how many nanoseconds that took. */
static int flood(const char *call, int threads, long n)
{
	struct timespec from, to;
	pthread_t t[64];

	flood_call = call;
	flood_n = n / threads;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, flood_thread, NULL);
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%lld\n", (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec);
	fflush(stdout);
	return 0;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -1 : 0;
}

static int enter_cgroup(const char *dir)
{
	char file[4096];

	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	return write_file(file, "0");
}

static int wait_line(void)
{
	char c;

	while (read(0, &c, 1) == 1)
		if (c == '\n')
			return 0;
	return -1;
}

static const char *self(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[n < 0 ? 0 : n] = 0;
	return path;
}

/*
 * What a container's runtime does: into the cgroup, without a capability (-1: with all),
 * capset(2), execve(2). The child is not waited for.
 */
static pid_t contain(const char *dir, int without, char **words)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	char *argv[256] = { "workload" };
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int i = 0; words[i] && i < 254; i++)
		argv[i + 1] = words[i];
	if (enter_cgroup(dir) || (without >= 0 && prctl(PR_CAPBSET_DROP, without)) || syscall(SYS_capget, &h, d))
		_exit(126);
	if (without >= 0) {
		d[without / 32].effective &= ~(1U << without % 32);
		d[without / 32].permitted &= ~(1U << without % 32);
	}
	d[0].inheritable = d[1].inheritable = 0;
	if (syscall(SYS_capset, &h, d))
		_exit(126);
	execv(self(), argv);
	_exit(127);
}

/*
 * Containers FROM to TO - 1, each in a cgroup of its own: DIR/ and 64 digits, as engines
 * call theirs. The bits of its number say what one needs.
 */
static int containers(const char *dir, long from, long to)
{
	enum { ATONCE = 4 };
	char path[4096], number[32];
	int status, running = 0, failed = 0;

	for (long i = from; i < to || running; i++) {
		if (running == ATONCE || i >= to) {
			if (wait(&status) < 0)
				return -1;
			running--;
			failed |= status;
		}
		if (i >= to)
			continue;
		snprintf(path, sizeof(path), "%s/%064lx", dir, i);
		snprintf(number, sizeof(number), "%ld", i);
		if (mkdir(path, 0755) || contain(path, i & 32 ? CAP_SYS_NICE : -1, (char *[]){ "need", number, NULL }) < 0)
			return -1;
		running++;
	}
	errno = ECHILD;
	return failed ? -1 : 0;
}

/* The needs of one of them; the tests know them too. None of it changes anything. */
static int need(long bits)
{
	if (bits & 1)
		syscall(SYS_setgid, 0);
	if (bits & 2)
		syscall(SYS_setuid, 0);
	if (bits & 4 && chroot("/"))
		return -1;
	if (bits & 8)
		syscall(SYS_sethostname, "", -1); /* asks, then finds the length invalid */
	if (bits & 16)
		syscall(SYS_settimeofday, NULL, NULL);
	if (bits & 32) /* is refused: it starts without sys_nice */
		setpriority(PRIO_PROCESS, 0, -1);
	return 0;
}

/* Runs a program COUNT times, one after the other. */
static int starts(long count, char **argv)
{
	int status;

	for (; count > 0; count--) {
		pid_t pid = vfork();

		if (!pid) {
			execv(argv[0], argv);
			_exit(127);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			return -1;
		if (status) {
			errno = ECHILD;
			return -1;
		}
	}
	return 0;
}

/* A child's child's child…, which runs the steps at the end. */
static int deep(long depth, int n, char **a)
{
	int status;
	pid_t pid;

	if (!depth) {
		run(n, a);
		return 0;
	}
	pid = fork();
	if (!pid)
		_exit(deep(depth - 1, n, a) ? 1 : 0);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	errno = ECHILD;
	return status ? -1 : 0;
}

/* Executes itself COUNT times, then runs the steps. */
static int again(char **a, int n)
{
	static char count[32];
	long left = num(a[1]);

	if (!left) {
		run(n - 2, a + 2);
		return 0;
	}
	snprintf(count, sizeof(count), "%ld", left - 1);
	a[1] = count;
	a[n] = NULL;
	a[-1] = "workload";
	return execv("/proc/self/exe", a - 1);
}

static int start(const char *how, struct block b)
{
	static char stack[1 << 16];
	pthread_t t;
	pid_t pid;

	if (!strcmp(how, "thread")) {
		if (pthread_create(&t, NULL, in_thread, &b))
			return -1;
		return pthread_join(t, NULL) ? -1 : 0;
	}
	if (!strcmp(how, "orphan")) { /* its threads go on without the first one */
		if (pthread_create(&t, NULL, to_the_end, &b))
			return -1;
		syscall(SYS_exit, 0);
	}
	if (!strcmp(how, "vfork"))
		pid = clone(in_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
	else if ((pid = fork()) == 0)
		in_child(&b);
	return pid < 0 || waitpid(pid, NULL, 0) < 0 ? -1 : 0;
}

/* Runs the steps in a file, each word ended by a NUL: they may be any bytes. */
static int script(const char *path)
{
	static char text[1 << 16], *words[256];
	int n = 0, fd = open(path, O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text));

	for (char *p = text; p < text + size && n < 256; p += strlen(p) + 1)
		words[n++] = p;
	run(n, words);
	return size < 0 ? -1 : 0;
}

static int step(int n, char **a)
{
	const char *s = a[0];
	int args = n - 1;
#define IS(name, count) (!strcmp(s, name) && args == (count))
	if (IS("getpid", 0)) return syscall(SYS_getppid) < 0;
	if (IS("chdir", 1)) return chdir(a[1]);
	if (IS("chroot", 1)) return chroot(a[1]);
	if (IS("mkdir", 1)) return mkdir(a[1], 0755);
	if (IS("chown", 3)) return syscall(SYS_fchownat, AT_FDCWD, a[1], num(a[2]), num(a[3]), 0);
#ifdef SYS_chown
	if (IS("oldchown", 3)) return syscall(SYS_chown, a[1], num(a[2]), num(a[3]));
#endif
	if (IS("chownat", 4)) return syscall(SYS_fchownat, open(a[1], O_PATH), a[2], num(a[3]), num(a[4]), 0);
	if (IS("fchown", 3)) return syscall(SYS_fchown, open(a[1], O_RDONLY), num(a[2]), num(a[3]));
	if (IS("setuid", 1)) return syscall(SYS_setuid, num(a[1]));
	if (IS("setgid", 1)) return syscall(SYS_setgid, num(a[1]));
	if (IS("setresuid", 3)) return syscall(SYS_setresuid, num(a[1]), num(a[2]), num(a[3]));
	if (IS("setresgid", 3)) return syscall(SYS_setresgid, num(a[1]), num(a[2]), num(a[3]));
	if (!strcmp(s, "setgroups")) {
		unsigned g[64];
		for (int i = 0; i < args; i++)
			g[i] = num(a[1 + i]);
		return syscall(SYS_setgroups, (long)args, g);
	}
	if (IS("open", 1)) return open(a[1], O_RDONLY) < 0 ? -1 : 0;
	if (IS("append", 2)) return write_file(a[1], a[2]);
	if (IS("access", 1)) return syscall(SYS_faccessat, AT_FDCWD, a[1], R_OK);
	if (IS("eaccess", 1)) return syscall(SYS_faccessat2, AT_FDCWD, a[1], R_OK, AT_EACCESS);
	if (IS("bind", 2)) return bind_port(a[1], num(a[2]));
	if (IS("ping", 0)) return socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP) < 0 ? -1 : 0;
	if (IS("comm", 1)) return prctl(PR_SET_NAME, a[1]);
	if (IS("nnp", 0)) return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (IS("seccomp", 0)) return seccomp_filter();
	if (IS("capset", 4)) return capset_raw(num(a[1]), num(a[2]), num(a[3]), num(a[4]));
	if (IS("keepcaps", 0)) return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (IS("processes", 1)) {
		struct rlimit limit = { num(a[1]), num(a[1]) };
		return setrlimit(RLIMIT_NPROC, &limit);
	}
	if (IS("clone", 1)) {
		long pid = syscall(SYS_clone, num(a[1]) | SIGCHLD, 0, 0, 0, 0);
		if (!pid)
			_exit(0);
		return pid < 0 || waitpid(pid, NULL, 0) < 0 ? -1 : 0;
	}
	if (IS("ambient", 1)) return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, num(a[1]), 0, 0);
	if (IS("dropbound", 1)) return prctl(PR_CAPBSET_DROP, num(a[1]), 0, 0, 0);
	if (IS("unshare", 1)) return unshare(num(a[1]));
	if (IS("settimeofday", 0)) return syscall(SYS_settimeofday, NULL, NULL); /* asks, and changes nothing */
	if (IS("unshare-user", 0)) return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS);
	if (IS("sethostname", 1)) return syscall(SYS_sethostname, a[1], strlen(a[1]));
	if (IS("mount-tmpfs", 1)) return mount("none", a[1], "tmpfs", 0, NULL);
	if (IS("cgroup", 1)) return enter_cgroup(a[1]);
	if (IS("memory", 1)) return memory(a[1]);
	if (IS("uring-open", 1)) return uring_open(a[1]);
#if defined(__x86_64__)
	if (IS("chown32", 3)) return chown32(a[1], num(a[2]), num(a[3]));
	if (IS("symlink32", 1)) return symlink32(a[1]);
#endif
	if (IS("flood", 3)) return flood(a[1], num(a[2]), num(a[3]));
	if (IS("say", 1)) return dprintf(1, "%s\n", a[1]) < 0;
	if (IS("wait", 0)) return wait_line();
	if (!strcmp(s, "exec") && args) {
		a[n] = NULL;
		return execv(a[1], a + 1);
	}
	if (!strcmp(s, "contain") && args > 1) {
		int status;

		a[n] = NULL;
		if (contain(a[1], -1, a + 2) < 0 || wait(&status) < 0)
			return -1;
		errno = ECHILD;
		return status ? -1 : 0;
	}
	if (!strcmp(s, "starts") && args > 1) {
		a[n] = NULL;
		return starts(num(a[1]), a + 2);
	}
	if (!strcmp(s, "deep") && args > 1) return deep(num(a[1]), n - 2, a + 2);
	if (!strcmp(s, "again") && args > 1) return again(a, n);
	if (!strcmp(s, "repeat") && args > 1) {
		for (long i = num(a[1]); i > 0; i--)
			run(n - 2, a + 2);
		return 0;
	}
	if (IS("containers", 3)) return containers(a[1], num(a[2]), num(a[3]));
	if (IS("need", 1)) return need(num(a[1]));
	if (IS("script", 1)) return script(a[1]);
	/* Processes that each make one check and end: churn setgid|setuid COUNT. */
	if (IS("churn", 2)) {
		for (long i = num(a[2]); i > 0; i--) {
			pid_t pid = fork();
			if (!pid) {
				syscall(!strcmp(a[1], "setgid") ? SYS_setgid : SYS_setuid, 0);
				_exit(0);
			}
			if (pid < 0 || waitpid(pid, NULL, 0) < 0)
				return -1;
		}
		return 0;
	}
	/* Runs each of the files once. */
	if (!strcmp(s, "runall")) {
		for (int i = 1; i < n; i++) {
			pid_t pid = fork();
			if (!pid) {
				execl(a[i], a[i], NULL);
				_exit(127);
			}
			waitpid(pid, NULL, 0);
		}
		return 0;
	}
	errno = EINVAL;
	return -1;
}

static void run(int n, char **a)
{
	int i = 0;

	while (i < n) {
		int from = i, depth = 0, ret;

		if (!strcmp(a[i], "exec") || !strcmp(a[i], "contain") || !strcmp(a[i], "starts") || !strcmp(a[i], "deep") ||
		    !strcmp(a[i], "again") || !strcmp(a[i], "repeat")) /* take all that follows */
			i = n;
		while (i < n && (depth || strcmp(a[i], ","))) {
			depth += !strcmp(a[i], "{") - !strcmp(a[i], "}");
			i++;
		}
		if (i - from > 2 && !strcmp(a[from + 1], "{"))
			ret = start(a[from], (struct block){ i - from - 3, a + from + 2 });
		else
			ret = step(i - from, a + from);
		if (ret)
			dprintf(2, "%s %s\n", a[from], strerrorname_np(errno));
		i++;
	}
}

int main(int argc, char **argv)
{
	run(argc - 1, argv + 1);
	return 0;
}
