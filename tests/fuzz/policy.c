/* SPDX-License-Identifier: MIT */
/*
 * For libFuzzer: any text as a policy, with the promises of policy.h as
 * traps; what is valid decides about a request of each kind.
 */
#include <stdlib.h>
#include <string.h>

#include "confine.h"
#include "policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t size);

static void demand(bool promise)
{
	if (!promise)
		abort();
}

static void check_ranges(const struct range *ranges, size_t count)
{
	demand(count <= POLICY_LIST_MAX);
	for (size_t i = 0; i < count; i++)
		demand(ranges[i].low <= ranges[i].high);
}

static void check_rule(const struct rule *rule)
{
	demand(rule->words != 0);
	demand(rule->conditions & HAS_WHO);
	demand(rule->who == WHO_ALL || rule->id != UINT32_MAX);
	demand(rule->line > 0);
	demand(rule->places != 0);
	check_ranges(rule->ports, rule->port_count);
	check_ranges(rule->protocols, rule->protocol_count);
	demand(rule->network_count <= POLICY_LIST_MAX);
	for (size_t i = 0; i < rule->network_count; i++)
		demand(rule->networks[i].prefix <= (rule->networks[i].version == 4 ? 32 : 128));
	demand(memchr(rule->interface, 0, INTERFACE_SIZE) != NULL);
	demand(memchr(rule->name, 0, INTERFACE_SIZE) != NULL);
	if (rule->words & (WORD_TCP | WORD_UDP))
		demand(rule->port_count > 0 && rule->ports[0].low > 0);
	if (rule->words & (WORD_RAW4 | WORD_RAW6))
		demand(rule->protocol_count > 0);
	if (rule->words & WORD_DEVICE) {
		demand(strncmp(rule->device.path, "/dev/", 5) == 0);
		demand(strstr(rule->device.path, "/.") == NULL);
		demand(strstr(rule->device.path, "//") == NULL);
	}
}

static struct request ask(enum kind kind, const struct rule *rule)
{
	struct request request = { .op = OP_OPEN, .kind = (uint16_t)kind };

	if (rule->port_count > 0) {
		request.flags |= FLAG_PORT;
		request.port = (uint16_t)rule->ports[0].high;
	}
	if (rule->conditions & HAS_NAME && rule->name[0]) {
		request.flags |= FLAG_INTERFACE;
		memcpy(request.interface, rule->name, INTERFACE_SIZE);
	}
	if (kind == KIND_RAW4 || kind == KIND_RAW6)
		request.protocol = (uint16_t)(rule->protocol_count ? rule->protocols[0].low :
				   kind == KIND_RAW4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (rule->network_count > 0) {
		request.flags |= FLAG_ADDRESS;
		memcpy(request.address, rule->networks[0].address, ADDRESS_SIZE);
	}
	memcpy(request.device, rule->device.name, DEVICE_SIZE);
	return request;
}

/* Jumps go forward and not beyond the end; the last one returns or goes on. */
static void check_filter(const struct request *request, const struct rule *rule)
{
	struct sock_filter code[CONFINE_MAX];
	const size_t count = confine_write(request, rule, 1, code);

	demand(count <= CONFINE_MAX);
	for (size_t i = 0; i < count; i++)
		if (BPF_CLASS(code[i].code) == BPF_JMP)
			demand(i + 1 + code[i].jt < count && i + 1 + code[i].jf < count);
	if (count > 0)
		demand(BPF_CLASS(code[count - 1].code) == BPF_RET);
}

static void check_grant(const struct verdict_of_policy *verdict, const struct request *request,
			const struct caller *caller)
{
	const struct rule *rule = verdict->rule;

	demand(rule != NULL);
	demand(rule->who == WHO_ALL || rule->id == caller->uid || rule->id == caller->groups[0]);
	demand(request->kind != KIND_ROUTE || !(rule->conditions & HAS_INTERFACE));
	if (rule->conditions & HAS_INTERFACE) {
		demand(request->flags & FLAG_INTERFACE);
		demand(strcmp(request->interface, rule->interface) == 0);
		if (request->kind != KIND_TCP4 && request->kind != KIND_TCP6)
			demand(request->flags & FLAG_LOCK);
	}
	if (request->kind == KIND_DEVICE)
		demand(verdict->device != NULL);
	check_filter(request, rule);
}

static void decide_all(struct policy *policy)
{
	static const gid_t groups[] = { 100 };
	const struct caller caller = { .mode = MODE_SETUID, .known = true, .uid = 1000,
				       .groups = groups, .group_count = 1, .file_safe = true };
	const struct site here = { .places = PLACE_HOST };

	policy_begin(policy, &caller);
	for (size_t i = 0; i < policy->rule_count; i++) {
		check_rule(&policy->rules[i]);
		for (int kind = KIND_PACKET; kind <= KIND_ROUTE; kind++) {
			struct request request = ask((enum kind)kind, &policy->rules[i]);
			const struct verdict_of_policy verdict =
				policy_decide(policy, &caller, &here, &request);

			if (verdict.reason == REASON_NONE)
				check_grant(&verdict, &request, &caller);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t size)
{
	static struct policy policy;

	if (policy_parse(&policy, (const char *)text, size)) {
		demand(policy.source == SOURCE_INVALID && policy.fault != NULL);
		demand(policy.rule_count == 0);
		return 0;
	}
	demand(policy.rule_count <= POLICY_RULES_MAX && policy.fault == NULL);
	decide_all(&policy);
	return 0;
}
