/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <string.h>

#include "policy.h"

enum { BUFFER_MAX = 64 << 20, PRIORITY_MAX = 7, LOW_PORT_MAX = 1023 };

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

static bool is_granted_name(const struct request *request)
{
	return !(request->flags & FLAG_INTERFACE) ||
	       memcmp(request->interface, "aio", strlen("aio")) == 0;
}

static enum reason check_kind(const struct request *request)
{
	const int protocol = request->protocol;

	switch ((enum kind)request->kind) {
	case KIND_PACKET:
	case KIND_PACKET_DGRAM:
	case KIND_PING4:
	case KIND_PING6:
	case KIND_DEVICE:
		return REASON_NONE;
	case KIND_RAW4:
		return protocol == IPPROTO_ICMP ? REASON_NONE : REASON_PROTOCOL;
	case KIND_RAW6:
		return protocol == IPPROTO_ICMPV6 ? REASON_NONE :
						    REASON_PROTOCOL;
	case KIND_TCP4:
	case KIND_TCP6:
	case KIND_UDP4:
	case KIND_UDP6:
		/* The other ports are everybody's without us. No port: 0. */
		return request->port >= 1 && request->port <= LOW_PORT_MAX ?
			       REASON_NONE :
			       REASON_PORT;
	case KIND_TUN:
	case KIND_TAP:
		return is_granted_name(request) ? REASON_NONE : REASON_NAME;
	case KIND_NONE:
		break;
	}
	return REASON_KIND;
}

static enum reason check_options(const struct request *request)
{
	if (request->flags & FLAG_MARK)
		return REASON_MARK;
	if (request->receive_buffer > BUFFER_MAX ||
	    request->send_buffer > BUFFER_MAX)
		return REASON_BUFFER;
	return request->priority > PRIORITY_MAX ? REASON_PRIORITY : REASON_NONE;
}

/* Whether being able to start the helper says anything about the caller. */
static enum reason check_file(const struct caller *caller)
{
	if (!caller->file_safe)
		return REASON_FILE;
	/* In sudo mode it is sudo's rule that says who may. */
	if (caller->file_for_all && caller->mode != MODE_SUDO)
		return REASON_EVERYBODY;
	return REASON_NONE;
}

enum reason policy_decide(const struct caller *caller,
			  const struct request *request)
{
	enum reason reason;

	if (request->kind == KIND_DEVICE && !policy_device(request->device))
		return REASON_DEVICE;
	/* A plain helper has no right that its caller has not. */
	if (caller->mode == MODE_PLAIN || caller->uid == 0)
		return REASON_NONE;
	if ((reason = check_file(caller)) != REASON_NONE ||
	    (reason = check_kind(request)) != REASON_NONE)
		return reason;
	return check_options(request);
}
