/* SPDX-License-Identifier: MIT */
#include "confine.h"

enum { WHOLE_PACKET = 262144 }; /* more than any has */

static size_t put(struct sock_filter *code, size_t count, uint16_t operation,
		  uint32_t value, size_t if_true, size_t if_false)
{
	code[count] = (struct sock_filter){ operation, (uint8_t)if_true,
					    (uint8_t)if_false, value };
	return count + 1;
}

static size_t load(struct sock_filter *code, size_t count, int ancillary)
{
	return put(code, count, BPF_LD | BPF_W | BPF_ABS,
		   (uint32_t)(SKF_AD_OFF + ancillary), 0, 0);
}

static size_t test_interface(struct sock_filter *code, size_t count,
			     uint32_t ifindex)
{
	count = load(code, count, SKF_AD_IFINDEX);
	count = put(code, count, BPF_JMP | BPF_JEQ | BPF_K, ifindex, 1, 0);
	return put(code, count, BPF_RET | BPF_K, 0, 0, 0);
}

/* Two instructions for each range; who is in one, leaps behind the refusal. */
static size_t test_protocols(struct sock_filter *code, size_t count,
			     const struct rule *rule)
{
	count = load(code, count, SKF_AD_PROTOCOL);
	for (size_t i = 0; i < rule->protocol_count; i++) {
		const size_t left = 2 * (rule->protocol_count - 1 - i);

		count = put(code, count, BPF_JMP | BPF_JGE | BPF_K,
			    rule->protocols[i].low, 0, 1);
		count = put(code, count, BPF_JMP | BPF_JGT | BPF_K,
			    rule->protocols[i].high, 0, left + 1);
	}
	return put(code, count, BPF_RET | BPF_K, 0, 0, 0);
}

/*
 * Only a filter confines to an interface. The receiver can bind a packet
 * socket anew at will, and others too, once connect(AF_UNSPEC) has taken
 * SO_BINDTOIFINDEX off (not of TCP).
 */
static bool confines_interface(const struct request *request,
			       const struct rule *rule)
{
	return request->flags & FLAG_LOCK && request->flags & FLAG_INTERFACE &&
	       (request_is_packet(request) ||
		(rule != NULL && rule->conditions & HAS_INTERFACE));
}

size_t confine_write(const struct request *request, const struct rule *rule,
		     uint32_t ifindex, struct sock_filter code[CONFINE_MAX])
{
	size_t count = 0;

	if (confines_interface(request, rule))
		count = test_interface(code, count, ifindex);
	if (rule != NULL && rule->protocol_count > 0 &&
	    request_is_packet(request))
		count = test_protocols(code, count, rule);
	if (count == 0)
		return 0;
	/* A filter may count on finding a zero in A. */
	count = put(code, count, BPF_LD | BPF_IMM, 0, 0, 0);
	if (request->filter_count > 0)
		return count;
	return put(code, count, BPF_RET | BPF_K, WHOLE_PACKET, 0, 0);
}
