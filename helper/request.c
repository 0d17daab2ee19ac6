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

/* The wire's order is little-endian, and so are the machines we build for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte order");
_Static_assert(offsetof(struct request, filter) == REQUEST_SIZE, "padding");
_Static_assert(sizeof(struct request) == REQUEST_MAX, "padding");
_Static_assert(sizeof(struct reply) == REPLY_SIZE, "padding");

/* What must be zero without its flag, and in range with it. */
static const struct field {
	uint32_t flag;
	size_t offset;
	size_t size;
	uint32_t low, high; /* 0, 0: not a number */
} fields[] = {
#define FIELD(flag, member, low, high)            \
	{ flag, offsetof(struct request, member), \
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
		    FLAG_PERSIST | FLAG_QUEUES | FLAG_OFFLOAD |
		    FLAG_NAMESPACE,
};

static const uint32_t takes[] = {
	[KIND_NONE] = 0, [KIND_DEVICE] = FLAG_DEVICE,
	[KIND_ROUTE] = FLAG_NAMESPACE,
	[KIND_PACKET] = TAKES_PACKET, [KIND_PACKET_DGRAM] = TAKES_PACKET,
	[KIND_RAW4] = TAKES_RAW, [KIND_RAW6] = TAKES_RAW,
	[KIND_PING4] = TAKES_RAW, [KIND_PING6] = TAKES_RAW,
	[KIND_TCP4] = TAKES_TCP, [KIND_TCP6] = TAKES_TCP,
	[KIND_UDP4] = TAKES_UDP, [KIND_UDP6] = TAKES_UDP,
	[KIND_TUN] = TAKES_TUN, [KIND_TAP] = TAKES_TUN,
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

static bool all_zero(const void *bytes, size_t size)
{
	for (const uint8_t *at = bytes; size > 0; at++, size--)
		if (*at != 0)
			return false;
	return true;
}

static bool fits(const struct field *field, const struct request *request)
{
	const char *at = (const char *)request + field->offset;
	uint32_t number = 0;

	if (!(request->flags & field->flag))
		return all_zero(at, field->size);
	if (field->high == 0)
		return true;
	memcpy(&number, at, field->size);
	return field->low <= number && number <= field->high;
}

static bool fields_fit(const struct request *request)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!fits(&fields[i], request))
			return false;
	return true;
}

static bool flags_fit(const struct request *request)
{
	const bool raw = request->kind == KIND_RAW4 ||
			 request->kind == KIND_RAW6;
	const uint32_t lockable =
		FLAG_FILTER | (request_is_packet(request) ? FLAG_INTERFACE : 0);

	return !(request->flags & ~takes[request->kind]) &&
	       request->protocol <= (raw ? IPPROTO_RAW : 0) &&
	       (!(request->flags & FLAG_LOCK) || request->flags & lockable) &&
	       (request->kind != KIND_DEVICE || request->flags & FLAG_DEVICE);
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

bool request_is_interface_name(const char name[INTERFACE_SIZE])
{
	return is_name(name, INTERFACE_SIZE, ".-") && name[0] != '-' &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool interface_fits(const struct request *request)
{
	return !(request->flags & FLAG_INTERFACE) ||
	       request_is_interface_name(request->interface);
}

/* Each part between slashes begins with a letter or digit. */
bool request_is_device_name(const char *name, size_t size)
{
	if (!is_name(name, size, ".-/") || !is_word(name[0]))
		return false;
	for (; *name != '\0'; name++)
		if (name[0] == '/' && !is_word(name[1]))
			return false;
	return true;
}

static bool device_fits(const struct request *request)
{
	return !(request->flags & FLAG_DEVICE) ||
	       request_is_device_name(request->device, sizeof(request->device));
}

static bool address_fits(const uint8_t *address, bool ipv4)
{
	return !ipv4 || all_zero(address + 4, ADDRESS_SIZE - 4);
}

static bool tun_address_fits(const struct tun_address *item)
{
	const bool ipv4 = item->version == 4;

	return (ipv4 || item->version == 6) &&
	       item->prefix <= (ipv4 ? 32 : 128) &&
	       all_zero(item->zero, sizeof(item->zero)) &&
	       address_fits(item->address, ipv4);
}

static bool tun_addresses_fit(const struct request *request)
{
	const struct tun_address *item = request->addresses;

	for (size_t i = 0; i < TUN_ADDRESSES; i++, item++)
		if (i < request->address_count ?
			    !tun_address_fits(item) :
			    !all_zero(item, sizeof(*item)))
			return false;
	return true;
}

static bool request_fits(const struct request *request)
{
	return request->size == REQUEST_SIZE &&
	       (request->op == OP_HELLO || request->op == OP_OPEN) &&
	       (request->op == OP_HELLO) == (request->kind == KIND_NONE) &&
	       request->kind <= KIND_ROUTE &&
	       flags_fit(request) && fields_fit(request) &&
	       interface_fits(request) && device_fits(request) &&
	       address_fits(request->address, request_is_ipv4(request)) &&
	       tun_addresses_fit(request) &&
	       (!request_is_link_local(request) ||
		request->flags & FLAG_INTERFACE);
}

static struct reply reply_to(uint16_t op, uint32_t id)
{
	const uint16_t spoken = op == OP_HELLO ? PROTOCOL_VERSION : 0;

	return (struct reply){ .magic = MAGIC, .version = PROTOCOL_VERSION,
			       .size = REPLY_SIZE, .op = op, .id = id,
			       .lowest_version = spoken,
			       .highest_version = spoken };
}

enum verdict request_decode(const uint8_t *message, size_t size,
			    struct request *request, struct reply *reply)
{
	/* The instructions, most of it, are as many as filter_count says. */
	memset(request, 0, REQUEST_SIZE);
	memcpy(request, message, size < REQUEST_MAX ? size : REQUEST_MAX);
	if (size < REQUEST_SIZE || request->magic != MAGIC)
		return VERDICT_UNREADABLE;
	*reply = reply_to(request->op, request->id);
	/* First, for another version may have changed all the rest. */
	if (request->version != PROTOCOL_VERSION)
		return VERDICT_VERSION;
	if (!request_fits(request) ||
	    size != REQUEST_SIZE +
			    request->filter_count * sizeof(request->filter[0]))
		return VERDICT_MALFORMED;
	return VERDICT_GOOD;
}

int reply_fail(struct reply *reply, enum stage stage, int error)
{
	*reply = reply_to(reply->op, reply->id);
	reply->stage = (uint16_t)stage;
	reply->error = (uint32_t)error;
	return -1;
}

void reply_encode(const struct reply *reply, uint8_t bytes[REPLY_SIZE])
{
	memcpy(bytes, reply, REPLY_SIZE);
}
