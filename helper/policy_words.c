/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <string.h>

#include "policy_words.h"

typedef int reader(struct line *line, struct span value);

static reader read_uid, read_gid, read_device, read_ports, read_networks,
	read_interface, read_name, read_places, read_protocols, read_mark,
	read_priority, read_buffer, read_filter, read_limit;

enum {
	SOCKETS = WORD_PACKET | WORD_ICMP | WORD_ICMP6 | WORD_RAW4 |
		  WORD_RAW6 | WORD_TCP | WORD_UDP,
	TUNS = WORD_TUN | WORD_TAP,
	EVERY = SOCKETS | TUNS | WORD_DEVICE,
};

static const struct key {
	const char *name; /* with "=" where a value follows */
	uint32_t condition;
	uint32_t words; /* that it can stand beside */
	reader *read;
} keys[] = {
	{ "all", HAS_WHO, EVERY, NULL },
	{ "uid=", HAS_WHO, EVERY, read_uid },
	{ "gid=", HAS_WHO, EVERY, read_gid },
	{ "device=", HAS_DEVICE, WORD_DEVICE, read_device },
	{ "port=", HAS_PORT, WORD_TCP | WORD_UDP, read_ports },
	{ "addr=", HAS_ADDRESS, (SOCKETS | TUNS) & ~WORD_PACKET,
	  read_networks },
	{ "if=", HAS_INTERFACE, SOCKETS, read_interface },
	{ "name=", HAS_NAME, TUNS, read_name },
	{ "netns=", HAS_PLACE, SOCKETS | TUNS, read_places },
	{ "proto=", HAS_PROTOCOL, WORD_PACKET | WORD_RAW4 | WORD_RAW6,
	  read_protocols },
	{ "mark=", HAS_MARK, SOCKETS, read_mark },
	{ "priority=", HAS_PRIORITY, SOCKETS, read_priority },
	{ "buffer=", HAS_BUFFER, SOCKETS, read_buffer },
	{ "filter=", HAS_FILTER, SOCKETS & ~WORD_TCP, read_filter },
	{ "listen", HAS_LISTEN, WORD_TCP, NULL },
	{ "max=", HAS_LIMIT, EVERY, read_limit },
};

static const struct {
	const char *name;
	enum word word;
	uint32_t needs; /* enum condition */
} words[] = {
	{ "packet", WORD_PACKET, 0 }, { "icmp", WORD_ICMP, 0 },
	{ "icmp6", WORD_ICMP6, 0 },
	{ "raw4", WORD_RAW4, HAS_PROTOCOL },
	{ "raw6", WORD_RAW6, HAS_PROTOCOL },
	{ "tcp", WORD_TCP, HAS_PORT }, { "udp", WORD_UDP, HAS_PORT },
	{ "tun", WORD_TUN, HAS_NAME }, { "tap", WORD_TAP, HAS_NAME },
};

int rule_fail(struct line *line, const char *fault)
{
	line->fault = fault;
	return -1;
}

static int read_id(struct line *line, struct span value, enum who who)
{
	/* The highest is none: (uid_t)-1 means "nobody" to system calls. */
	if (span_number(value, UINT32_MAX - 1, &line->rule->id) ||
	    span_begins(value, "0x"))
		return rule_fail(line, "no number of an account");
	line->rule->who = who;
	return 0;
}

static int read_uid(struct line *line, struct span value)
{
	return read_id(line, value, WHO_UID);
}

static int read_gid(struct line *line, struct span value)
{
	return read_id(line, value, WHO_GID);
}

/* NAME:PATH:MAJOR:MINOR */
static int read_device(struct line *line, struct span value)
{
	struct device *device = &line->rule->device;
	const struct span name = span_split(&value, ':');
	const struct span path = span_split(&value, ':');
	const struct span major = span_split(&value, ':');

	line->rule->words |= WORD_DEVICE;
	if (span_copy(name, device->name, sizeof(device->name)) ||
	    !request_is_device_name(device->name, sizeof(device->name)) ||
	    !span_begins(path, "/dev/") ||
	    span_copy(path, device->path, sizeof(device->path)) ||
	    !request_is_device_name(device->path + 5,
				    sizeof(device->path) - 5) ||
	    span_number(major, 4095, &device->major) ||
	    span_number(value, (1 << 20) - 1, &device->minor))
		return rule_fail(line, "no NAME:/dev/PATH:MAJOR:MINOR");
	return 0;
}

static int read_ports(struct line *line, struct span value)
{
	struct rule *rule = line->rule;

	if (span_ranges(value, (struct range){ 1, UINT16_MAX }, rule->ports,
			&rule->port_count))
		return rule_fail(line,
				 "no ports: 1 to 65535, at most 8 ranges");
	return 0;
}

static int read_protocols(struct line *line, struct span value)
{
	struct rule *rule = line->rule;

	/* How far they go, check_rule() knows, when it knows the kind. */
	if (span_ranges(value, (struct range){ 0, UINT16_MAX },
			rule->protocols, &rule->protocol_count))
		return rule_fail(line,
				 "no protocols: numbers, at most 8 ranges");
	return 0;
}

static bool has_bits_behind(const struct tun_address *network)
{
	const size_t bits = network->version == 4 ? 32 : 128;

	for (size_t i = network->prefix; i < bits; i++)
		if (network->address[i / 8] & 0x80 >> i % 8)
			return true;
	return false;
}

static MUST_CHECK int read_network(struct span text,
				   struct tun_address *network)
{
	char address[INET6_ADDRSTRLEN];
	const struct span whole = text;
	const struct span first = span_split(&text, '/');
	uint32_t prefix;

	*network = (struct tun_address){ .version = 4 };
	if (span_copy(first, address, sizeof(address)))
		return -1;
	if (inet_pton(AF_INET, address, network->address) != 1) {
		network->version = 6;
		if (inet_pton(AF_INET6, address, network->address) != 1)
			return -1;
	}
	prefix = network->version == 4 ? 32 : 128;
	if (first.size < whole.size && span_number(text, prefix, &prefix))
		return -1;
	network->prefix = (uint8_t)prefix;
	return has_bits_behind(network) ? -1 : 0;
}

static int read_networks(struct line *line, struct span value)
{
	struct rule *rule = line->rule;
	const char *end = value.at + value.size;
	struct span each;

	do {
		each = span_split(&value, ',');
		if (rule->network_count == POLICY_LIST_MAX ||
		    read_network(each, &rule->networks[rule->network_count]))
			return rule_fail(line, "no addresses: ADDRESS or "
					       "NETWORK/PREFIX, at most 8");
		rule->network_count++;
	} while (each.at + each.size < end);
	return 0;
}

static int read_interface(struct line *line, struct span value)
{
	char *name = line->rule->interface;

	if (span_copy(value, name, INTERFACE_SIZE) ||
	    !request_is_interface_name(name))
		return rule_fail(line, "no name of an interface");
	return 0;
}

/* Whole, or its beginning with a star behind it; a lone star is any. */
static int read_name(struct line *line, struct span value)
{
	struct rule *rule = line->rule;

	rule->name_is_prefix = value.size > 0 &&
			       value.at[value.size - 1] == '*';
	value.size -= rule->name_is_prefix ? 1 : 0;
	if (span_copy(value, rule->name, INTERFACE_SIZE) ||
	    (!(rule->name_is_prefix && value.size == 0) &&
	     !request_is_interface_name(rule->name)))
		return rule_fail(line,
				 "no name of a device, or beginning and *");
	return 0;
}

/* The same path has the same number in all rules. */
static MUST_CHECK int find_namespace(struct policy *policy, struct span path,
				     uint32_t *number)
{
	for (size_t i = 0; i < policy->namespace_count; i++)
		if (span_is(path, policy->namespaces[i].path)) {
			*number = (uint32_t)i;
			return 0;
		}
	*number = (uint32_t)policy->namespace_count;
	if (policy->namespace_count == POLICY_NAMESPACES_MAX ||
	    span_copy(path, policy->namespaces[*number].path, POLICY_PATH_SIZE))
		return -1;
	policy->namespaces[*number].fd = -1;
	policy->namespace_count++;
	return 0;
}

/* From the root, by names that lead neither up nor nowhere. */
static bool is_path(struct span path)
{
	if (!span_begins(path, "/"))
		return false;
	path = span_without(path, 1);
	for (const char *end = path.at + path.size;;) {
		const struct span part = span_split(&path, '/');

		if (part.size == 0 || span_is(part, ".") || span_is(part, ".."))
			return false;
		if (part.at + part.size == end)
			return true;
	}
}

static int read_places(struct line *line, struct span value)
{
	struct rule *rule = line->rule;
	const char *end = value.at + value.size;
	struct span each;
	uint32_t number;

	do {
		each = span_split(&value, ',');
		if (span_is(each, "host")) {
			rule->places |= PLACE_HOST;
		} else if (span_is(each, "own")) {
			rule->places |= PLACE_OWN;
		} else if (is_path(each) &&
			   !find_namespace(line->policy, each, &number)) {
			rule->places |= PLACE_NAMED;
			rule->namespaces |= 1U << number;
		} else {
			return rule_fail(line, "neither host nor own nor the "
					       "path of a namespace, or more "
					       "than 16");
		}
	} while (each.at + each.size < end);
	return 0;
}

static int read_mark(struct line *line, struct span value)
{
	if (span_range(value, 0, UINT32_MAX, &line->rule->mark))
		return rule_fail(line, "no mark, and no range of marks");
	return 0;
}

static int read_priority(struct line *line, struct span value)
{
	if (span_number(value, UINT32_MAX, &line->rule->priority))
		return rule_fail(line, "no priority");
	return 0;
}

static int read_buffer(struct line *line, struct span value)
{
	const char unit = value.size > 0 ? value.at[value.size - 1] : '\0';
	const int shift = unit == 'K' ? 10 : unit == 'M' ? 20 : 0;

	value.size -= shift ? 1 : 0;
	/* The kernel doubles it, in an int. */
	if (span_number(value, 0x3FFFFFFFU >> shift, &line->rule->buffer) ||
	    line->rule->buffer == 0)
		return rule_fail(line,
				 "no size: bytes, or with K or M behind it");
	line->rule->buffer <<= shift;
	return 0;
}

static int read_filter(struct line *line, struct span value)
{
	if (!span_is(value, "locked"))
		return rule_fail(line, "only filter=locked is");
	return 0;
}

static int read_limit(struct line *line, struct span value)
{
	if (span_number(value, 1000000, &line->rule->limit) ||
	    line->rule->limit == 0)
		return rule_fail(line, "no number from 1 to 1000000");
	return 0;
}

static int read_key(struct line *line, const struct key *key,
		    struct span value)
{
	if (line->rule->conditions & key->condition)
		return rule_fail(line, "said twice");
	line->rule->conditions |= key->condition;
	return key->read ? key->read(line, value) : 0;
}

int rule_read_word(struct line *line, struct span word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_is(word, words[i].name)) {
			if (line->rule->words & words[i].word)
				return rule_fail(line, "said twice");
			line->rule->words |= words[i].word;
			return 0;
		}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const size_t size = strlen(keys[i].name);

		if (keys[i].read ? span_begins(word, keys[i].name) :
				   span_is(word, keys[i].name))
			return read_key(line, &keys[i],
					span_without(word, size));
	}
	return rule_fail(line, "unknown word");
}

static bool protocols_fit(const struct rule *rule)
{
	const uint32_t high = rule->words & WORD_PACKET ? UINT16_MAX :
							  IPPROTO_RAW;

	for (size_t i = 0; i < rule->protocol_count; i++)
		if (rule->protocols[i].high > high)
			return false;
	return true;
}

int rule_check(struct line *line)
{
	struct rule *rule = line->rule;

	if (!(rule->conditions & HAS_WHO))
		return rule_fail(line, "nobody is named: uid=, gid= or all");
	if (rule->words == 0)
		return rule_fail(line, "nothing is allowed by it");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (rule->words & words[i].word &&
		    words[i].needs & ~rule->conditions)
			return rule_fail(line, "tcp and udp need port=, tun "
					       "and tap name=, raw4 and raw6 "
					       "proto=");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (rule->conditions & keys[i].condition &&
		    rule->words & ~keys[i].words)
			return rule_fail(line, "a condition that does not go "
					       "with each kind of the rule");
	if (rule->conditions & HAS_PROTOCOL && rule->words & WORD_PACKET &&
	    rule->words != WORD_PACKET)
		return rule_fail(line, "proto= is another thing to packet");
	if (!protocols_fit(rule))
		return rule_fail(line, "protocols of IP go up to 255");
	if (!(rule->conditions & HAS_PLACE))
		rule->places = PLACE_HOST;
	return 0;
}
