/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fdpass.h"
#include "open.h"
#include "policy.h"
#include "privilege.h"
#include "request.h"
#include "serve.h"

enum step {
	STEP_NEXT,
	STEP_END,
	STEP_FAULT,
};

struct session {
	int socket;
	const struct caller *caller;
	bool greeted;
};

/* Closes `fd`: ours goes as soon as the client's is on its way. */
static MUST_CHECK enum step answer(const struct session *session,
				   const struct reply *reply, int fd)
{
	uint8_t bytes[REPLY_SIZE];
	int failed;

	reply_encode(reply, bytes);
	failed = fdpass_send(session->socket, bytes, sizeof(bytes), fd);
	if (fd >= 0)
		close(fd);
	return failed ? STEP_FAULT : STEP_NEXT;
}

static MUST_CHECK enum step refuse(const struct session *session,
				   struct reply *reply, enum stage stage,
				   int error)
{
	reply_fail(reply, stage, error);
	return answer(session, reply, -1);
}

/* The last word of the session. */
static MUST_CHECK enum step dismiss(const struct session *session,
				    struct reply *reply, enum stage stage,
				    int error)
{
	return refuse(session, reply, stage, error) == STEP_NEXT ? STEP_END :
								   STEP_FAULT;
}

static MUST_CHECK enum step hello(struct session *session, struct reply *reply)
{
	const struct caller *caller = session->caller;

	if (!caller->known)
		return dismiss(session, reply, STAGE_IDENTITY, EPERM);
	if (privilege_held(&reply->capabilities))
		return dismiss(session, reply, STAGE_INTERNAL, errno);
	reply->mode = (uint16_t)caller->mode;
	reply->state = caller->state;
	reply->uid = caller->uid;
	session->greeted = true;
	return answer(session, reply, -1);
}

static MUST_CHECK enum step open_here(const struct session *session,
				      const struct request *request,
				      struct reply *reply)
{
	const int fd = open_request(request, session->caller, reply);

	return answer(session, reply, fd);
}

static MUST_CHECK enum step open_there(const struct session *session,
				       const struct request *request,
				       struct reply *reply, int namespace)
{
	if (open_enter_namespace(namespace))
		return refuse(session, reply, STAGE_NAMESPACE, EPERM);
	return open_here(session, request, reply);
}

/* A child goes there, so that we need no way back. It answers by itself. */
static MUST_CHECK enum step open_in_child(const struct session *session,
					  const struct request *request,
					  struct reply *reply, int namespace)
{
	pid_t child;
	int status;

	if (open_check_namespace(namespace, session->caller))
		return refuse(session, reply, STAGE_NAMESPACE, EPERM);
	child = fork();
	if (child < 0)
		return refuse(session, reply, STAGE_INTERNAL, errno);
	if (child == 0)
		return open_there(session, request, reply, namespace) ==
				       STEP_NEXT ?
			       STEP_END :
			       STEP_FAULT;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return STEP_FAULT;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return STEP_NEXT;
	return refuse(session, reply, STAGE_INTERNAL, EIO);
}

static MUST_CHECK enum step open_allowed(const struct session *session,
					 const struct request *request,
					 struct reply *reply, int namespace)
{
	const enum reason reason = policy_decide(session->caller, request);

	if (reason != REASON_NONE) {
		reply_fail(reply, STAGE_POLICY, EACCES);
		reply->detail = (uint16_t)reason;
		return answer(session, reply, -1);
	}
	if (request_has(request, FLAG_NAMESPACE))
		return open_in_child(session, request, reply, namespace);
	return open_here(session, request, reply);
}

/* What a session forbids in messages that are well formed by themselves. */
static bool is_fault(const struct session *session,
		     const struct request *request,
		     const struct incoming *incoming)
{
	const bool brings_one = incoming->fd >= 0;

	return session->greeted == (request->op == OP_HELLO) ||
	       brings_one != request_has(request, FLAG_NAMESPACE);
}

static MUST_CHECK enum step handle(struct session *session,
				   const uint8_t *message,
				   const struct incoming *incoming)
{
	struct request request;
	struct reply reply;
	enum verdict verdict =
		request_decode(message, incoming->size, &request, &reply);

	if (verdict != VERDICT_NAMELESS && !incoming->whole)
		verdict = VERDICT_MALFORMED;
	if (verdict == VERDICT_GOOD && is_fault(session, &request, incoming))
		verdict = VERDICT_MALFORMED;

	switch (verdict) {
	case VERDICT_NAMELESS:
		return STEP_FAULT;
	case VERDICT_VERSION:
		return dismiss(session, &reply, STAGE_VERSION,
			       EPROTONOSUPPORT);
	case VERDICT_MALFORMED:
		return dismiss(session, &reply, STAGE_DECODE, EPROTO);
	case VERDICT_GOOD:
		break;
	}
	switch (request.op) {
	case OP_HELLO:
		return hello(session, &reply);
	case OP_OPEN:
		return open_allowed(session, &request, &reply, incoming->fd);
	}
	return STEP_FAULT;
}

static MUST_CHECK enum step serve_one(struct session *session)
{
	uint8_t message[REQUEST_MAX];
	struct incoming incoming;
	enum step step = STEP_END;

	/* A peer that leaves replies unread breaks the session: its end, too. */
	if (fdpass_receive(session->socket, message, sizeof(message),
			   &incoming))
		return STEP_END;
	if (incoming.size > 0)
		step = handle(session, message, &incoming);
	if (incoming.fd >= 0)
		close(incoming.fd);
	return step;
}

int serve(int session_socket, const struct caller *caller)
{
	struct session session = {
		.socket = session_socket,
		.caller = caller,
	};
	enum step step;

	do
		step = serve_one(&session);
	while (step == STEP_NEXT);
	return step == STEP_END ? 0 : 1;
}
