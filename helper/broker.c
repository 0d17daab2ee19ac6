/* SPDX-License-Identifier: MIT */
/* Takes clients, and gives each a child of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "broker_parts.h"
#include "caller.h"
#include "fdpass.h"
#include "owner.h"
#include "privilege.h"
#include "sandbox.h"
#include "serve.h"

enum {
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

/* A connection for which there is no process yet; -1: none. */
static int waiting = -1;

static volatile sig_atomic_t told_to_end;

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

/*
 * The last close(2) of a connection closes the descriptors that wait in it,
 * too, and of a socket that lingers (SO_LINGER) that takes as long as whoever
 * sent it likes; only exit(2) does not wait. So the broker's close is never
 * the last: each client has a child, if only to be sent away, which holds the
 * connection until the broker, by closing the gate, says that it does not.
 */
static void wait_for_broker(const int gate[2])
{
	char nothing;

	close(gate[1]);
	(void)!read(gate[0], &nothing, sizeof(nothing));
	close(gate[0]);
}

/* 1 in a child that is to serve, 2 in one that is not. */
static MUST_CHECK int be_child(int connection, bool welcome,
			       struct caller *caller)
{
	if (!welcome)
		send_away(connection);
	return !welcome || broker_become_child(connection, caller) ? 2 : 1;
}

/* As be_child(), 0 in the broker, -1: there is no process to be had. */
static MUST_CHECK int give_child(int connection, struct caller *caller)
{
	struct ucred client;
	socklen_t size = sizeof(client);
	bool welcome = false;
	uid_t owner = (uid_t)-1;
	int gate[2];
	pid_t pid;

	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &client,
		       &size) == 0) {
		owner = owner_of(client.uid);
		welcome = count_of(owner) < CHILDREN_OF_ONE_MAX;
	}
	if (pipe2(gate, O_CLOEXEC))
		return -1;
	pid = fork();
	if (pid == 0) {
		wait_for_broker(gate);
		return be_child(connection, welcome, caller);
	}
	if (pid > 0)
		close(connection);
	if (pid > 0 && welcome)
		children[child_count++] = (struct child){ pid, owner };
	close(gate[0]);
	close(gate[1]);
	return pid < 0 ? -1 : 0;
}

/* As give_child(); -1 also where no connection can be had at present. */
static MUST_CHECK int take_client(struct caller *caller)
{
	int child;

	if (waiting < 0)
		waiting = accept4(BROKER_LISTENER, NULL, NULL, SOCK_CLOEXEC);
	if (waiting < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
				       errno == ENOBUFS ? -1 : 0;
	child = give_child(waiting, caller);
	if (child >= 0)
		waiting = -1;
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
	struct pollfd listener = { .fd = BROKER_LISTENER, .events = POLLIN };
	int taken = 0;

	while (!told_to_end) {
		/* While it can have none, clients wait, as the queue lets. */
		const bool failed = taken < 0;
		const nfds_t ready = !failed && child_count < CHILDREN_MAX;

		taken = 0;
		if (ppoll(&listener, ready, failed ? &moment : NULL,
			  outside) > 0 || waiting >= 0)
			taken = take_client(caller);
		if (taken > 0)
			return taken == 1 ? END_CHILD : END_FAILED;
		reap();
	}
	return end_children(outside);
}

static MUST_CHECK enum end run(struct caller *caller)
{
	sigset_t outside;

	*caller = (struct caller){ .mode = MODE_BROKER };
	if (broker_look_at_socket(caller))
		return END_FAILED;
	if (!caller->file_safe)
		broker_say("aioprocket-helper: nobody gets anything: others "
			   "can put another socket in place of this one, or a "
			   "symbolic link leads to it\n");
	/* The child of one that its client has killed is ours then. */
	if (take_signals(&outside) ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    sandbox_calls(SANDBOX_BROKER, &caller->state)) {
		broker_complain("cannot confine itself");
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
	return serve(BROKER_CONNECTION, &caller, policy);
}
