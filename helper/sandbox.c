/* SPDX-License-Identifier: MIT */
/*
 * System calls: those of the helper's task, with the arguments of its task.
 * Any other ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "caller.h"
#include "sandbox.h"

#if defined(AIOPROCKET_WITHOUT_SECCOMP)
/* For tools that make system calls of their own: sanitizers, valgrind. */
#elif defined(__x86_64__) && defined(__LP64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__LP64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifndef ARCHITECTURE

static MUST_CHECK int filter_enter(enum sandbox whose)
{
	(void)whose;
	return 0;
}

#else

/* Jumps whose way is found when the program is put together. */
enum { TO_ALLOW = 255, TO_KILL = 254, TO_NEXT = 253 };

/* The low half, on machines like ours; the kernel looks at no more of them. */
#define NUMBER offsetof(struct seccomp_data, nr)
#define ARGUMENT(n) offsetof(struct seccomp_data, args[n])
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IF(value, then, otherwise) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), then, otherwise)
#define IF_ABOVE(value, then, otherwise) \
	BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)(value), then, otherwise)
#define IF_ANY(bits, then, otherwise) \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)(bits), then, otherwise)
#define WITHOUT(bits) \
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)(bits))
#define KEEP_IN_X BPF_STMT(BPF_MISC | BPF_TAX, 0)
#define SECOND_ARGUMENT BPF_STMT(BPF_MISC | BPF_TXA, 0)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

#define CALL(name) IF(SYS_##name, TO_ALLOW, 0)
/* Up to the KILL at its end, all is about this call. */
#define OF(name) IF(SYS_##name, 0, TO_NEXT)
#define MAY_BE(value) IF(value, TO_ALLOW, 0)

enum {
	MAKES_FILES = O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY),
	FORK = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
};

static const struct sock_filter begin[] = {
	/*
	 * By this load, seccomp(2) does not try to find out beforehand which
	 * calls are allowed in any case. To find out took longer than a
	 * session of one request does.
	 */
	LOAD(ARGUMENT(1)), KEEP_IN_X,
	LOAD(offsetof(struct seccomp_data, arch)), IF(ARCHITECTURE, 0, TO_KILL),
	LOAD(NUMBER),
};

static const struct sock_filter session[] = {
	CALL(recvmsg), CALL(sendmsg), CALL(sendto), CALL(recvfrom), CALL(bind),
	CALL(listen), CALL(getsockname), CALL(close), CALL(capget),
	CALL(capset), CALL(newfstatat), CALL(fstat), CALL(fstatfs),
	CALL(faccessat),
	CALL(write), CALL(membarrier), CALL(nanosleep), CALL(clock_nanosleep),
	CALL(clock_gettime), CALL(getpid), CALL(restart_syscall),
	CALL(exit_group),
	/* fork(3) and its child. */
	CALL(wait4), CALL(rt_sigprocmask), CALL(set_robust_list), CALL(gettid),
	CALL(set_tid_address),
	/* What a tracer makes of a call that it leaves out; it does nothing. */
	IF(-1, TO_ALLOW, 0),
	/* What musl uses, too, and glibc where there is an older call. */
#ifdef SYS_open
	CALL(stat), CALL(lstat), CALL(access), CALL(fork),
	OF(open), SECOND_ARGUMENT, IF_ANY(MAKES_FILES, TO_KILL, TO_ALLOW), KILL,
#endif
	OF(fcntl), SECOND_ARGUMENT, MAY_BE(F_SETFD), KILL,

	OF(prctl), LOAD(ARGUMENT(0)), MAY_BE(PR_SET_PDEATHSIG), KILL,

	OF(openat), LOAD(ARGUMENT(2)), IF_ANY(MAKES_FILES, TO_KILL, TO_ALLOW),
	KILL,

	OF(clone), LOAD(ARGUMENT(0)), IF_ANY(~FORK, TO_KILL, TO_ALLOW), KILL,

	OF(setns), SECOND_ARGUMENT, MAY_BE(CLONE_NEWNET), KILL,

	OF(getsockopt), SECOND_ARGUMENT, MAY_BE(SOL_SOCKET), KILL,

	OF(setsockopt), SECOND_ARGUMENT, IF(IPPROTO_IPV6, 0, 2),
	LOAD(ARGUMENT(2)), IF(IPV6_V6ONLY, TO_ALLOW, TO_KILL),
	IF(SOL_SOCKET, 0, TO_KILL), LOAD(ARGUMENT(2)),
	MAY_BE(SO_RCVBUFFORCE), MAY_BE(SO_SNDBUFFORCE), MAY_BE(SO_MARK),
	MAY_BE(SO_PRIORITY), MAY_BE(SO_BINDTOIFINDEX), MAY_BE(SO_REUSEADDR),
	MAY_BE(SO_REUSEPORT), MAY_BE(SO_ATTACH_FILTER),
	MAY_BE(SO_DETACH_FILTER), MAY_BE(SO_LOCK_FILTER), KILL,

	OF(ioctl), SECOND_ARGUMENT, MAY_BE(SIOCGIFINDEX), MAY_BE(TUNSETIFF),
	MAY_BE(TUNGETIFF), MAY_BE(TUNSETOWNER), MAY_BE(TUNSETPERSIST),
	MAY_BE(NS_GET_NSTYPE), MAY_BE(NS_GET_USERNS), MAY_BE(NS_GET_PARENT),
	MAY_BE(NS_GET_OWNER_UID), KILL,

	/* Never the old number that makes a packet socket of AF_INET. */
	OF(socket), SECOND_ARGUMENT, WITHOUT(SOCK_CLOEXEC | SOCK_NONBLOCK),
	/* Of AF_UNIX, what the log takes. */
	IF(SOCK_DGRAM, 0, 4), LOAD(ARGUMENT(0)), MAY_BE(AF_UNIX),
	SECOND_ARGUMENT, WITHOUT(SOCK_CLOEXEC | SOCK_NONBLOCK),
	IF(SOCK_RAW, 2, 0), IF(SOCK_DGRAM, 1, 0), IF(SOCK_STREAM, 0, TO_KILL),
	LOAD(ARGUMENT(2)), IF_ABOVE(IPPROTO_RAW, TO_KILL, 0), IF(0, 0, 3),
	LOAD(ARGUMENT(0)), MAY_BE(AF_PACKET), MAY_BE(AF_NETLINK),
	LOAD(ARGUMENT(0)), MAY_BE(AF_INET), MAY_BE(AF_INET6), KILL,
};

/* With children that still have to become their callers. */
static const struct sock_filter broker[] = {
	CALL(accept4), CALL(ppoll), CALL(read), CALL(dup3), CALL(kill),
	CALL(pipe2), CALL(waitid),
	CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
	CALL(getresuid), CALL(getresgid), CALL(setresuid), CALL(setresgid),
	CALL(setgroups), CALL(rt_sigaction), CALL(rt_sigreturn),
	CALL(landlock_create_ruleset), CALL(landlock_add_rule),
	CALL(landlock_restrict_self),

	/* The rest of ioctl(2) is the session's. */
	IF(SYS_ioctl, 0, 3), SECOND_ARGUMENT, MAY_BE(SIOCGSKNS), LOAD(NUMBER),

	OF(prlimit64), LOAD(ARGUMENT(0)), MAY_BE(0), KILL,

	OF(prctl), LOAD(ARGUMENT(0)), MAY_BE(PR_SET_KEEPCAPS),
	MAY_BE(PR_CAPBSET_DROP), MAY_BE(PR_GET_SECUREBITS),
	MAY_BE(PR_SET_SECUREBITS), MAY_BE(PR_CAP_AMBIENT),
	MAY_BE(PR_SET_NO_NEW_PRIVS), MAY_BE(PR_GET_NO_NEW_PRIVS),
	MAY_BE(PR_SET_DUMPABLE), MAY_BE(PR_GET_DUMPABLE),
	MAY_BE(PR_SET_PDEATHSIG), KILL,
};

static const struct sock_filter end[] = {
	KILL, BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

enum { COUNT_MAX = 240 }; /* below the marks of jumps */

struct program {
	unsigned short count;
	struct sock_filter code[COUNT_MAX];
};

static void append(struct program *program, const struct sock_filter *part,
		   size_t size)
{
	memcpy(&program->code[program->count], part, size);
	program->count = (unsigned short)(program->count +
					  size / sizeof(part[0]));
}

static uint8_t way(const struct program *program, size_t from, uint8_t mark)
{
	size_t to = from;

	if (mark < TO_NEXT)
		return mark;
	if (mark == TO_ALLOW)
		return (uint8_t)(program->count - 2U - from);
	if (mark == TO_KILL)
		return (uint8_t)(program->count - 3U - from);
	while (BPF_CLASS(program->code[to].code) != BPF_RET)
		to++;
	return (uint8_t)(to - from);
}

static void put_together(enum sandbox whose, struct program *program)
{
	append(program, begin, sizeof(begin));
	if (whose == SANDBOX_BROKER)
		append(program, broker, sizeof(broker));
	append(program, session, sizeof(session));
	append(program, end, sizeof(end));
	for (size_t i = 0; i < program->count; i++) {
		struct sock_filter *code = &program->code[i];

		if (BPF_CLASS(code->code) != BPF_JMP)
			continue;
		code->jt = way(program, i, code->jt);
		code->jf = way(program, i, code->jf);
	}
}

static MUST_CHECK int filter_enter(enum sandbox whose)
{
	struct program program = { 0 };
	struct sock_fprog given = { .filter = program.code };

	put_together(whose, &program);
	given.len = program.count;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &given, 0, 0) == 0)
		return 1;
	/* A kernel that was built without. */
	return errno == EINVAL ? 0 : -1;
}

#endif

int sandbox_calls(enum sandbox whose, uint16_t *state)
{
	const int entered = filter_enter(whose);

	if (entered > 0)
		*state |= STATE_SECCOMP;
	return entered < 0 ? -1 : 0;
}
