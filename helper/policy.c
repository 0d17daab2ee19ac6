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

/* No network that is real has such addresses. */
static const struct tun_address unreal[] = {
	{ 4, 24, { 0 }, { 192, 0, 2 } },			 /* RFC 5737 */
	{ 4, 24, { 0 }, { 198, 51, 100 } },			 /* RFC 5737 */
	{ 4, 24, { 0 }, { 203, 0, 113 } },			 /* RFC 5737 */
	{ 4, 15, { 0 }, { 198, 18 } },				 /* RFC 2544 */
	{ 6, 32, { 0 }, { 0x20, 0x01, 0x0D, 0xB8 } },		 /* RFC 3849 */
	{ 6, 48, { 0 }, { 0x20, 0x01, 0x00, 0x02, 0x00, 0x00 } }, /* RFC 5180 */
	{ 6, 10, { 0 }, { 0xFE, 0x80 } }, /* each link has its own */
};

enum { UNREAL_COUNT = sizeof(unreal) / sizeof(unreal[0]) };

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

static bool lies_in(const struct tun_address *address,
		    const struct tun_address *network)
{
	const size_t whole = network->prefix / 8;
	const unsigned int rest = 8 - network->prefix % 8;

	return address->version == network->version &&
	       address->prefix >= network->prefix &&
	       memcmp(address->address, network->address, whole) == 0 &&
	       (address->address[whole] ^ network->address[whole]) >> rest == 0;
}

/*
 * Any other would draw the host's own traffic to the caller's device: also a
 * private one, for the gateway and the resolver have such addresses.
 */
static enum reason check_addresses(const struct request *request)
{
	/* A network namespace of the caller's own is the caller's business. */
	if (request->flags & FLAG_NAMESPACE)
		return REASON_NONE;
	for (size_t i = 0; i < request->address_count; i++) {
		size_t at = 0;

		while (at < UNREAL_COUNT &&
		       !lies_in(&request->addresses[i], &unreal[at]))
			at++;
		if (at == UNREAL_COUNT)
			return REASON_ADDRESS;
	}
	return REASON_NONE;
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
	    (reason = check_kind(request)) != REASON_NONE ||
	    (reason = check_addresses(request)) != REASON_NONE)
		return reason;
	return check_options(request);
}
