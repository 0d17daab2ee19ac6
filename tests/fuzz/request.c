/* SPDX-License-Identifier: MIT */
/*
 * For libFuzzer: hostile bytes through everything that the helper does with
 * a message before it makes a system call, with the promises of request.h
 * and policy.h as traps.
 */
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *message, size_t size);

static void demand(bool promise)
{
	if (!promise)
		abort();
}

static void check_good(const struct request *request, size_t size)
{
	demand(request->op == OP_HELLO || request->op == OP_OPEN);
	demand(size == REQUEST_SIZE + request->filter_count * sizeof(struct sock_filter));
	demand(request->filter_count <= BPF_MAXINSNS);
	demand(request->address_count <= TUN_ADDRESSES);
	demand(memchr(request->interface, 0, INTERFACE_SIZE) != NULL);
	demand(memchr(request->device, 0, DEVICE_SIZE) != NULL);
	demand(strchr(request->interface, '/') == NULL);
	/* No path out of /dev: it is relative, and no part begins with a dot. */
	demand(strchr("/.", request->device[0]) == NULL || request->device[0] == 0);
	demand(strstr(request->device, "/.") == NULL);
	if ((request->flags & FLAG_PORT) == 0)
		demand(request->port == 0);
	if ((request->flags & FLAG_FILTER) == 0)
		demand(request->filter_count == 0);
}

static enum reason decide(const struct caller *caller, const struct request *request)
{
	static struct policy policy;
	const struct site site = { .places = PLACE_HOST };
	struct request copy = *request;

	if (policy.rule_count == 0)
		policy_use_built_in(&policy);
	policy_begin(&policy, caller);
	return policy_decide(&policy, caller, &site, &copy).reason;
}

static void check_policy(const struct request *request)
{
	static const enum mode modes[] = { MODE_PLAIN, MODE_SETUID, MODE_CAPABILITIES,
					   MODE_SUDO };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct caller caller = {
			.mode = modes[i],
			.known = true,
			.uid = 1000,
			.gid = 1000,
			.file_safe = true,
			.file_for_all = true,
		};

		/* What everybody may execute gives nothing away. */
		if (modes[i] == MODE_SETUID || modes[i] == MODE_CAPABILITIES)
			demand(decide(&caller, request) != REASON_NONE);
		caller.file_for_all = false;
		if (decide(&caller, request) == REASON_NONE && request->kind == KIND_DEVICE)
			demand(strcmp(request->device, "net/tun") == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *message, size_t size)
{
	static struct request request;
	struct reply reply = { 0 };
	uint8_t bytes[REPLY_SIZE];
	const enum verdict verdict = request_decode(message, size, &request, &reply);

	if (verdict == VERDICT_GOOD) {
		check_good(&request, size);
		if (request.op == OP_OPEN)
			check_policy(&request);
	}
	if (verdict != VERDICT_UNREADABLE)
		reply_encode(&reply, bytes);
	return 0;
}
