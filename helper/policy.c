/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <string.h>

#include "policy.h"

enum {
	BUFFER_MAX = 64 << 20,
	PRIORITY_MAX = 7,
	PORT_MAX = 1023,
};

static const char tun_prefix[] = "aio";

static const struct device devices[] = {
	{ "net/tun", "/dev/net/tun", 10, 200 },
};

const struct device *policy_device(const char *name)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		if (strcmp(devices[i].name, name) == 0)
			return &devices[i];
	return NULL;
}

static enum reason check_port(const struct request *request)
{
	/* The other ports are everybody's already. No port: 0. */
	return request->port >= 1 && request->port <= PORT_MAX ? REASON_NONE :
								 REASON_PORT;
}

/* What the policy that is built in grants; see PROTOCOL.md. */
static enum reason check_kind(const struct request *request)
{
	switch (request->kind) {
	case KIND_PACKET:
	case KIND_PACKET_DGRAM:
	case KIND_PING4:
	case KIND_PING6:
	case KIND_DEVICE:
		return REASON_NONE;
	case KIND_RAW4:
		return request->protocol == IPPROTO_ICMP ? REASON_NONE :
							   REASON_PROTOCOL;
	case KIND_RAW6:
		return request->protocol == IPPROTO_ICMPV6 ? REASON_NONE :
							     REASON_PROTOCOL;
	case KIND_TCP4:
	case KIND_TCP6:
	case KIND_UDP4:
	case KIND_UDP6:
		return check_port(request);
	case KIND_TUN:
	case KIND_TAP:
		if (!request_has(request, FLAG_INTERFACE))
			return REASON_NONE;
		return strncmp(request->interface, tun_prefix,
			       sizeof(tun_prefix) - 1) == 0 ?
			       REASON_NONE :
			       REASON_NAME;
	case KIND_NONE:
		break;
	}
	return REASON_KIND;
}

static enum reason check_options(const struct request *request)
{
	if (request_has(request, FLAG_MARK))
		return REASON_MARK;
	if (request->receive_buffer > BUFFER_MAX ||
	    request->send_buffer > BUFFER_MAX)
		return REASON_BUFFER;
	if (request->priority > PRIORITY_MAX)
		return REASON_PRIORITY;
	return REASON_NONE;
}

/* Whether being able to start the helper says anything about the caller. */
static enum reason check_file(const struct caller *caller)
{
	if (!caller->file_safe)
		return REASON_FILE;
	/* In sudo mode it is sudo's rule that says who may start it. */
	if (caller->file_for_all && caller->mode != MODE_SUDO)
		return REASON_EVERYBODY;
	return REASON_NONE;
}

enum reason policy_decide(const struct caller *caller,
			  const struct request *request)
{
	enum reason reason;

	if (request->kind == KIND_DEVICE &&
	    policy_device(request->device) == NULL)
		return REASON_DEVICE;
	/* A plain helper has no right that its caller has not. */
	if (caller->mode == MODE_PLAIN || caller->uid == 0)
		return REASON_NONE;
	reason = check_file(caller);
	if (reason == REASON_NONE)
		reason = check_kind(request);
	if (reason == REASON_NONE)
		reason = check_options(request);
	return reason;
}
