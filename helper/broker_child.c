/* SPDX-License-Identifier: MIT */
/*
 * A broker's child, until it serves: its signals, its client, its client's
 * network.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker_parts.h"

#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

/* SIGTERM stays blocked: serve() lets it through between two requests. */
static MUST_CHECK int give_signals_back(void)
{
	const struct rlimit none = { 0, 0 };
	sigset_t others;

	sigemptyset(&others);
	sigaddset(&others, SIGCHLD);
	sigaddset(&others, SIGINT);
	return signal(SIGCHLD, SIG_DFL) == SIG_ERR ||
	       signal(SIGTERM, SIG_DFL) == SIG_ERR ||
	       signal(SIGINT, SIG_DFL) == SIG_ERR ||
	       sigprocmask(SIG_UNBLOCK, &others, NULL) ||
	       setrlimit(RLIMIT_FSIZE, &none);
}

/* Where memory ends, a client loses its child, and not all their broker. */
static void offer_to_die_first(void)
{
	const int flags = O_WRONLY | O_CLOEXEC;
	const int score = open("/proc/self/oom_score_adj", flags);

	if (score < 0)
		return;
	(void)!write(score, "500", 3);
	close(score);
}

static MUST_CHECK int find_network(int any_socket, struct stat *network)
{
	const int fd = ioctl(any_socket, SIOCGSKNS);
	const int failed = fd < 0 || fstat(fd, network);

	if (fd >= 0)
		close(fd);
	return failed;
}

static MUST_CHECK int find_network_here(struct stat *network)
{
	const int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int failed = probe < 0 || find_network(probe, network);

	if (probe >= 0)
		close(probe);
	return failed;
}

static bool is_same(const struct stat *one, const struct stat *other)
{
	return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/*
 * To the client's network, for all that follows. Two witnesses have to agree
 * on it: the process that connected, and the socket that it connected with.
 */
static MUST_CHECK int follow(struct caller *caller)
{
	struct stat before, after, clients;
	int process = -1;
	socklen_t size = sizeof(process);
	int failed;

	if (find_network_here(&before) ||
	    find_network(BROKER_CONNECTION, &clients))
		return -1;
	/* Without the first, it can be served who is here already. */
	if (getsockopt(BROKER_CONNECTION, SOL_SOCKET, SO_PEERPIDFD, &process,
		       &size))
		return errno == ENOPROTOOPT && is_same(&before, &clients) ?
			       0 : -1;
	failed = setns(process, CLONE_NEWNET) || find_network_here(&after) ||
		 !is_same(&after, &clients);
	close(process);
	caller->foreign = !is_same(&before, &clients);
	return failed ? -1 : 0;
}

int broker_become_child(int connection, struct caller *caller)
{
	if (dup3(connection, BROKER_CONNECTION, O_CLOEXEC) < 0)
		return -1;
	close(connection);
	offer_to_die_first();
	if (give_signals_back() ||
	    caller_identify_peer(BROKER_CONNECTION, caller))
		return -1;
	caller->lost = follow(caller) != 0;
	return 0;
}
