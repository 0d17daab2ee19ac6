/* SPDX-License-Identifier: MIT */
/*
 * The text of a policy. Each line is a rule by itself, and whatever is not
 * understood makes the whole text invalid: a typing error must not widen.
 */
#include <arpa/inet.h>
#include <string.h>

#include "policy.h"

/* Part of the text; it has no end mark. */
struct span {
	const char *at;
	size_t size;
};

struct line {
	struct policy *policy;
	struct rule *rule;
	const char *fault;
};

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

static int fail(struct line *line, const char *fault)
{
	line->fault = fault;
	return -1;
}

static bool is(struct span span, const char *text)
{
	return span.size == strlen(text) &&
	       memcmp(span.at, text, span.size) == 0;
}

static bool begins(struct span span, const char *text)
{
	return span.size >= strlen(text) &&
	       memcmp(span.at, text, strlen(text)) == 0;
}

static struct span without(struct span span, size_t head)
{
	return (struct span){ span.at + head, span.size - head };
}

/* Up to the first `mark` or the end; `rest` begins behind the mark. */
static struct span split(struct span *rest, char mark)
{
	struct span part = { rest->at, 0 };

	while (part.size < rest->size && part.at[part.size] != mark)
		part.size++;
	*rest = without(*rest, part.size < rest->size ? part.size + 1 :
							part.size);
	return part;
}

/* -1 where it is no digit of any base. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* One way to write each number: no sign, no space, no zero in front. */
static MUST_CHECK int read_number(struct span text, uint32_t high,
				  uint32_t *number)
{
	const bool hex = begins(text, "0x");
	const int base = hex ? 16 : 10;
	uint64_t value = 0;

	text = without(text, hex ? 2 : 0);
	if (text.size == 0 || text.size > 10 ||
	    (text.size > 1 && text.at[0] == '0' && !hex))
		return -1;
	for (size_t i = 0; i < text.size; i++) {
		const int each = digit(text.at[i]);

		if (each < 0 || each >= base)
			return -1;
		value = value * (unsigned int)base + (unsigned int)each;
	}
	*number = (uint32_t)value;
	return value <= high ? 0 : -1;
}

static MUST_CHECK int read_range(struct span text, uint32_t low, uint32_t high,
				 struct range *range)
{
	const struct span whole = text;
	const struct span first = split(&text, '-');

	if (read_number(first, high, &range->low) || range->low < low)
		return -1;
	range->high = range->low;
	if (first.size == whole.size)
		return 0;
	/* 80-80 is 80, and 80-79 is nothing. */
	return read_number(text, high, &range->high) ||
	       range->high <= range->low ? -1 : 0;
}

static MUST_CHECK int read_ranges(struct span text, struct range limits,
				  struct range *ranges, size_t *count)
{
	const char *end = text.at + text.size;
	struct span each;

	do {
		each = split(&text, ',');
		if (*count == POLICY_LIST_MAX ||
		    read_range(each, limits.low, limits.high, &ranges[*count]))
			return -1;
		(*count)++;
	} while (each.at + each.size < end);
	return 0;
}

/* With NUL up to the end of `out`. */
static MUST_CHECK int copy(struct span text, char *out, size_t room)
{
	if (text.size >= room)
		return -1;
	memset(out, 0, room);
	memcpy(out, text.at, text.size);
	return 0;
}

static int read_id(struct line *line, struct span value, enum who who)
{
	/* The highest is none: (uid_t)-1 means "nobody" to system calls. */
	if (read_number(value, UINT32_MAX - 1, &line->rule->id) ||
	    begins(value, "0x"))
		return fail(line, "no number of an account");
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
	const struct span name = split(&value, ':');
	const struct span path = split(&value, ':');
	const struct span major = split(&value, ':');

	line->rule->words |= WORD_DEVICE;
	if (copy(name, device->name, sizeof(device->name)) ||
	    !request_is_device_name(device->name, sizeof(device->name)) ||
	    !begins(path, "/dev/") ||
	    copy(path, device->path, sizeof(device->path)) ||
	    !request_is_device_name(device->path + 5,
				    sizeof(device->path) - 5) ||
	    read_number(major, 4095, &device->major) ||
	    read_number(value, (1 << 20) - 1, &device->minor))
		return fail(line, "no NAME:/dev/PATH:MAJOR:MINOR");
	return 0;
}

static int read_ports(struct line *line, struct span value)
{
	struct rule *rule = line->rule;

	if (read_ranges(value, (struct range){ 1, UINT16_MAX }, rule->ports,
			&rule->port_count))
		return fail(line, "no ports: 1 to 65535, at most 8 ranges");
	return 0;
}

static int read_protocols(struct line *line, struct span value)
{
	struct rule *rule = line->rule;

	/* How far they go, check_rule() knows, when it knows the kind. */
	if (read_ranges(value, (struct range){ 0, UINT16_MAX },
			rule->protocols, &rule->protocol_count))
		return fail(line, "no protocols: numbers, at most 8 ranges");
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
	const struct span first = split(&text, '/');
	uint32_t prefix;

	*network = (struct tun_address){ .version = 4 };
	if (copy(first, address, sizeof(address)))
		return -1;
	if (inet_pton(AF_INET, address, network->address) != 1) {
		network->version = 6;
		if (inet_pton(AF_INET6, address, network->address) != 1)
			return -1;
	}
	prefix = network->version == 4 ? 32 : 128;
	if (first.size < whole.size && read_number(text, prefix, &prefix))
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
		each = split(&value, ',');
		if (rule->network_count == POLICY_LIST_MAX ||
		    read_network(each, &rule->networks[rule->network_count]))
			return fail(line, "no addresses: ADDRESS or NETWORK/"
					  "PREFIX, at most 8");
		rule->network_count++;
	} while (each.at + each.size < end);
	return 0;
}

static int read_interface(struct line *line, struct span value)
{
	char *name = line->rule->interface;

	if (copy(value, name, INTERFACE_SIZE) ||
	    !request_is_interface_name(name))
		return fail(line, "no name of an interface");
	return 0;
}

/* Whole, or its beginning with a star behind it; a lone star is any. */
static int read_name(struct line *line, struct span value)
{
	struct rule *rule = line->rule;

	rule->name_is_prefix = value.size > 0 &&
			       value.at[value.size - 1] == '*';
	value.size -= rule->name_is_prefix ? 1 : 0;
	if (copy(value, rule->name, INTERFACE_SIZE) ||
	    (!(rule->name_is_prefix && value.size == 0) &&
	     !request_is_interface_name(rule->name)))
		return fail(line, "no name of a device, or beginning and *");
	return 0;
}

/* The same path has the same number in all rules. */
static MUST_CHECK int find_namespace(struct policy *policy, struct span path,
				     uint32_t *number)
{
	for (size_t i = 0; i < policy->namespace_count; i++)
		if (is(path, policy->namespaces[i].path)) {
			*number = (uint32_t)i;
			return 0;
		}
	*number = (uint32_t)policy->namespace_count;
	if (policy->namespace_count == POLICY_NAMESPACES_MAX ||
	    copy(path, policy->namespaces[*number].path, POLICY_PATH_SIZE))
		return -1;
	policy->namespaces[*number].fd = -1;
	policy->namespace_count++;
	return 0;
}

/* From the root, by names that lead neither up nor nowhere. */
static bool is_path(struct span path)
{
	if (!begins(path, "/"))
		return false;
	path = without(path, 1);
	for (const char *end = path.at + path.size;;) {
		const struct span part = split(&path, '/');

		if (part.size == 0 || is(part, ".") || is(part, ".."))
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
		each = split(&value, ',');
		if (is(each, "host")) {
			rule->places |= PLACE_HOST;
		} else if (is(each, "own")) {
			rule->places |= PLACE_OWN;
		} else if (is_path(each) &&
			   !find_namespace(line->policy, each, &number)) {
			rule->places |= PLACE_NAMED;
			rule->namespaces |= 1U << number;
		} else {
			return fail(line, "neither host nor own nor the path "
					  "of a namespace, or more than 16");
		}
	} while (each.at + each.size < end);
	return 0;
}

static int read_mark(struct line *line, struct span value)
{
	if (read_range(value, 0, UINT32_MAX, &line->rule->mark))
		return fail(line, "no mark, and no range of marks");
	return 0;
}

static int read_priority(struct line *line, struct span value)
{
	if (read_number(value, UINT32_MAX, &line->rule->priority))
		return fail(line, "no priority");
	return 0;
}

static int read_buffer(struct line *line, struct span value)
{
	const char unit = value.size > 0 ? value.at[value.size - 1] : '\0';
	const int shift = unit == 'K' ? 10 : unit == 'M' ? 20 : 0;

	value.size -= shift ? 1 : 0;
	/* The kernel doubles it, in an int. */
	if (read_number(value, 0x3FFFFFFFU >> shift, &line->rule->buffer) ||
	    line->rule->buffer == 0)
		return fail(line, "no size: bytes, or with K or M behind it");
	line->rule->buffer <<= shift;
	return 0;
}

static int read_filter(struct line *line, struct span value)
{
	return is(value, "locked") ? 0 : fail(line, "only filter=locked is");
}

static int read_limit(struct line *line, struct span value)
{
	if (read_number(value, 1000000, &line->rule->limit) ||
	    line->rule->limit == 0)
		return fail(line, "no number from 1 to 1000000");
	return 0;
}

static int read_key(struct line *line, const struct key *key,
		    struct span value)
{
	if (line->rule->conditions & key->condition)
		return fail(line, "said twice");
	line->rule->conditions |= key->condition;
	return key->read ? key->read(line, value) : 0;
}

static int read_word(struct line *line, struct span word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (is(word, words[i].name)) {
			if (line->rule->words & words[i].word)
				return fail(line, "said twice");
			line->rule->words |= words[i].word;
			return 0;
		}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const size_t size = strlen(keys[i].name);

		if (keys[i].read ? begins(word, keys[i].name) :
				   is(word, keys[i].name))
			return read_key(line, &keys[i], without(word, size));
	}
	return fail(line, "unknown word");
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

/* Each part of a rule has to mean something to each kind of it. */
static int check_rule(struct line *line)
{
	struct rule *rule = line->rule;

	if (!(rule->conditions & HAS_WHO))
		return fail(line, "nobody is named: uid=, gid= or all");
	if (rule->words == 0)
		return fail(line, "nothing is allowed by it");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (rule->words & words[i].word &&
		    words[i].needs & ~rule->conditions)
			return fail(line, "tcp and udp need port=, tun and tap "
					  "name=, raw4 and raw6 proto=");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (rule->conditions & keys[i].condition &&
		    rule->words & ~keys[i].words)
			return fail(line, "a condition that does not go with "
					  "each kind of the rule");
	if (rule->conditions & HAS_PROTOCOL && rule->words & WORD_PACKET &&
	    rule->words != WORD_PACKET)
		return fail(line, "proto= is another thing to packet");
	if (!protocols_fit(rule))
		return fail(line, "protocols of IP go up to 255");
	if (!(rule->conditions & HAS_PLACE))
		rule->places = PLACE_HOST;
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next word of the line; of size 0 at its end or at a comment. */
static struct span next_word(struct span *rest)
{
	struct span word;

	while (rest->size > 0 && is_blank(rest->at[0]))
		*rest = without(*rest, 1);
	word = (struct span){ rest->at, 0 };
	if (rest->size > 0 && rest->at[0] == '#')
		return word;
	while (word.size < rest->size && !is_blank(word.at[word.size]))
		word.size++;
	*rest = without(*rest, word.size);
	return word;
}

static int read_rule(struct line *line, struct span rest, uint32_t number)
{
	struct policy *policy = line->policy;
	struct span word;

	if (policy->rule_count == POLICY_RULES_MAX)
		return fail(line, "more than 256 rules");
	line->rule = &policy->rules[policy->rule_count];
	memset(line->rule, 0, sizeof(*line->rule));
	line->rule->line = number;
	while ((word = next_word(&rest)).size > 0)
		if (read_word(line, word))
			return -1;
	policy->rule_count++;
	return check_rule(line);
}

/* Printable ASCII: what a terminal or a log does not stumble over. */
static bool is_plain(struct span text)
{
	for (size_t i = 0; i < text.size; i++)
		if (text.at[i] != '\t' &&
		    !(text.at[i] >= ' ' && text.at[i] <= '~'))
			return false;
	return true;
}

static int read_line(struct line *line, struct span text, uint32_t number,
		     bool *versioned)
{
	struct span rest = text;
	struct span word;

	if (text.size > POLICY_LINE_MAX)
		return fail(line, "longer than 512 bytes");
	if (!is_plain(text))
		return fail(line, "a byte that is no printable ASCII");
	word = next_word(&rest);
	if (word.size == 0)
		return 0;
	if (!*versioned) {
		*versioned = is(word, "version") &&
			     is(next_word(&rest), "1") &&
			     next_word(&rest).size == 0;
		return *versioned ? 0 : fail(line, "not \"version 1\"");
	}
	if (!is(word, "allow"))
		return fail(line, "not \"allow\"");
	return read_rule(line, rest, number);
}

void policy_refuse_all(struct policy *policy, uint32_t line, const char *fault)
{
	policy->source = SOURCE_INVALID;
	policy->fault = fault;
	policy->fault_line = line;
	policy->rule_count = 0;
	policy->namespace_count = 0;
	policy->own_count = 0;
}

int policy_parse(struct policy *policy, const char *text, size_t size)
{
	struct line line = { .policy = policy };
	struct span rest = { text, size };
	bool versioned = false;
	uint32_t number = 0;

	policy_refuse_all(policy, 0, NULL);
	/* Cut off at its end, it might have said more. */
	if (size > POLICY_SIZE_MAX)
		line.fault = "larger than 64 KiB";
	else if (size > 0 && text[size - 1] != '\n')
		line.fault = "no newline at the end";
	while (line.fault == NULL && rest.size > 0)
		if (read_line(&line, split(&rest, '\n'), ++number, &versioned))
			break;
	if (line.fault != NULL) {
		policy_refuse_all(policy, number, line.fault);
		return -1;
	}
	policy->source = SOURCE_FILE;
	return 0;
}
