/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "policy.h"

enum {
	/* What everybody may have of a socket without us. */
	FREE_BUFFER = 212992, /* net.core.rmem_max and wmem_max, by default */
	FREE_PRIORITY = 6,
};

const struct device policy_tun = { "net/tun", "/dev/net/tun", 10, 200 };

/*
 * For whoever may execute a helper that not everybody can. The networks are
 * such as no real network has: RFC 5737, 2544, 3849, 5180, and those of a
 * link. Any other would draw the host's own traffic to the caller's device,
 * also a private one, for the gateway and the resolver have such addresses.
 */
const char policy_built_in[] =
	"version 1\n"
	"allow all packet icmp icmp6 netns=host,own buffer=64M priority=7\n"
	"allow all tcp udp port=1-1023 netns=host,own buffer=64M priority=7\n"
	"allow all tun tap name=aio* addr=192.0.2.0/24,198.51.100.0/24,"
	"203.0.113.0/24,198.18.0.0/15,2001:db8::/32,2001:2::/48,fe80::/10\n"
	"allow all tun tap name=aio* netns=own addr=0.0.0.0/0,::/0\n"
	"allow all device=net/tun:/dev/net/tun:10:200\n";

void policy_use_built_in(struct policy *policy)
{
	if (policy_parse(policy, policy_built_in, strlen(policy_built_in)) == 0)
		policy->source = SOURCE_BUILT_IN;
}

static bool is_about(const struct rule *rule, const struct caller *caller)
{
	if (rule->who == WHO_UID)
		return rule->id == caller->uid;
	for (size_t i = 0; rule->who == WHO_GID && i < caller->group_count; i++)
		if (caller->groups[i] == rule->id)
			return true;
	return rule->who == WHO_ALL;
}

void policy_begin(struct policy *policy, const struct caller *caller)
{
	policy->own_count = 0;
	for (size_t i = 0; i < policy->rule_count; i++) {
		policy->granted[i][0] = policy->granted[i][1] = 0;
		if (is_about(&policy->rules[i], caller))
			policy->own[policy->own_count++] = (uint16_t)i;
	}
}

static uint32_t words_of(const struct request *request)
{
	switch ((enum kind)request->kind) {
	case KIND_PACKET:
	case KIND_PACKET_DGRAM:
		return WORD_PACKET;
	case KIND_RAW4:
		return WORD_RAW4 | WORD_ICMP;
	case KIND_RAW6:
		return WORD_RAW6 | WORD_ICMP6;
	case KIND_PING4:
		return WORD_ICMP;
	case KIND_PING6:
		return WORD_ICMP6;
	case KIND_TCP4:
	case KIND_TCP6:
		return WORD_TCP;
	case KIND_UDP4:
	case KIND_UDP6:
		return WORD_UDP;
	case KIND_TUN:
		return WORD_TUN;
	case KIND_TAP:
		return WORD_TAP;
	case KIND_DEVICE:
		return WORD_DEVICE;
	/* What a network is like, for who may read what passes there. */
	case KIND_ROUTE:
		return WORD_PACKET | WORD_ICMP | WORD_ICMP6;
	case KIND_NONE:
		break;
	}
	return 0;
}

static bool contains(const struct range *ranges, size_t count, uint32_t number)
{
	for (size_t i = 0; i < count; i++)
		if (ranges[i].low <= number && number <= ranges[i].high)
			return true;
	return false;
}

static bool protocol_fits(const struct rule *rule,
			  const struct request *request)
{
	if (request->kind != KIND_RAW4 && request->kind != KIND_RAW6)
		return true;
	/* No rule has both words: the one needs proto=, the other has none. */
	if (rule->words & (WORD_RAW4 | WORD_RAW6))
		return contains(rule->protocols, rule->protocol_count,
				request->protocol);
	return request->protocol ==
	       (request->kind == KIND_RAW4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static bool is_tun(const struct request *request)
{
	return request->kind == KIND_TUN || request->kind == KIND_TAP;
}

/* Counted by itself: else a question would cost the socket that it is for. */
static bool is_route(const struct request *request)
{
	return request->kind == KIND_ROUTE;
}

static bool name_fits(const struct rule *rule, const struct request *request)
{
	/* Without a name it gets one that begins so. */
	const char *name = request->flags & FLAG_INTERFACE ?
				   request->interface : "aio";

	if (!is_tun(request))
		return true;
	return rule->name_is_prefix ?
		       strncmp(name, rule->name, strlen(rule->name)) == 0 :
		       request->flags & FLAG_INTERFACE &&
			       strcmp(name, rule->name) == 0;
}

static bool interface_fits(const struct rule *rule,
			   const struct request *request)
{
	if (!(rule->conditions & HAS_INTERFACE))
		return true;
	/* None: then the rule imposes its own; but a route socket has all. */
	return !is_route(request) &&
	       (!(request->flags & FLAG_INTERFACE) ||
		strcmp(rule->interface, request->interface) == 0);
}

static bool lies_in(const struct tun_address *address,
		    const struct tun_address *network)
{
	const size_t whole = network->prefix / 8;
	const unsigned int rest = 8 - network->prefix % 8;

	return address->version == network->version &&
	       address->prefix >= network->prefix &&
	       memcmp(address->address, network->address, whole) == 0 &&
	       (rest == 8 ||
		(address->address[whole] ^ network->address[whole]) >> rest ==
			0);
}

static bool is_granted(const struct rule *rule,
		       const struct tun_address *address)
{
	for (size_t i = 0; i < rule->network_count; i++)
		if (lies_in(address, &rule->networks[i]))
			return true;
	return false;
}

/* A socket may be bound to any without addr=, a device is given none. */
static bool addresses_fit(const struct rule *rule,
			  const struct request *request)
{
	const bool ipv4 = request_is_ipv4(request);
	struct tun_address address = {
		.version = ipv4 ? 4 : 6,
		.prefix = ipv4 ? 32 : 128,
	};

	if (is_tun(request)) {
		for (size_t i = 0; i < request->address_count; i++)
			if (!is_granted(rule, &request->addresses[i]))
				return false;
		return true;
	}
	if (!(rule->conditions & HAS_ADDRESS))
		return true;
	memcpy(address.address, request->address, ADDRESS_SIZE);
	return request->flags & FLAG_ADDRESS && is_granted(rule, &address);
}

static bool place_fits(const struct rule *rule, const struct site *site)
{
	return rule->places & site->places & (PLACE_HOST | PLACE_OWN) ||
	       rule->namespaces & site->namespaces;
}

static bool mark_fits(const struct rule *rule, const struct request *request)
{
	return !(request->flags & FLAG_MARK) ||
	       (rule->conditions & HAS_MARK &&
		contains(&rule->mark, 1, request->mark));
}

static bool buffers_fit(const struct rule *rule, const struct request *request)
{
	const uint32_t most = rule->conditions & HAS_BUFFER ? rule->buffer :
							      FREE_BUFFER;

	return request->receive_buffer <= most && request->send_buffer <= most;
}

static bool priority_fits(const struct rule *rule,
			  const struct request *request)
{
	return request->priority <= (rule->conditions & HAS_PRIORITY ?
					     rule->priority :
					     FREE_PRIORITY);
}

/* In the order in which a caller can do something about it. */
static enum reason check(const struct rule *rule, const struct site *site,
			 const struct request *request, uint32_t granted)
{
	if (!protocol_fits(rule, request))
		return REASON_PROTOCOL;
	if (request->kind == KIND_DEVICE &&
	    strcmp(rule->device.name, request->device) != 0)
		return REASON_DEVICE;
	if (rule->conditions & HAS_PORT &&
	    !contains(rule->ports, rule->port_count, request->port))
		return REASON_PORT;
	if (!name_fits(rule, request))
		return REASON_NAME;
	if (!place_fits(rule, site))
		return REASON_NAMESPACE;
	if (!interface_fits(rule, request))
		return REASON_INTERFACE;
	if (!addresses_fit(rule, request))
		return REASON_ADDRESS;
	if (rule->conditions & HAS_FILTER && !(request->flags & FLAG_FILTER))
		return REASON_FILTER;
	if (rule->conditions & HAS_LISTEN && !(request->flags & FLAG_BACKLOG))
		return REASON_LISTEN;
	if (!mark_fits(rule, request))
		return REASON_MARK;
	if (!buffers_fit(rule, request))
		return REASON_BUFFER;
	if (!priority_fits(rule, request))
		return REASON_PRIORITY;
	return rule->conditions & HAS_LIMIT && granted >= rule->limit ?
		       REASON_LIMIT :
		       REASON_NONE;
}

/* How far a rule went along before it refused; REASON_NONE: all the way. */
static int distance(enum reason reason)
{
	static const uint8_t order[] = {
		[REASON_KIND] = 1, [REASON_PROTOCOL] = 2, [REASON_DEVICE] = 3,
		[REASON_PORT] = 4, [REASON_NAME] = 5, [REASON_NAMESPACE] = 6,
		[REASON_INTERFACE] = 7, [REASON_ADDRESS] = 8,
		[REASON_FILTER] = 9, [REASON_LISTEN] = 10, [REASON_MARK] = 11,
		[REASON_BUFFER] = 12, [REASON_PRIORITY] = 13,
		[REASON_LIMIT] = 14, [REASON_NONE] = 15,
	};

	return order[reason];
}

/* The rule that grants it, or the reason of the one that nearly did. */
static struct verdict_of_policy find_rule(struct policy *policy,
					  const struct site *site,
					  const struct request *request)
{
	const uint32_t wanted = words_of(request);
	struct verdict_of_policy best = {
		.reason = request->kind == KIND_DEVICE ? REASON_DEVICE :
							 REASON_KIND,
	};

	for (size_t i = 0; i < policy->own_count; i++) {
		const size_t number = policy->own[i];
		const struct rule *rule = &policy->rules[number];
		enum reason reason;

		if (!(rule->words & wanted))
			continue;
		reason = check(rule, site, request,
			       policy->granted[number][is_route(request)]);
		if (distance(reason) > distance(best.reason))
			best = (struct verdict_of_policy){ .reason = reason,
							   .rule = rule };
		if (reason == REASON_NONE)
			break;
	}
	return best;
}

/* What a rule demands, the caller gets unasked. */
static void impose(const struct rule *rule, struct request *request)
{
	const bool tcp = request->kind == KIND_TCP4 ||
			 request->kind == KIND_TCP6;

	if (rule->conditions & HAS_INTERFACE) {
		request->flags |= FLAG_INTERFACE;
		memcpy(request->interface, rule->interface, INTERFACE_SIZE);
	}
	/* Only TCP keeps its interface when its holder disconnects it. */
	if ((rule->conditions & HAS_INTERFACE && !tcp) ||
	    rule->conditions & HAS_FILTER ||
	    (request_is_packet(request) && rule->protocol_count > 0))
		request->flags |= FLAG_LOCK;
}

/* Whether being able to start the helper says anything about the caller. */
static enum reason check_helper(const struct policy *policy,
				const struct caller *caller)
{
	if (!caller->file_safe)
		return REASON_FILE;
	if (policy->source == SOURCE_INVALID)
		return REASON_POLICY;
	/* In sudo mode it is sudo's rule that says who may. */
	if (policy->source == SOURCE_BUILT_IN && caller->file_for_all &&
	    caller->mode != MODE_SUDO)
		return REASON_EVERYBODY;
	return REASON_NONE;
}

/* Root, and who has only rights of his own: of devices what is listed. */
static struct verdict_of_policy decide_free(const struct policy *policy,
					    const struct request *request)
{
	struct verdict_of_policy verdict = { .reason = REASON_NONE };

	if (request->kind != KIND_DEVICE)
		return verdict;
	if (strcmp(request->device, policy_tun.name) == 0)
		verdict.device = &policy_tun;
	for (size_t i = 0; i < policy->own_count && !verdict.device; i++) {
		const struct rule *rule = &policy->rules[policy->own[i]];

		if (rule->words & WORD_DEVICE &&
		    strcmp(request->device, rule->device.name) == 0)
			verdict.device = &rule->device;
	}
	if (verdict.device == NULL)
		verdict.reason = REASON_DEVICE;
	return verdict;
}

struct verdict_of_policy policy_decide(struct policy *policy,
				       const struct caller *caller,
				       const struct site *site,
				       struct request *request)
{
	struct verdict_of_policy verdict = { .reason = REASON_NONE };

	/* A broker's root may be that of a container, without a capability. */
	if (caller->mode == MODE_PLAIN ||
	    (caller->uid == 0 && caller->mode != MODE_BROKER))
		return decide_free(policy, request);
	verdict.reason = check_helper(policy, caller);
	/* What is built in had no container in mind that has no devices. */
	if (verdict.reason == REASON_NONE && caller->foreign &&
	    policy->source == SOURCE_BUILT_IN &&
	    (is_tun(request) || request->kind == KIND_DEVICE))
		verdict.reason = REASON_KIND;
	if (verdict.reason != REASON_NONE)
		return verdict;
	verdict = find_rule(policy, site, request);
	if (verdict.reason != REASON_NONE)
		return verdict;
	verdict.first = policy->granted[verdict.rule - policy->rules]
				       [is_route(request)]++ == 0;
	if (request->kind == KIND_DEVICE)
		verdict.device = &verdict.rule->device;
	impose(verdict.rule, request);
	return verdict;
}
