/* SPDX-License-Identifier: MIT */
/*
 * The helper from its first step to its last: trust nothing that was
 * inherited, find out who is calling, put down what is not needed, serve.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "broker.h"
#include "caller.h"
#include "policy.h"
#include "privilege.h"
#include "sandbox.h"
#include "serve.h"

enum {
	SESSION = STDIN_FILENO,
	DESCRIPTORS_EVER = 1 << 20, /* the default of fs.nr_open */
	STATUS_USAGE = 64,	    /* sysexits.h */
	STATUS_SYSTEM = 71,
};

/* What standard output is, only the caller's own rights may decide. */
static MUST_CHECK int print_version(void)
{
	static const char text[] = "aioprocket-helper, protocol 1\n";
	const ssize_t size = sizeof(text) - 1;
	const struct caller nobody_known = { .uid = getuid(), .gid = getgid() };

	if (privilege_drop(&nobody_known))
		return STATUS_SYSTEM;
	return write(STDOUT_FILENO, text, (size_t)size) == size ? 0 : 1;
}

/*
 * Else a socket of ours would become somebody's standard output. They stay
 * open: what a local variable alone knows would be a leak to an analyzer.
 */
static MUST_CHECK int open_standard_descriptors(void)
{
	static int standard[STDERR_FILENO + 1];

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		standard[fd] = open("/dev/null", O_RDWR);
		if (standard[fd] != fd)
			return -1;
	}
	return 0;
}

/*
 * With getsockopt(2), which only sockets answer: an ioctl, as isatty(3)
 * makes one, could act on whatever was inherited.
 */
static bool has(int fd, int option, int expected)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 &&
	       value == expected;
}

static void close_other_descriptors(void)
{
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0)
		return;
	/* RLIMIT_NOFILE says nothing of what was opened before it was set. */
	for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS_EVER; fd++)
		close(fd);
}

static MUST_CHECK int reset_signals(void)
{
	sigset_t none;

	/* KILL, STOP and those that libc keeps to itself refuse. */
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL);
}

static MUST_CHECK int stop_timers(void)
{
	const struct itimerval never = { 0 };

	return setitimer(ITIMER_REAL, &never, NULL) || /* alarm(2), too */
	       setitimer(ITIMER_VIRTUAL, &never, NULL) ||
	       setitimer(ITIMER_PROF, &never, NULL);
}

static MUST_CHECK int sanitise(void)
{
	const struct rlimit none = { 0, 0 };

	close_other_descriptors();
	umask(S_IRWXG | S_IRWXO);
	/* A low RLIMIT_NOFILE would forbid to send when many are in flight. */
	return clearenv() || chdir("/") || reset_signals() || stop_timers() ||
	       setrlimit(RLIMIT_CORE, &none);
}

/* Its children come back here, too. */
static MUST_CHECK int run_broker(const char *path, struct policy *policy)
{
	if (open_standard_descriptors() || broker_listen(path))
		return STATUS_USAGE;
	/* Standard error may be a file, to which it has something to say. */
	return sanitise() ? STATUS_SYSTEM : broker_serve(policy);
}

/*
 * To somebody who tries it by hand, whatever the arguments: they, and what
 * standard error is, are the caller's, so the words are ours and the rights
 * his. What has no reader is not waited for.
 */
static MUST_CHECK int explain(void)
{
	static const char text[] =
		"aioprocket-helper: programs start it, with a socket as "
		"standard input; what works here: aioprocket doctor\n";
	const struct caller nobody_known = { .uid = getuid(), .gid = getgid() };
	struct pollfd error = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (sanitise() || privilege_drop(&nobody_known))
		return STATUS_SYSTEM;
	/* To a file that may not grow it is said in vain, and that is all. */
	(void)signal(SIGXFSZ, SIG_IGN);
	if (poll(&error, 1, 0) == 1)
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	return STATUS_USAGE;
}

int main(int argc, char **argv)
{
	static struct policy policy;
	const struct rlimit none = { 0, 0 };
	struct caller caller;

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return print_version();
	if ((argc == 2 || argc == 3) && strcmp(argv[1], "--broker") == 0)
		return run_broker(argv[2], &policy);
	if (open_standard_descriptors())
		return STATUS_USAGE;
	if (argc != 1 || !has(SESSION, SO_DOMAIN, AF_UNIX) ||
	    !has(SESSION, SO_TYPE, SOCK_SEQPACKET) ||
	    !has(SESSION, SO_ACCEPTCONN, 0) ||
	    caller_identify(SESSION, getenv("SUDO_UID"), &caller))
		return explain();
	if (sanitise() || setrlimit(RLIMIT_FSIZE, &none))
		return STATUS_SYSTEM;
	/* Before the drop, for the file may be root's alone to read. */
	policy_load(&policy, &caller);
	if (privilege_drop(&caller) ||
	    sandbox_files(&policy, &caller.state) ||
	    sandbox_calls(SANDBOX_SESSION, &caller.state))
		return STATUS_SYSTEM;
	return serve(SESSION, &caller, &policy);
}
