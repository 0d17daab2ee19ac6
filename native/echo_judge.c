/* SPDX-License-Identifier: MIT */
/*
 * Requests, and which reply belongs to which.  No system call and no clock.
 *
 * A request carries a cookie: a keyed hash of its serial number and address,
 * and the serial number.  So a reply is judged by itself: who did not see the
 * request cannot make one, and a true one that comes late or twice is told
 * from a forged one long after its probe is forgotten.
 */
#include "echo_table.h"

#include "inetsum.h"
#include "siphash.h"

#include <string.h>

/* RFC 792, RFC 4443 */
enum { REQUEST4 = 8, REPLY4 = 0, REQUEST6 = 128, REPLY6 = 129 };
enum { TYPE = 0, CODE = 1, CHECKSUM = 2, IDENTIFIER = 4, SEQUENCE = 6 };
/*
 * That the two clocks may differ in what they measure: they run alike, but are
 * not read at one moment.
 */
enum { TOLERANCE_NS = 1000000 };

static uint16_t
get16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void
put16(unsigned char *at, uint16_t value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

static uint64_t
get64(const unsigned char *at)
{
	uint64_t value = 0;

	for (int byte = 0; byte < 8; byte++)
		value = value << 8 | at[byte];
	return value;
}

static void
put64(unsigned char *at, uint64_t value)
{
	for (int byte = 7; byte >= 0; byte--, value >>= 8)
		at[byte] = (unsigned char)value;
}

static uint64_t
little64(const unsigned char *at)
{
	uint64_t value = 0;

	for (int byte = 7; byte >= 0; byte--)
		value = value << 8 | at[byte];
	return value;
}

void
echo_cookie(const struct echo_table *table, uint64_t serial,
	    const unsigned char *address, unsigned char *cookie)
{
	uint64_t words[3];

	put64(cookie + ECHO_HASH, serial);
	words[0] = little64(cookie + ECHO_HASH);
	words[1] = little64(address);
	words[2] = little64(address + 8);
	put64(cookie, siphash(table->key, words, 3));
}

static int
make_room(struct echo_table *table, size_t length)
{
	unsigned char *larger;

	if (length <= table->request_room)
		return 0;
	larger = PyMem_Realloc(table->request, length);
	if (larger == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	table->request = larger;
	table->request_room = length;
	table->built_for = 0;
	return 0;
}

/* A probe's request, into table->request: its length; 0 with an exception. */
size_t
echo_request(struct echo_table *table, const struct echo_probe *probe)
{
	const struct echo_group *group = probe->group;
	size_t size = group->size, head = ECHO_HEADER + ECHO_COOKIE;
	unsigned char *message;
	uint16_t sum;

	if (make_room(table, size + head) < 0)
		return 0;
	message = table->request;
	if (table->built_for != group->number && size > ECHO_COOKIE)
		memcpy(message + head, group->filling, size - ECHO_COOKIE);
	table->built_for = group->number;
	message[TYPE] = table->version == 4 ? REQUEST4 : REQUEST6;
	message[CODE] = 0;
	memset(message + CHECKSUM, 0, 2);
	put16(message + IDENTIFIER, table->identifier);
	put16(message + SEQUENCE, (uint16_t)probe->serial);
	echo_cookie(table, probe->serial, probe->address,
		    message + ECHO_HEADER);
	/* That of ICMPv6 is the kernel's: RFC 3542, section 3.1. */
	if (table->version == 4) {
		if (size < ECHO_COOKIE)
			head = ECHO_HEADER + size;
		sum = inetsum(message, head);
		sum = (uint16_t)~inetsum_add(sum, group->filling_sum);
		memcpy(message + CHECKSUM, &sum, sizeof(sum));
	}
	return ECHO_HEADER + size;
}

/* Of a probe that is forgotten there is the cookie alone. */
static bool
knows_cookie(const struct echo_table *table, uint64_t serial,
	const unsigned char *address, const unsigned char *payload,
	size_t length)
{
	unsigned char cookie[ECHO_COOKIE];

	if (length < ECHO_COOKIE || serial < table->first ||
	    serial >= table->next)
		return false;
	echo_cookie(table, serial, address, cookie);
	return memcmp(cookie, payload, ECHO_COOKIE) == 0;
}

/* Whether somebody has set the realtime clock since a probe was sent. */
static bool
was_set(const struct echo_probe *probe, const struct echo_arrival *arrival)
{
	int64_t step = (arrival->now_ns - probe->sent_ns) -
		       (arrival->monotonic_ns - probe->sent_monotonic);

	int64_t usual = TOLERANCE_NS + probe->spread_ns;

	return step < -usual || step > usual;
}

static int
answer(struct echo_table *table, struct echo_probe *probe, size_t size,
       const struct echo_arrival *arrival)
{
	int64_t most = arrival->monotonic_ns - probe->sent_monotonic;
	bool stamped = probe->stamped_ns != 0;
	int64_t rtt = arrival->received_ns -
		      (stamped ? probe->stamped_ns : probe->sent_ns);
	struct echo *echo = echo_of(table, probe);

	if (echo == NULL)
		return -1;
	/* Of a group of frames only the time of all of them is known. */
	if (rtt < 0 && rtt + probe->spread_ns >= 0) {
		rtt = (rtt + probe->spread_ns) / 2;
		echo->sent_ns = arrival->received_ns - rtt;
	}
	echo->clock = stamped ? CLOCK_KERNEL : CLOCK_RECEIVE;
	echo->received_ns = arrival->received_ns;
	/* What the other clock cannot have seen, one that was set has. */
	if (arrival->received_ns == 0 || rtt < 0 || rtt > most + TOLERANCE_NS ||
	    was_set(probe, arrival)) {
		rtt = most;
		echo->clock = CLOCK_PROGRAM;
		if (arrival->received_ns == 0)
			echo->received_ns = echo->sent_ns + most;
	}
	echo->rtt = (double)rtt / 1e9;
	echo->ttl = (int16_t)arrival->ttl;
	echo->size = (uint32_t)size;
	if (probe->serial >= probe->group->answered)
		probe->group->answered = probe->serial + 1;
	return echo_conclude(table, probe, echo, ECHO_ANSWERED);
}

static int
take_reply(struct echo_table *table, struct echo_probe *probe,
	   const unsigned char *payload, size_t length,
	   const struct echo_arrival *arrival)
{
	const struct echo_group *group = probe->group;
	size_t least = group->size < ECHO_COOKIE ? group->size : ECHO_COOKIE;
	size_t hashed = length < ECHO_HASH ? length : ECHO_HASH;
	unsigned char cookie[ECHO_COOKIE];

	if (hashed > group->size)
		hashed = group->size;
	echo_cookie(table, probe->serial, probe->address, cookie);
	if (memcmp(payload, cookie, hashed) != 0 ||
	    (!group->anybody && memcmp(arrival->source, probe->address,
				       echo_address_length(table)) != 0)) {
		table->spoofed++;
		return 0;
	}
	/* Some hosts cut what they echo; what they echo is right. */
	if (length < least || length > group->size ||
	    memcmp(payload, cookie, least) != 0 ||
	    (length > ECHO_COOKIE &&
	     memcmp(payload + ECHO_COOKIE, group->filling,
		    length - ECHO_COOKIE) != 0)) {
		table->corrupted++;
		return 0;
	}
	if (probe->state == ECHO_FLYING)
		return answer(table, probe, length, arrival);
	table->duplicate++;
	return echo_group_repeat(probe->group, probe->sequence);
}

/*
 * A message that came, from its ICMP header on.
 *
 * Returns 0, or -1 with an exception.
 */
int
echo_judge(struct echo_table *table, const unsigned char *message,
	   size_t length, const struct echo_arrival *arrival)
{
	const unsigned char *payload = message + ECHO_HEADER;
	struct echo_probe *probe;
	uint64_t serial = 0;
	uint16_t sequence;

	if (length < ECHO_HEADER) {
		table->foreign++;
		return 0;
	}
	/* Our own, where this machine is the target as well. */
	if (message[TYPE] == (table->version == 4 ? REQUEST4 : REQUEST6))
		return 0;
	if (message[TYPE] != (table->version == 4 ? REPLY4 : REPLY6) ||
	    message[CODE] != 0 ||
	    get16(message + IDENTIFIER) != table->identifier) {
		table->foreign++;
		return 0;
	}
	if (table->unchecked && inetsum(message, length) != 0xffff) {
		table->corrupted++;
		return 0;
	}
	length -= ECHO_HEADER;
	sequence = get16(message + SEQUENCE);
	if (length >= ECHO_COOKIE) {
		serial = get64(payload + ECHO_HASH);
		probe = echo_find(table, serial);
	} else {
		probe = echo_find_sequence(table, sequence);
	}
	if (probe != NULL && (uint16_t)probe->serial == sequence &&
	    probe->group != NULL)
		return take_reply(table, probe, payload, length, arrival);
	if (probe != NULL && length < ECHO_COOKIE)
		table->late++;
	else if ((uint16_t)serial == sequence &&
		 knows_cookie(table, serial,
			      probe == NULL ? arrival->source : probe->address,
			      payload, length))
		table->late++;
	else
		table->spoofed++;
	return 0;
}

/* Whether it is the probe that is quoted: by bytes that nobody can guess. */
static int
quotes(struct echo_table *table, const struct echo_probe *probe,
       const unsigned char *quoted, size_t length)
{
	size_t hashed =
		probe->group->size < ECHO_HASH ? probe->group->size : ECHO_HASH;

	if (echo_request(table, probe) == 0)
		return -1;
	/* Some routers quote no more; the cookie is in the checksum. */
	if (table->version == 4)
		return memcmp(quoted, table->request, ECHO_HEADER) == 0;
	return length >= ECHO_HEADER + hashed &&
	       memcmp(quoted + ECHO_HEADER, table->request + ECHO_HEADER,
		      hashed) == 0;
}

/*
 * Whether a request with this cookie has ever gone to the target: whoever has
 * not seen it cannot quote it.
 */
static bool
quotes_cookie(const struct echo_table *table, const unsigned char *target,
	      const unsigned char *quoted, size_t length)
{
	const unsigned char *cookie = quoted + ECHO_HEADER;
	unsigned char address[ECHO_ADDRESS] = {0};
	uint64_t serial;

	if (length < ECHO_HEADER + ECHO_COOKIE)
		return false;
	serial = get64(cookie + ECHO_HASH);
	memcpy(address, target, echo_address_length(table));
	return (uint16_t)serial == get16(quoted + SEQUENCE) &&
	       knows_cookie(table, serial, address, cookie, ECHO_COOKIE);
}

/* Whether the quotation ends before the cookie, or zeros stand there (RFC 4884). */
static bool
is_cut(const unsigned char *quoted, size_t length)
{
	static const unsigned char zeros[ECHO_COOKIE];

	return length < ECHO_HEADER + ECHO_COOKIE ||
	       memcmp(quoted + ECHO_HEADER, zeros, sizeof(zeros)) == 0;
}

/*
 * Whether it may be about a request whose bytes are forgotten, where newest is
 * the last one of its sequence, if that is known.
 */
static bool
may_be_ours(const struct echo_table *table, const struct echo_probe *newest,
	    const unsigned char *target, const unsigned char *quoted,
	    size_t length)
{
	uint64_t sent = table->next - table->first;
	uint64_t since = (table->next - 1 - get16(quoted + SEQUENCE)) & 0xffff;

	/* Who quotes IPv6 quotes all that there is room for: RFC 4443. */
	if (!table->brief && (table->version == 6 || !is_cut(quoted, length)))
		return false;
	if (newest == NULL)
		return sent > since;
	return sent > since + ECHO_SEQUENCES ||
	       (newest->group == NULL &&
		memcmp(target, newest->address,
		       echo_address_length(table)) == 0);
}

/* The end of a probe whose request is quoted, unless it has had one. */
static int
take_error(struct echo_table *table, struct echo_probe *probe,
	   PyObject *error, int64_t received_ns)
{
	struct echo *echo;

	if (probe->state != ECHO_FLYING) {
		table->late++;
		return 0;
	}
	echo = echo_of(table, probe);
	if (echo == NULL)
		return -1;
	echo->error = Py_NewRef(error);
	echo->received_ns = received_ns;
	return echo_conclude(table, probe, echo, ECHO_ENDED);
}

/*
 * An ICMP error about a packet of ours, quoted from its ICMP header on.
 *
 * Returns 0, or -1 with an exception.
 */
int
echo_judge_error(struct echo_table *table, const unsigned char *target,
		 const unsigned char *quoted, size_t length, PyObject *error,
		 int64_t received_ns)
{
	struct echo_probe *probe;
	bool is_known, is_late;

	if (length < ECHO_HEADER ||
	    quoted[TYPE] != (table->version == 4 ? REQUEST4 : REQUEST6) ||
	    get16(quoted + IDENTIFIER) != table->identifier) {
		table->foreign++;
		return 0;
	}
	is_known = quotes_cookie(table, target, quoted, length);
	probe = is_known ? echo_find(table,
				     get64(quoted + ECHO_HEADER + ECHO_HASH))
			 : echo_find_sequence(table,
					      get16(quoted + SEQUENCE));
	is_late = is_known ||
		  may_be_ours(table, probe, target, quoted, length);
	/* Without its group a probe cannot be built again. */
	if (probe != NULL && probe->group != NULL &&
	    memcmp(target, probe->address, echo_address_length(table)) == 0) {
		int is_quoted = quotes(table, probe, quoted, length);

		if (is_quoted < 0)
			return -1;
		if (is_quoted > 0)
			return take_error(table, probe, error, received_ns);
		is_late = is_late && !is_known;
	}
	if (is_late)
		table->late++;
	else
		table->spoofed++;
	return 0;
}
