/* SPDX-License-Identifier: MIT */
/*
 * The helper from its first instruction to its last: trust nothing that was
 * inherited, find out who is calling, put down what is not needed, serve.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "caller.h"
#include "must_check.h"
#include "privilege.h"
#include "serve.h"

/* sysexits.h */
enum {
	STATUS_USAGE = 64,
	STATUS_SYSTEM = 71,
};

enum {
	SESSION = STDIN_FILENO,
	DESCRIPTORS = 64,
	DESCRIPTORS_EVER = 1 << 20, /* the default of fs.nr_open */
};

static int print_version(void)
{
	static const char text[] = "aioprocket-helper, protocol 1\n";
	const ssize_t size = sizeof(text) - 1;

	return write(STDOUT_FILENO, text, (size_t)size) == size ? 0 : 1;
}

/* Else one of our own sockets would become somebody's standard output. */
static MUST_CHECK int open_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -1;
	return 0;
}

/*
 * Asks by getsockopt(2), which only a socket answers: an ioctl or isatty(3)
 * on an inherited descriptor would act on whatever it is.
 */
static bool is_session(int fd)
{
	const struct {
		int option;
		int value;
	} facts[] = {
		{ SO_DOMAIN, AF_UNIX },
		{ SO_TYPE, SOCK_SEQPACKET },
		{ SO_ACCEPTCONN, 0 },
	};
	struct ucred maker;
	socklen_t size = sizeof(maker);

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		int value;
		socklen_t value_size = sizeof(value);

		if (getsockopt(fd, SOL_SOCKET, facts[i].option, &value,
			       &value_size) ||
		    value != facts[i].value)
			return false;
	}
	/* One that is not connected has no maker: the kernel says uid -1. */
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &size) == 0 &&
	       maker.uid != (uid_t)-1;
}

static void close_inherited_descriptors(void)
{
	const int first = STDERR_FILENO + 1;

	if (syscall(SYS_close_range, first, ~0U, 0) == 0)
		return;
	/* A lowered RLIMIT_NOFILE would say nothing of what is open. */
	for (int fd = first; fd < DESCRIPTORS_EVER; fd++)
		close(fd);
}

static MUST_CHECK int reset_signals(void)
{
	sigset_t none;

	/* The last signals there are, and those of libc, refuse: no matter. */
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL);
}

static MUST_CHECK int reset_timers(void)
{
	const struct itimerval never = { 0 };

	alarm(0);
	if (setitimer(ITIMER_REAL, &never, NULL) ||
	    setitimer(ITIMER_VIRTUAL, &never, NULL) ||
	    setitimer(ITIMER_PROF, &never, NULL))
		return -1;
	return 0;
}

static MUST_CHECK int limit(__rlimit_resource_t resource, rlim_t most)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		return -1;
	/* A hard limit that is lower already is not ours to raise. */
	if (most > limit.rlim_max)
		most = limit.rlim_max;
	limit.rlim_cur = limit.rlim_max = most;
	return setrlimit(resource, &limit);
}

static MUST_CHECK int sanitise(void)
{
	close_inherited_descriptors();
	if (clearenv() || chdir("/"))
		return -1;
	umask(S_IRWXG | S_IRWXO);
	if (reset_signals() || reset_timers())
		return -1;
	if (limit(RLIMIT_CORE, 0) || limit(RLIMIT_FSIZE, 0) ||
	    limit(RLIMIT_NOFILE, DESCRIPTORS))
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	struct caller caller;

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return print_version();
	if (argc != 1 || open_standard_descriptors() || !is_session(SESSION))
		return STATUS_USAGE;
	/* The text stays where exec put it; clearenv(3) forgets it only. */
	const char *sudo_uid = getenv("SUDO_UID");

	if (sanitise())
		return STATUS_SYSTEM;
	caller_identify(SESSION, sudo_uid, &caller);
	if (privilege_drop(&caller))
		return STATUS_SYSTEM;
	return serve(SESSION, &caller);
}
