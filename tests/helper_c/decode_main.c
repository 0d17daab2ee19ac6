/* SPDX-License-Identifier: MIT */
/*
 * The helper's pure half as a program, for tests.
 *
 *   decode_main request
 *   decode_main policy MODE UID FILE_SAFE FILE_FOR_ALL
 *       Messages on standard input, each behind its size in four bytes of
 *       the machine's order. For each the lines of tests/golden/README.md,
 *       or the number of policy_decide()'s reason; then an empty line.
 *   decode_main reply KEY=VALUE...
 *       A reply on standard output; keys and values as in golden files.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "request.h"

/* One more than any message may have, to try that as well. */
enum { INPUT_MAX = REQUEST_MAX + 1 };

static const char *const ops[] = {
	[OP_HELLO] = "hello", [OP_OPEN] = "open",
};

static const char *const kinds[] = {
	[KIND_PACKET] = "packet", [KIND_PACKET_DGRAM] = "packet_dgram",
	[KIND_RAW4] = "raw4", [KIND_RAW6] = "raw6",
	[KIND_PING4] = "ping4", [KIND_PING6] = "ping6",
	[KIND_TCP4] = "tcp4", [KIND_TCP6] = "tcp6",
	[KIND_UDP4] = "udp4", [KIND_UDP6] = "udp6",
	[KIND_TUN] = "tun", [KIND_TAP] = "tap", [KIND_DEVICE] = "device",
	[KIND_ROUTE] = "route",
};

static const char *const stages[] = {
	[STAGE_OK] = "ok", [STAGE_DECODE] = "decode",
	[STAGE_VERSION] = "version", [STAGE_IDENTITY] = "identity",
	[STAGE_POLICY] = "policy", [STAGE_NAMESPACE] = "namespace",
	[STAGE_SOCKET] = "socket", [STAGE_INTERFACE] = "interface",
	[STAGE_OPTION] = "option", [STAGE_BIND] = "bind",
	[STAGE_LISTEN] = "listen", [STAGE_FILTER] = "filter",
	[STAGE_DEVICE] = "device", [STAGE_TUN] = "tun",
	[STAGE_ADDRESS] = "address", [STAGE_VERIFY] = "verify",
	[STAGE_INTERNAL] = "internal",
};

static const char *const modes[] = {
	[MODE_PLAIN] = "plain", [MODE_SETUID] = "setuid",
	[MODE_CAPABILITIES] = "capabilities", [MODE_SUDO] = "sudo",
	[MODE_BROKER] = "broker",
};

static void fail(const char *what)
{
	fprintf(stderr, "decode_main: %s\n", what);
	exit(2);
}

static uint16_t find(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (names[i] != NULL && strcmp(names[i], name) == 0)
			return (uint16_t)i;
	fail(name);
	return 0;
}

static void print_address(const uint8_t *address, bool ipv4)
{
	if (ipv4) {
		printf("%u.%u.%u.%u", address[0], address[1], address[2],
		       address[3]);
		return;
	}
	for (size_t i = 0; i < ADDRESS_SIZE; i += 2)
		printf("%s%02x%02x", i ? ":" : "", address[i], address[i + 1]);
}

static void print_options(const struct request *request)
{
	const struct {
		uint32_t flag;
		const char *key;
		uint32_t value;
	} numbers[] = {
		{ FLAG_MARK, "mark", request->mark },
		{ FLAG_PRIORITY, "priority", request->priority },
		{ FLAG_RECEIVE_BUFFER, "receive_buffer",
		  request->receive_buffer },
		{ FLAG_SEND_BUFFER, "send_buffer", request->send_buffer },
		{ FLAG_BACKLOG, "backlog", request->backlog },
		{ FLAG_MTU, "mtu", request->mtu },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (request->flags & numbers[i].flag)
			printf("%s: %" PRIu32 "\n", numbers[i].key,
			       numbers[i].value);
}

static void print_filter(const struct request *request)
{
	for (size_t i = 0; i < request->filter_count; i++) {
		const struct sock_filter *one = &request->filter[i];

		printf("filter: %u %u %u %" PRIu32 "\n", one->code, one->jt,
		       one->jf, one->k);
	}
}

static void print_switch(const struct request *request, uint32_t flag,
			 const char *key)
{
	if (request->flags & flag)
		printf("%s: yes\n", key);
}

static void print_tun_addresses(const struct request *request)
{
	for (size_t i = 0; i < request->address_count; i++) {
		const struct tun_address *one = &request->addresses[i];

		printf("addresses: ");
		print_address(one->address, one->version == 4);
		printf("/%u\n", one->prefix);
	}
}

static void print_open(const struct request *request)
{
	if (request->kind == KIND_RAW4 || request->kind == KIND_RAW6)
		printf("protocol: %u\n", request->protocol);
	if (request->flags & FLAG_ADDRESS) {
		printf("address: ");
		print_address(request->address, request_is_ipv4(request));
		printf("\n");
	}
	if (request->flags & FLAG_PORT)
		printf("port: %u\n", request->port);
	if (request->flags & FLAG_INTERFACE)
		printf("interface: %s\n", request->interface);
	if (request->flags & FLAG_DEVICE)
		printf("device: %s\n", request->device);
	print_options(request);
	print_filter(request);
	print_switch(request, FLAG_LOCK, "lock");
	print_switch(request, FLAG_REUSE_PORT, "reuse_port");
	print_switch(request, FLAG_NAMESPACE, "namespace");
	print_tun_addresses(request);
	print_switch(request, FLAG_UP, "up");
	print_switch(request, FLAG_PERSIST, "persist");
	print_switch(request, FLAG_QUEUES, "queues");
	print_switch(request, FLAG_OFFLOAD, "offload");
}

static void print_request(const struct request *request)
{
	if (request->op == OP_HELLO) {
		printf("op: %s\nid: %" PRIu32 "\n", ops[request->op],
		       request->id);
		return;
	}
	printf("op: %s\nkind: %s\nid: %" PRIu32 "\n", ops[request->op],
	       kinds[request->kind], request->id);
	print_open(request);
}

static void print_verdict(enum verdict verdict, const struct request *request)
{
	switch (verdict) {
	case VERDICT_GOOD:
		print_request(request);
		break;
	case VERDICT_UNREADABLE:
		printf("answer: none\n");
		break;
	case VERDICT_VERSION:
		printf("answer: version\n");
		break;
	case VERDICT_MALFORMED:
		printf("answer: decode\n");
		break;
	}
}

/* A copy of exactly this size, so that the sanitizer sees a read behind it. */
static enum verdict decode(const uint8_t *input, size_t size,
			   struct request *request, struct reply *reply)
{
	uint8_t *message = malloc(size ? size : 1);
	enum verdict verdict;

	if (message == NULL)
		fail("no memory");
	memcpy(message, input, size);
	verdict = request_decode(message, size, request, reply);
	free(message);
	return verdict;
}

/* By the built-in rules, where every namespace is the caller's own. */
static void print_decision(const struct caller *caller,
			   struct request *request)
{
	static struct policy policy;
	const struct site site = {
		.places = request->flags & FLAG_NAMESPACE ? PLACE_OWN :
							    PLACE_HOST,
	};

	policy_use_built_in(&policy);
	policy_begin(&policy, caller);
	printf("%d\n",
	       (int)policy_decide(&policy, caller, &site, request).reason);
}

static void decode_all(const struct caller *caller)
{
	static uint8_t input[INPUT_MAX];
	static struct request request;
	struct reply reply;
	uint32_t size;

	while (fread(&size, sizeof(size), 1, stdin) == 1) {
		if (size > sizeof(input) ||
		    fread(input, 1, size, stdin) != size)
			fail("torn input");
		const enum verdict verdict =
			decode(input, size, &request, &reply);

		if (caller == NULL || verdict != VERDICT_GOOD)
			print_verdict(verdict, &request);
		else
			print_decision(caller, &request);
		printf("\n");
		fflush(stdout);
	}
}

static void set_field(struct reply *reply, const char *key, const char *value)
{
	const uint64_t number = strtoull(value, NULL, 0);

	if (strcmp(key, "op") == 0)
		reply->op = find(value, ops, sizeof(ops) / sizeof(ops[0]));
	else if (strcmp(key, "id") == 0)
		reply->id = (uint32_t)number;
	else if (strcmp(key, "stage") == 0)
		reply->stage = find(value, stages,
				    sizeof(stages) / sizeof(stages[0]));
	else if (strcmp(key, "mode") == 0)
		reply->mode = find(value, modes,
				   sizeof(modes) / sizeof(modes[0]));
	else if (strcmp(key, "name") == 0)
		strncpy(reply->name, value, sizeof(reply->name) - 1);
	else if (strcmp(key, "errno") == 0)
		reply->error = (uint32_t)number;
	else if (strcmp(key, "detail") == 0)
		reply->detail = (uint16_t)number;
	else if (strcmp(key, "port") == 0)
		reply->port = (uint16_t)number;
	else if (strcmp(key, "domain") == 0)
		reply->domain = (uint16_t)number;
	else if (strcmp(key, "type") == 0)
		reply->type = (uint16_t)number;
	else if (strcmp(key, "protocol") == 0)
		reply->protocol = (uint16_t)number;
	else if (strcmp(key, "ifindex") == 0)
		reply->ifindex = (uint32_t)number;
	else if (strcmp(key, "lowest") == 0)
		reply->lowest_version = (uint16_t)number;
	else if (strcmp(key, "highest") == 0)
		reply->highest_version = (uint16_t)number;
	else if (strcmp(key, "state") == 0)
		reply->state = (uint16_t)number;
	else if (strcmp(key, "uid") == 0)
		reply->uid = (uint32_t)number;
	else if (strcmp(key, "capabilities") == 0)
		reply->capabilities = number;
	else
		fail(key);
}

static void encode(int count, char **fields)
{
	uint8_t bytes[REPLY_SIZE];
	struct reply reply = { 0 };

	reply_fail(&reply, STAGE_OK, 0);
	for (int i = 0; i < count; i++) {
		char *value = strchr(fields[i], '=');

		if (value == NULL)
			fail(fields[i]);
		*value++ = '\0';
		set_field(&reply, fields[i], value);
	}
	reply_encode(&reply, bytes);
	fwrite(bytes, 1, sizeof(bytes), stdout);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "request") == 0) {
		decode_all(NULL);
	} else if (argc == 6 && strcmp(argv[1], "policy") == 0) {
		const struct caller caller = {
			.mode = (enum mode)find(
				argv[2], modes,
				sizeof(modes) / sizeof(modes[0])),
			.known = true,
			.uid = (uid_t)strtoul(argv[3], NULL, 10),
			.file_safe = strcmp(argv[4], "yes") == 0,
			.file_for_all = strcmp(argv[5], "yes") == 0,
		};

		decode_all(&caller);
	} else if (argc > 2 && strcmp(argv[1], "reply") == 0) {
		encode(argc - 2, argv + 2);
	} else {
		fail("usage: see the source");
	}
	return 0;
}
