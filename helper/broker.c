/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "caller.h"
#include "fdpass.h"
#include "owner.h"
#include "privilege.h"
#include "sandbox.h"
#include "serve.h"

#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

enum {
	LISTENER = STDIN_FILENO, CONNECTION = STDIN_FILENO,
	PASSED = 3, /* sd_listen_fds(3): the first */
	WAITING_MAX = 128,
	CHILDREN_MAX = 1000,
	CHILDREN_OF_ONE_MAX = 64,
	BACK_OFF_NANOSECONDS = 100 * 1000 * 1000,
	PATIENCE_SECONDS = 5, /* for children to finish what they do */
	STATUS_SYSTEM = 71, /* sysexits.h */
};

enum end {
	END_OVER, END_FAILED,
	END_CHILD, /* this is one, with its connection as standard input */
};

static struct child {
	pid_t pid;
	uid_t owner; /* as owner_of() has it */
} children[CHILDREN_MAX];
static size_t child_count;

static volatile sig_atomic_t told_to_end;

/* What is not said for want of a reader is not waited for. */
static void say(const char *text)
{
	struct pollfd error = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (poll(&error, 1, 0) == 1)
		(void)!write(STDERR_FILENO, text, strlen(text));
}

static char *write_number(char digits[sizeof("4294967295")], uint32_t number)
{
	char *at = digits + sizeof("4294967295") - 1;

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	return at;
}

/* Returns -1. */
static int complain(const char *what)
{
	char digits[sizeof("4294967295")];
	const char *number = write_number(digits, (uint32_t)errno);

	say("aioprocket-helper: ");
	say(what);
	say(": errno ");
	say(number);
	say("\n");
	return -1;
}

static bool is_safe(const struct stat *file)
{
	return file->st_uid == 0 || file->st_uid == geteuid();
}

/* `writable`: whether others can put something there. */
static bool is_safe_folder(const char *path, bool *writable)
{
	struct stat folder;

	/* A link would lead on by folders that nobody has looked at. */
	if (lstat(path, &folder) || !S_ISDIR(folder.st_mode))
		return false;
	*writable = (folder.st_mode & (S_IWGRP | S_IWOTH)) != 0;
	/* With the sticky bit nobody can take away what is not his. */
	return is_safe(&folder) && (!*writable || folder.st_mode & S_ISVTX);
}

/* All of them from the root on, and the last one is nobody else's. */
static bool is_safe_way(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = "/";
	bool writable = true;

	for (const char *at = path; at != NULL; at = strchr(at + 1, '/')) {
		const size_t length = (size_t)(at - path);

		memcpy(folder, path, length);
		folder[length > 0 ? length : 1] = '\0';
		if (!is_safe_folder(folder, &writable))
			return false;
	}
	return !writable;
}

/* Whether nobody else can put another socket there, and who can connect. */
static MUST_CHECK int look_at_socket(const struct sockaddr_un *address,
				     struct caller *caller)
{
	char path[sizeof(address->sun_path) + 1] = "";
	struct stat file;

	memcpy(path, address->sun_path, sizeof(address->sun_path));
	/* Of an abstract name, which is everybody's, nothing is known. */
	if (path[0] != '/' || lstat(path, &file))
		return -1;
	caller->file_safe = S_ISSOCK(file.st_mode) && is_safe(&file) &&
			    is_safe_way(path);
	caller->file_for_all = (file.st_mode & S_IWOTH) != 0;
	return 0;
}

/* A broker that ended badly leaves its socket, to which nobody listens. */
static void remove_leftover(const struct sockaddr_un *address)
{
	const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
	const int probe = socket(AF_UNIX, type, 0);
	struct stat file;

	if (probe >= 0 && lstat(address->sun_path, &file) == 0 &&
	    S_ISSOCK(file.st_mode) && file.st_uid == geteuid() &&
	    connect(probe, (const struct sockaddr *)address,
		    sizeof(*address)) < 0 &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	if (probe >= 0)
		close(probe);
}

static MUST_CHECK int listen_at(const char *path)
{
	const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const size_t length = strlen(path);
	int listener;
	mode_t mask;

	if (path[0] != '/' || length >= sizeof(address.sun_path)) {
		errno = EINVAL;
		return complain("the socket's path is not absolute, or longer "
				"than 107 bytes");
	}
	memcpy(address.sun_path, path, length);
	remove_leftover(&address);
	listener = socket(AF_UNIX, type, 0);
	if (listener < 0)
		return complain("no socket");
	/* Its group, and nobody else, may connect. */
	mask = umask(S_IXUSR | S_IXGRP | S_IRWXO);
	if (bind(listener, (const struct sockaddr *)&address, sizeof(address)))
		return complain("cannot make the socket");
	umask(mask);
	if (listen(listener, WAITING_MAX) || dup2(listener, LISTENER) < 0)
		return complain("cannot listen");
	return 0;
}

static bool has(int fd, int option, int expected)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 &&
	       value == expected;
}

static bool says(const char *variable, uint32_t number)
{
	char digits[sizeof("4294967295")];
	const char *text = getenv(variable);

	return text != NULL && strcmp(text, write_number(digits, number)) == 0;
}

static MUST_CHECK int take_passed(void)
{
	errno = EINVAL;
	if (!says("LISTEN_PID", (uint32_t)getpid()) || !says("LISTEN_FDS", 1))
		return complain("no path, and not one socket from the service "
				"manager (sd_listen_fds(3))");
	if (!has(PASSED, SO_DOMAIN, AF_UNIX) ||
	    !has(PASSED, SO_TYPE, SOCK_SEQPACKET) ||
	    !has(PASSED, SO_ACCEPTCONN, 1))
		return complain("the service manager's socket is none of "
				"ListenSequentialPacket=");
	if (dup2(PASSED, LISTENER) < 0 ||
	    fcntl(LISTENER, F_SETFL, O_RDWR | O_NONBLOCK))
		return complain("cannot take the service manager's socket");
	return 0;
}

/* Only who has its rights anyway can start one. */
static bool is_plain(void)
{
	return getuid() == geteuid() && getgid() == getegid() &&
	       !getauxval(AT_SECURE) && getenv("SUDO_UID") == NULL;
}

/* On a standard error of its starter's, whose own rights may decide. */
static int refuse_starter(void)
{
	const struct caller starter = { .uid = getuid(), .gid = getgid() };

	if (privilege_drop(&starter))
		return -1;
	errno = EPERM;
	return complain("a broker is root's to start, without sudo");
}

int broker_listen(const char *path)
{
	if (!is_plain())
		return refuse_starter();
	return path != NULL ? listen_at(path) : take_passed();
}

static void on_signal(int number)
{
	if (number != SIGCHLD)
		told_to_end = 1;
}

/* They come through in ppoll(2) alone; `outside` is the mask for there. */
static MUST_CHECK int take_signals(sigset_t *outside)
{
	const struct sigaction action = { .sa_handler = on_signal };
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	/* To a file that may not grow it is said in vain, and that is all. */
	return signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
	       sigprocmask(SIG_BLOCK, &ours, outside) ||
	       sigaction(SIGCHLD, &action, NULL) ||
	       sigaction(SIGTERM, &action, NULL) ||
	       sigaction(SIGINT, &action, NULL);
}

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

	if (find_network_here(&before) || find_network(CONNECTION, &clients))
		return -1;
	/* Without the first, it can be served who is here already. */
	if (getsockopt(CONNECTION, SOL_SOCKET, SO_PEERPIDFD, &process, &size))
		return errno == ENOPROTOOPT && is_same(&before, &clients) ?
			       0 : -1;
	failed = setns(process, CLONE_NEWNET) || find_network_here(&after) ||
		 !is_same(&after, &clients);
	close(process);
	caller->foreign = !is_same(&before, &clients);
	return failed ? -1 : 0;
}

static MUST_CHECK int become_child(int connection, struct caller *caller)
{
	if (dup3(connection, CONNECTION, O_CLOEXEC) < 0)
		return -1;
	close(connection);
	offer_to_die_first();
	if (give_signals_back() || caller_identify_peer(CONNECTION, caller))
		return -1;
	caller->lost = follow(caller) != 0;
	return 0;
}

static void forget(pid_t pid)
{
	for (size_t i = 0; i < child_count; i++)
		if (children[i].pid == pid) {
			children[i] = children[--child_count];
			return;
		}
}

/*
 * A child is its client's, who can stop it, also for ever. It would not end
 * by itself then: whoever stops one loses it.
 */
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (WIFSTOPPED(status))
			kill(pid, SIGKILL);
		else
			forget(pid);
	}
}

static size_t count_of(uid_t owner)
{
	size_t count = 0;

	for (size_t i = 0; i < child_count; i++)
		count += children[i].owner == owner;
	return count;
}

/* Without having heard the question, which may never come. */
static void send_away(int connection)
{
	struct reply reply = { .op = OP_HELLO };
	uint8_t bytes[REPLY_SIZE];

	reply_fail(&reply, STAGE_POLICY, EUSERS);
	reply.detail = REASON_LIMIT;
	reply_encode(&reply, bytes);
	(void)!fdpass_send(connection, bytes, sizeof(bytes), -1);
}

/* 1 in the child, 0 in the broker, -1: there is no process to be had. */
static MUST_CHECK int give_child(int connection, struct caller *caller)
{
	struct ucred client;
	socklen_t size = sizeof(client);
	uid_t owner;
	pid_t pid;

	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &client, &size))
		return 0;
	owner = owner_of(client.uid);
	if (count_of(owner) >= CHILDREN_OF_ONE_MAX) {
		send_away(connection);
		return 0;
	}
	pid = fork();
	if (pid == 0)
		return become_child(connection, caller) ? 2 : 1;
	if (pid < 0)
		return -1;
	children[child_count++] = (struct child){ pid, owner };
	return 0;
}

/* As give_child(); -1 also where no connection can be had at present. */
static MUST_CHECK int take_client(struct caller *caller)
{
	const int connection = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC);
	int child;

	if (connection < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
				       errno == ENOBUFS ? -1 : 0;
	child = give_child(connection, caller);
	if (child <= 0)
		close(connection);
	return child;
}

static MUST_CHECK enum end end_children(const sigset_t *outside)
{
	const struct timespec moment = { .tv_nsec = BACK_OFF_NANOSECONDS };
	const int moments = PATIENCE_SECONDS * 10;

	for (size_t i = 0; i < child_count; i++)
		kill(children[i].pid, SIGTERM);
	for (int i = 0; i < moments && child_count > 0; i++) {
		ppoll(NULL, 0, &moment, outside);
		reap();
	}
	for (size_t i = 0; i < child_count; i++)
		kill(children[i].pid, SIGKILL);
	return END_OVER;
}

static MUST_CHECK enum end take_clients(struct caller *caller,
					       const sigset_t *outside)
{
	const struct timespec moment = { .tv_nsec = BACK_OFF_NANOSECONDS };
	struct pollfd listener = { .fd = LISTENER, .events = POLLIN };
	int taken = 0;

	while (!told_to_end) {
		/* While it can have none, clients wait, as the queue lets. */
		const bool failed = taken < 0;
		const nfds_t ready = !failed && child_count < CHILDREN_MAX;

		taken = 0;
		if (ppoll(&listener, ready, failed ? &moment : NULL,
			  outside) > 0)
			taken = take_client(caller);
		if (taken > 0)
			return taken == 1 ? END_CHILD : END_FAILED;
		reap();
	}
	return end_children(outside);
}

static MUST_CHECK enum end run(struct caller *caller)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(address);
	sigset_t outside;

	*caller = (struct caller){ .mode = MODE_BROKER };
	if (getsockname(LISTENER, (struct sockaddr *)&address, &size) ||
	    look_at_socket(&address, caller)) {
		complain("nothing is known of the socket's file");
		return END_FAILED;
	}
	if (!caller->file_safe)
		say("aioprocket-helper: nobody gets anything: others can put "
		    "another socket in place of this one, or a symbolic link "
		    "leads to it\n");
	if (take_signals(&outside) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    sandbox_calls(SANDBOX_BROKER, &caller->state)) {
		complain("cannot confine itself");
		return END_FAILED;
	}
	return take_clients(caller, &outside);
}

int broker_serve(struct policy *policy)
{
	struct caller caller;
	const enum end end = run(&caller);

	if (end != END_CHILD)
		return end == END_OVER ? 0 : STATUS_SYSTEM;
	policy_load(policy, &caller);
	if (privilege_drop(&caller) || sandbox_files(policy, &caller.state))
		return STATUS_SYSTEM;
	return serve(CONNECTION, &caller, policy);
}
