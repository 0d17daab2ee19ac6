/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <string.h>

#include "request.h"

enum {
	MAGIC = 0x314B5041,
	BUFFER_MAX = 0x3FFFFFFF, /* the kernel doubles it, in an int */
	MTU_MIN = 68,		 /* MIN_MTU and MAX_MTU less headers: */
	MTU_MAX = 65521,	 /* drivers/net/tun.c */
};

/* What must be zero without its flag, and in range with it. */
static const struct field {
	uint32_t flag;
	size_t offset;
	size_t size;
	uint32_t low, high; /* 0, 0: not a number */
} fields[] = {
#define FIELD(flag, member, low, high)                  \
	{ flag, offsetof(struct request, member),       \
	  sizeof(((struct request *)0)->member), low, high }
	FIELD(FLAG_ADDRESS, address, 0, 0),
	FIELD(FLAG_PORT, port, 1, UINT16_MAX),
	FIELD(FLAG_INTERFACE, interface, 0, 0),
	FIELD(FLAG_DEVICE, device, 0, 0),
	FIELD(FLAG_MARK, mark, 0, UINT32_MAX),
	FIELD(FLAG_PRIORITY, priority, 0, UINT32_MAX),
	FIELD(FLAG_RECEIVE_BUFFER, receive_buffer, 1, BUFFER_MAX),
	FIELD(FLAG_SEND_BUFFER, send_buffer, 1, BUFFER_MAX),
	FIELD(FLAG_BACKLOG, backlog, 0, UINT16_MAX),
	FIELD(FLAG_MTU, mtu, MTU_MIN, MTU_MAX),
	FIELD(FLAG_FILTER, filter_count, 1, BPF_MAXINSNS),
	FIELD(FLAG_ADDRESSES, address_count, 1, TUN_ADDRESSES),
	FIELD(FLAG_ADDRESSES, addresses, 0, 0),
	FIELD(0, reserved, 0, 0),
#undef FIELD
};

enum {
	TAKES_PACKET = FLAG_INTERFACE | FLAG_MARK | FLAG_PRIORITY |
		       FLAG_RECEIVE_BUFFER | FLAG_SEND_BUFFER | FLAG_FILTER |
		       FLAG_LOCK | FLAG_NAMESPACE,
	TAKES_RAW = TAKES_PACKET | FLAG_ADDRESS,
	TAKES_UDP = TAKES_RAW | FLAG_PORT | FLAG_REUSE_PORT,
	TAKES_TCP = (TAKES_UDP | FLAG_BACKLOG) & ~(FLAG_FILTER | FLAG_LOCK),
	TAKES_TUN = FLAG_INTERFACE | FLAG_MTU | FLAG_ADDRESSES | FLAG_UP |
		    FLAG_PERSIST | FLAG_QUEUES | FLAG_NAMESPACE,
};

static const uint32_t takes[] = {
	[KIND_NONE] = 0,
	[KIND_PACKET] = TAKES_PACKET,
	[KIND_PACKET_DGRAM] = TAKES_PACKET,
	[KIND_RAW4] = TAKES_RAW,
	[KIND_RAW6] = TAKES_RAW,
	[KIND_PING4] = TAKES_RAW,
	[KIND_PING6] = TAKES_RAW,
	[KIND_TCP4] = TAKES_TCP,
	[KIND_TCP6] = TAKES_TCP,
	[KIND_UDP4] = TAKES_UDP,
	[KIND_UDP6] = TAKES_UDP,
	[KIND_TUN] = TAKES_TUN,
	[KIND_TAP] = TAKES_TUN,
	[KIND_DEVICE] = FLAG_DEVICE,
};

bool request_is_packet(const struct request *request)
{
	return request->kind == KIND_PACKET ||
	       request->kind == KIND_PACKET_DGRAM;
}

bool request_is_ipv4(const struct request *request)
{
	return request->kind == KIND_RAW4 || request->kind == KIND_PING4 ||
	       request->kind == KIND_TCP4 || request->kind == KIND_UDP4;
}

bool request_is_link_local(const struct request *request)
{
	return !request_is_ipv4(request) && request->address[0] == 0xFE &&
	       (request->address[1] & 0xC0) == 0x80;
}

/* The take_ functions move `at` on to the next field. */
static uint16_t take16(const uint8_t **at)
{
	const uint8_t *bytes = *at;

	*at += 2;
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint32_t take32(const uint8_t **at)
{
	const uint16_t low = take16(at);

	return low | (uint32_t)take16(at) << 16;
}

static void take_bytes(const uint8_t **at, void *to, size_t size)
{
	memcpy(to, *at, size);
	*at += size;
}

static void take_fields(const uint8_t *at, struct request *request)
{
	request->flags = take32(&at);
	request->protocol = take16(&at);
	request->port = take16(&at);
	take_bytes(&at, request->address, sizeof(request->address));
	take_bytes(&at, request->interface, sizeof(request->interface));
	take_bytes(&at, request->device, sizeof(request->device));
	request->mark = take32(&at);
	request->priority = take32(&at);
	request->receive_buffer = take32(&at);
	request->send_buffer = take32(&at);
	request->backlog = take16(&at);
	request->mtu = take16(&at);
	request->filter_count = take16(&at);
	request->address_count = take16(&at);
	take_bytes(&at, request->addresses, sizeof(request->addresses));
	take_bytes(&at, request->reserved, sizeof(request->reserved));
}

static void take_filter(const uint8_t *at, struct request *request)
{
	for (size_t i = 0; i < request->filter_count; i++) {
		struct sock_filter *instruction = &request->filter[i];

		instruction->code = take16(&at);
		instruction->jt = *at++;
		instruction->jf = *at++;
		instruction->k = take32(&at);
	}
}

static bool all_zero(const void *bytes, size_t size)
{
	for (const uint8_t *at = bytes; size > 0; at++, size--)
		if (*at != 0)
			return false;
	return true;
}

static bool number_fits(const void *number, const struct field *field)
{
	uint16_t small;
	uint32_t value;

	if (field->high == 0)
		return true;
	if (field->size == sizeof(small)) {
		memcpy(&small, number, sizeof(small));
		value = small;
	} else {
		memcpy(&value, number, sizeof(value));
	}
	return field->low <= value && value <= field->high;
}

static bool fields_fit(const struct request *request)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *field = &fields[i];
		const char *at = (const char *)request + field->offset;

		if (request->flags & field->flag ? !number_fits(at, field) :
						   !all_zero(at, field->size))
			return false;
	}
	return true;
}

static bool flags_fit(const struct request *request)
{
	const bool raw = request->kind == KIND_RAW4 ||
			 request->kind == KIND_RAW6;
	const uint32_t lockable =
		FLAG_FILTER | (request_is_packet(request) ? FLAG_INTERFACE : 0);

	if (request->flags & ~takes[request->kind])
		return false;
	if (request->protocol > (raw ? IPPROTO_RAW : 0))
		return false;
	if (request->flags & FLAG_LOCK && !(request->flags & lockable))
		return false;
	return request->kind != KIND_DEVICE || request->flags & FLAG_DEVICE;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '_';
}

/*
 * Padded with NUL, and plain: the kernel's names can hold more, but that has
 * no place in a log, a rule or a terminal.
 */
static bool is_name(const char *name, size_t size, const char *marks)
{
	const size_t length = strnlen(name, size);

	if (length == 0 || length == size)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!is_word(name[i]) && strchr(marks, name[i]) == NULL)
			return false;
	return all_zero(name + length, size - length);
}

static bool interface_fits(const struct request *request)
{
	const char *name = request->interface;

	return !(request->flags & FLAG_INTERFACE) ||
	       (is_name(name, sizeof(request->interface), ".-") &&
		name[0] != '-' && strcmp(name, ".") != 0 &&
		strcmp(name, "..") != 0);
}

/* Each part between slashes begins with a letter or digit. */
static bool device_fits(const struct request *request)
{
	const char *name = request->device;

	if (!(request->flags & FLAG_DEVICE))
		return true;
	if (!is_name(name, sizeof(request->device), ".-/") || !is_word(name[0]))
		return false;
	for (; *name != '\0'; name++)
		if (name[0] == '/' && !is_word(name[1]))
			return false;
	return true;
}

static bool address_fits(const uint8_t *address, bool ipv4)
{
	return !ipv4 || all_zero(address + 4, ADDRESS_SIZE - 4);
}

static bool tun_addresses_fit(const struct request *request)
{
	for (size_t i = 0; i < TUN_ADDRESSES; i++) {
		const struct tun_address *item = &request->addresses[i];
		const bool ipv4 = item->version == 4;

		if (i >= request->address_count) {
			if (!all_zero(item, sizeof(*item)))
				return false;
			continue;
		}
		if ((!ipv4 && item->version != 6) ||
		    item->prefix > (ipv4 ? 32 : 128) ||
		    !all_zero(item->zero, sizeof(item->zero)) ||
		    !address_fits(item->address, ipv4))
			return false;
	}
	return true;
}

enum verdict request_decode(const uint8_t *message, size_t size,
			    struct request *request)
{
	const uint8_t *at = message;

	if (size < REQUEST_SIZE || take32(&at) != MAGIC)
		return VERDICT_UNREADABLE;
	const uint16_t version = take16(&at);
	const uint16_t header_size = take16(&at);

	*request = (struct request){ .op = take16(&at) };
	request->kind = take16(&at);
	request->id = take32(&at);
	/* Before all that another version may have changed. */
	if (version != PROTOCOL_VERSION)
		return request->op == OP_HELLO ? VERDICT_VERSION :
						 VERDICT_MALFORMED;
	if (header_size != REQUEST_SIZE)
		return VERDICT_MALFORMED;
	if (request->op == OP_HELLO ? request->kind != KIND_NONE :
				      request->op != OP_OPEN ||
					      request->kind < KIND_PACKET ||
					      request->kind > KIND_DEVICE)
		return VERDICT_MALFORMED;
	take_fields(at, request);
	if (!flags_fit(request) || !fields_fit(request) ||
	    !interface_fits(request) || !device_fits(request) ||
	    !address_fits(request->address, request_is_ipv4(request)) ||
	    !tun_addresses_fit(request))
		return VERDICT_MALFORMED;
	if (request_is_link_local(request) &&
	    !(request->flags & FLAG_INTERFACE))
		return VERDICT_MALFORMED;
	if (size != REQUEST_SIZE + (size_t)request->filter_count * 8)
		return VERDICT_MALFORMED;
	take_filter(message + REQUEST_SIZE, request);
	return VERDICT_GOOD;
}

int reply_fail(struct reply *reply, enum stage stage, int error)
{
	*reply = (struct reply){
		.op = reply->op,
		.id = reply->id,
		.stage = stage,
		.error = error,
	};
	return -1;
}

/* The put functions move `at` on to the next field. */
static void put16(uint8_t **at, uint16_t value)
{
	*(*at)++ = (uint8_t)(value & 0xFF);
	*(*at)++ = (uint8_t)(value >> 8);
}

static void put32(uint8_t **at, uint32_t value)
{
	put16(at, (uint16_t)(value & 0xFFFF));
	put16(at, (uint16_t)(value >> 16));
}

void reply_encode(const struct reply *reply, uint8_t bytes[REPLY_SIZE])
{
	uint8_t *at = bytes;

	memset(bytes, 0, REPLY_SIZE);
	put32(&at, MAGIC);
	put16(&at, PROTOCOL_VERSION);
	put16(&at, REPLY_SIZE);
	put16(&at, reply->op);
	put16(&at, (uint16_t)reply->stage);
	put32(&at, reply->id);
	put32(&at, (uint32_t)reply->error);
	put16(&at, reply->detail);
	put16(&at, reply->port);
	put16(&at, reply->domain);
	put16(&at, reply->type);
	put16(&at, reply->protocol);
	put16(&at, 0);
	put32(&at, reply->ifindex);
	memcpy(at, reply->name, sizeof(reply->name));
	at += sizeof(reply->name);
	put16(&at, reply->lowest_version);
	put16(&at, reply->highest_version);
	put16(&at, reply->mode);
	put16(&at, reply->state);
	put32(&at, reply->uid);
	put32(&at, (uint32_t)(reply->capabilities & 0xFFFFFFFF));
	put32(&at, (uint32_t)(reply->capabilities >> 32));
}
