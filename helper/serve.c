/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit.h"
#include "fdpass.h"
#include "open.h"
#include "policy.h"
#include "privilege.h"
#include "serve.h"

/* Of a broker's child. */
enum { IDLE_SECONDS = 600, REQUESTS_MAX = 1 << 16 };

struct session {
	int socket;
	unsigned int requests;
	bool greeted;
	struct incoming incoming;
	struct policy *policy;
	struct audit audit;
	struct job job;
};

enum step { STEP_NEXT, STEP_END, STEP_FAULT };

static MUST_CHECK enum step answer(struct session *session)
{
	struct job *job = &session->job;
	uint8_t bytes[REPLY_SIZE];
	int failed;

	reply_encode(&job->reply, bytes);
	failed = fdpass_send(session->socket, bytes, sizeof(bytes), job->fd);
	/* The client has its own; a second holder would keep a port taken. */
	if (job->fd >= 0)
		close(job->fd);
	return failed ? STEP_FAULT : STEP_NEXT;
}

static MUST_CHECK enum step refuse(struct session *session, enum stage stage,
				   int error)
{
	reply_fail(&session->job.reply, stage, error);
	return answer(session);
}

/* The last word: whether it arrives changes nothing. */
static MUST_CHECK enum step dismiss(struct session *session, enum stage stage,
				    int error)
{
	(void)!refuse(session, stage, error);
	return STEP_FAULT;
}

static MUST_CHECK enum step hello(struct session *session)
{
	const struct caller *caller = session->job.caller;
	struct reply *reply = &session->job.reply;

	if (!caller->known)
		return dismiss(session, STAGE_IDENTITY, EPERM);
	if (caller->lost)
		return dismiss(session, STAGE_NAMESPACE, EPERM);
	reply->capabilities = privilege_held();
	reply->mode = (uint16_t)caller->mode;
	reply->state = caller->state;
	reply->uid = caller->uid;
	session->greeted = true;
	return answer(session);
}

static MUST_CHECK enum step open_here(struct session *session)
{
	open_job(&session->job);
	return answer(session);
}

/* Its child goes there, and does not outlive it. */
static MUST_CHECK enum step open_as_child(struct session *session)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return refuse(session, STAGE_INTERNAL, errno);
	if (open_enter_namespace(session->incoming.fd))
		return refuse(session, STAGE_NAMESPACE, EPERM);
	return open_here(session);
}

/*
 * The child is the client's as well, who can stop it: then it would not end,
 * and neither would this. Of a broker, whoever stops one loses it. WNOWAIT:
 * should this be killed just now, the broker, whose the child is then, is to
 * find it stopped.
 */
static void end_stopped(pid_t child)
{
	siginfo_t change;

	if (waitid(P_PID, (id_t)child, &change,
		   WEXITED | WSTOPPED | WNOWAIT) == 0 &&
	    change.si_code == CLD_STOPPED)
		kill(child, SIGKILL);
}

/* A child goes there, for there is no way back. It answers by itself. */
static MUST_CHECK enum step open_there(struct session *session)
{
	pid_t child;
	int status;

	child = fork();
	if (child < 0)
		return refuse(session, STAGE_INTERNAL, errno);
	if (child == 0)
		return open_as_child(session) == STEP_NEXT ? STEP_END :
							     STEP_FAULT;
	if (session->job.caller->mode == MODE_BROKER)
		end_stopped(child);
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0)
		return STEP_NEXT;
	return refuse(session, STAGE_INTERNAL, EIO);
}

static MUST_CHECK enum step deny(struct session *session, enum reason reason)
{
	const uint16_t by = session->policy->source == SOURCE_FILE ?
				    REPLY_BY_FILE : 0;

	reply_fail(&session->job.reply, STAGE_POLICY, EPERM);
	session->job.reply.detail = (uint16_t)(reason | by);
	return answer(session);
}

static MUST_CHECK enum step open_allowed(struct session *session)
{
	struct job *job = &session->job;
	const bool elsewhere = job->request.flags & FLAG_NAMESPACE;
	struct site site = {
		.places = job->caller->foreign ? PLACE_OWN : PLACE_HOST,
	};
	struct verdict_of_policy verdict;

	/* One answer to all that is wrong with a namespace. */
	if (elsewhere && open_find_site(session->incoming.fd, job->caller,
					session->policy, &site))
		return refuse(session, STAGE_NAMESPACE, EPERM);
	verdict = policy_decide(session->policy, job->caller, &site,
				&job->request);
	audit_decision(&session->audit, job->caller, &job->request, &verdict);
	if (elsewhere && verdict.reason == REASON_NAMESPACE)
		return refuse(session, STAGE_NAMESPACE, EPERM);
	if (verdict.reason != REASON_NONE)
		return deny(session, verdict.reason);
	job->goes_to_own = elsewhere && site.places & PLACE_OWN;
	job->rule = verdict.rule;
	job->device = verdict.device;
	return elsewhere ? open_there(session) : open_here(session);
}

/* HELLO first and once; a descriptor if and only if it is announced. */
static bool is_in_order(const struct session *session)
{
	const struct request *request = &session->job.request;

	return session->incoming.whole &&
	       session->greeted == (request->op == OP_OPEN) &&
	       (session->incoming.fd >= 0) ==
		       ((request->flags & FLAG_NAMESPACE) != 0);
}

static MUST_CHECK enum step handle(struct session *session,
				   const uint8_t *message)
{
	struct job *job = &session->job;

	job->fd = -1;
	switch (request_decode(message, session->incoming.size, &job->request,
			       &job->reply)) {
	case VERDICT_UNREADABLE:
		return STEP_FAULT;
	case VERDICT_VERSION:
		return dismiss(session, STAGE_VERSION, EPROTO);
	case VERDICT_MALFORMED:
		return dismiss(session, STAGE_DECODE, EPROTO);
	case VERDICT_GOOD:
		break;
	}
	if (!is_in_order(session))
		return dismiss(session, STAGE_DECODE, EPROTO);
	return job->request.op == OP_HELLO ? hello(session) :
					     open_allowed(session);
}

/* The one place where a broker's child can be told to end. */
static bool waits_in_vain(struct session *session)
{
	const struct timespec idle = { .tv_sec = IDLE_SECONDS };
	struct pollfd line = { .fd = session->socket, .events = POLLIN };
	sigset_t none;

	sigemptyset(&none);
	return session->requests++ == REQUESTS_MAX ||
	       ppoll(&line, 1, &idle, &none) != 1;
}

static MUST_CHECK enum step serve_one(struct session *session)
{
	struct incoming *incoming = &session->incoming;
	/* Not on the stack, where all of it would be cleared each time. */
	static uint8_t message[REQUEST_MAX];
	enum step step = STEP_END;

	if (session->job.caller->mode == MODE_BROKER && waits_in_vain(session))
		return STEP_END;
	if (fdpass_receive(session->socket, message, sizeof(message), incoming))
		return STEP_FAULT;
	if (incoming->size > 0)
		step = handle(session, message);
	if (incoming->fd >= 0)
		close(incoming->fd);
	return step;
}

int serve(int socket, const struct caller *caller, struct policy *policy)
{
	struct session session = {
		.socket = socket, .policy = policy, .job.caller = caller,
	};
	enum step step;

	audit_begin(&session.audit, caller, policy);

	do
		step = serve_one(&session);
	while (step == STEP_NEXT);
	return step == STEP_END ? 0 : 1;
}
