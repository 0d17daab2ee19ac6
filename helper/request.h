/* SPDX-License-Identifier: MIT */
/* The messages of a session. Pure: no system call. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "must_check.h"

enum {
	PROTOCOL_VERSION = 1,
	REQUEST_SIZE = 200,
	REQUEST_MAX = REQUEST_SIZE + BPF_MAXINSNS * 8,
	REPLY_SIZE = 96,
	INTERFACE_SIZE = 16, DEVICE_SIZE = 32, ADDRESS_SIZE = 16,
	TUN_ADDRESSES = 4,
	REPLY_BY_FILE = 1 << 8, /* beside a reason of policy, in detail */
};

enum op { OP_HELLO = 1, OP_OPEN = 2 };

/* Kinds and stages have PROTOCOL.md's numbers, in order from 0. */
enum kind {
	KIND_NONE, KIND_PACKET, KIND_PACKET_DGRAM, KIND_RAW4, KIND_RAW6,
	KIND_PING4, KIND_PING6, KIND_TCP4, KIND_TCP6, KIND_UDP4, KIND_UDP6,
	KIND_TUN, KIND_TAP, KIND_DEVICE, KIND_ROUTE,
};

enum stage {
	STAGE_OK, STAGE_DECODE, STAGE_VERSION, STAGE_IDENTITY, STAGE_POLICY,
	STAGE_NAMESPACE, STAGE_SOCKET, STAGE_INTERFACE, STAGE_OPTION,
	STAGE_BIND, STAGE_LISTEN, STAGE_FILTER, STAGE_DEVICE, STAGE_TUN,
	STAGE_ADDRESS, STAGE_VERIFY, STAGE_INTERNAL,
};

enum flag {
	FLAG_ADDRESS = 1 << 0, FLAG_PORT = 1 << 1, FLAG_INTERFACE = 1 << 2,
	FLAG_DEVICE = 1 << 3, FLAG_MARK = 1 << 4, FLAG_PRIORITY = 1 << 5,
	FLAG_RECEIVE_BUFFER = 1 << 6, FLAG_SEND_BUFFER = 1 << 7,
	FLAG_BACKLOG = 1 << 8, FLAG_MTU = 1 << 9, FLAG_FILTER = 1 << 10,
	FLAG_LOCK = 1 << 11, FLAG_REUSE_PORT = 1 << 12,
	FLAG_NAMESPACE = 1 << 13, FLAG_ADDRESSES = 1 << 14, FLAG_UP = 1 << 15,
	FLAG_PERSIST = 1 << 16, FLAG_QUEUES = 1 << 17,
	FLAG_OFFLOAD = 1 << 18,
};

struct tun_address {
	uint8_t version; /* 4 or 6 */
	uint8_t prefix;
	uint8_t zero[2];
	uint8_t address[ADDRESS_SIZE];
};

/*
 * Just as PROTOCOL.md lays the message out. Once decoded, a field is zero
 * unless its flag is set, a name ends in NUL, and of `filter` there is as much
 * as filter_count says: the rest may be another request's.
 */
struct request {
	uint32_t magic;
	uint16_t version, size;
	uint16_t op, kind;
	uint32_t id;
	uint32_t flags;
	uint16_t protocol, port;
	uint8_t address[ADDRESS_SIZE];
	char interface[INTERFACE_SIZE];
	char device[DEVICE_SIZE];
	uint32_t mark, priority;
	uint32_t receive_buffer, send_buffer;
	uint16_t backlog, mtu;
	uint16_t filter_count, address_count;
	struct tun_address addresses[TUN_ADDRESSES];
	uint8_t reserved[8];
	struct sock_filter filter[BPF_MAXINSNS];
};

struct reply {
	uint32_t magic;
	uint16_t version, size;
	uint16_t op, stage;
	uint32_t id;
	uint32_t error; /* errno */
	uint16_t detail;
	uint16_t port, domain, type, protocol;
	uint16_t reserved;
	uint32_t ifindex;
	char name[INTERFACE_SIZE];
	uint16_t lowest_version, highest_version;
	uint16_t mode, state;
	uint32_t uid;
	uint64_t capabilities;
	uint8_t reserved_end[24];
};

enum verdict {
	VERDICT_GOOD,
	VERDICT_UNREADABLE, /* not even an id to answer to */
	VERDICT_VERSION,    /* not ours; the rest was not looked at */
	VERDICT_MALFORMED,  /* any other fault of form */
};

/*
 * Reads a message of `size` bytes. `request` is to be used only if it is
 * good; the head of `reply` is filled in unless it is unreadable.
 */
MUST_CHECK enum verdict request_decode(const uint8_t *message, size_t size,
				       struct request *request,
				       struct reply *reply);

/* What a name of each may be, in a field of this size padded with NUL. */
bool request_is_interface_name(const char name[INTERFACE_SIZE]);
bool request_is_device_name(const char *name, size_t size);

bool request_is_packet(const struct request *request);
bool request_is_ipv4(const struct request *request);
/* Its address means something on one interface only. */
bool request_is_link_local(const struct request *request);

/* Makes it a refusal that tells nothing else. Returns -1. */
int reply_fail(struct reply *reply, enum stage stage, int error);

void reply_encode(const struct reply *reply, uint8_t bytes[REPLY_SIZE]);
