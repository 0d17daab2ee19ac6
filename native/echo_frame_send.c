/* SPDX-License-Identifier: MIT */
/*
 * Probes as frames, past the kernel's routing: built by the batch, and given
 * to a packet socket by the group.
 *
 * One system call for a group has one look at the clock before and one after:
 * each of its frames left in its share of the time between, as far as anybody
 * knows, and no probe is said to have left before the group.  So groups are
 * small; what larger ones would save is in tests/benchmarks/README.md.
 */
#include "echo_frame.h"
#include "echo_moment.h"

#include "inetsum.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	FRAME_GROUP = 8,	/* frames for each system call */
	IPV4_HEADER = 20,
	IPV6_HEADER = 40,
	ICMPV4 = 1,
	ICMPV6 = 58,
	CHECKSUM = 2,		/* in an ICMP header */
	DONT_FRAGMENT = 0x40,
};

struct moment {
	int64_t monotonic;
	int64_t realtime;
};

/* Frames that are built, and the probes in them. */
struct batch {
	struct mmsghdr messages[FRAME_BATCH];
	struct iovec vectors[FRAME_BATCH];
	struct sockaddr_ll names[FRAME_BATCH];
	uint64_t serials[FRAME_BATCH];
	unsigned used;
	int64_t monotonic_ns;
};

static void
put16(unsigned char *at, size_t value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

static size_t
ip_header(const struct echo_frames *self)
{
	return self->version == 4 ? IPV4_HEADER : IPV6_HEADER;
}

static int
make_room(struct echo_frames *self, size_t length)
{
	unsigned char *larger;

	if (length <= self->room)
		return 0;
	larger = PyMem_Realloc(self->frames, length * FRAME_BATCH);
	if (larger == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	self->frames = larger;
	self->room = length;
	return 0;
}

/* RFC 791 */
static void
write_ipv4(const struct echo_frames *self, const struct echo_way *way,
	   const struct echo_probe *probe, unsigned char *header, size_t length)
{
	uint16_t sum;

	memset(header, 0, IPV4_HEADER);
	header[0] = 0x45;
	header[1] = self->tos;
	put16(header + 2, IPV4_HEADER + length);
	put16(header + 4, (uint16_t)probe->serial);
	header[6] = self->df ? DONT_FRAGMENT : 0;
	header[8] = self->ttl;
	header[9] = ICMPV4;
	memcpy(header + 12, way->source, 4);
	memcpy(header + 16, probe->address, 4);
	sum = (uint16_t)~inetsum(header, IPV4_HEADER);
	memcpy(header + 10, &sum, sizeof(sum));
}

/* RFC 8200; the checksum of the message is over its addresses, too. */
static void
write_ipv6(const struct echo_frames *self, const struct echo_way *way,
	   const struct echo_probe *probe, unsigned char *header, size_t length)
{
	unsigned char pseudo[8] = {0};
	unsigned char *message = header + IPV6_HEADER;
	size_t head = length < ECHO_HEADER + ECHO_COOKIE
			      ? length
			      : ECHO_HEADER + ECHO_COOKIE;
	uint16_t sum;

	header[0] = (unsigned char)(0x60 | self->tos >> 4);
	header[1] = (unsigned char)(self->tos << 4);
	header[2] = header[3] = 0;
	put16(header + 4, length);
	header[6] = ICMPV6;
	header[7] = self->ttl;
	memcpy(header + 8, way->source, ECHO_ADDRESS);
	memcpy(header + 24, probe->address, ECHO_ADDRESS);
	put16(pseudo + 2, length);
	pseudo[7] = ICMPV6;
	sum = inetsum_add(inetsum(header + 8, 32), inetsum(pseudo, 8));
	sum = inetsum_add(sum, inetsum(message, head));
	sum = (uint16_t)~inetsum_add(sum, probe->group->filling_sum);
	memcpy(message + CHECKSUM, &sum, sizeof(sum));
}

/* 1: built; 0: not, and table->failure says why; -1 with an exception. */
static int
build(struct echo_frames *self, struct echo_table *table,
      const struct echo_way *way, const struct echo_probe *probe,
      struct batch *batch)
{
	size_t length = echo_request(table, probe), header = ip_header(self);
	unsigned slot = batch->used;
	unsigned char *frame;

	if (length == 0 ||
	    make_room(self, ETH_HLEN + header + length) < 0)
		return -1;
	frame = self->frames + slot * self->room;
	memcpy(frame, way->link, ETH_HLEN);
	memcpy(frame + ETH_HLEN + header, table->request, length);
	if (self->version == 4)
		write_ipv4(self, way, probe, frame + ETH_HLEN, length);
	else
		write_ipv6(self, way, probe, frame + ETH_HLEN, length);
	batch->vectors[slot] = (struct iovec){
		.iov_base = frame,
		.iov_len = ETH_HLEN + header + length,
	};
	batch->names[slot] = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_ifindex = way->ifindex,
		.sll_halen = ETH_ALEN,
	};
	memcpy(&batch->names[slot].sll_protocol, way->link + 2 * ETH_ALEN, 2);
	batch->messages[slot].msg_hdr = (struct msghdr){
		.msg_name = &batch->names[slot],
		.msg_namelen = sizeof(batch->names[slot]),
		.msg_iov = &batch->vectors[slot],
		.msg_iovlen = 1,
	};
	batch->serials[slot] = probe->serial;
	batch->used++;
	return 1;
}

/* The way of a probe of a group; NULL: table->failure says why not. */
static struct echo_way *
choose(struct echo_frames *self, struct echo_table *table,
       const struct echo_group *group, const unsigned char *address,
       uint32_t scope, int64_t monotonic_ns)
{
	struct echo_way *way = echo_way_find(self, address, scope);

	if (way == NULL || way->until <= monotonic_ns) {
		table->failure = EDESTADDRREQ;
		return NULL;
	}
	if (ip_header(self) + ECHO_HEADER + group->size > way->mtu) {
		table->failure = EMSGSIZE;
		return NULL;
	}
	return way;
}

/* As build(), of a new probe. */
static int
add(struct echo_frames *self, struct echo_table *table,
    struct echo_group *group, const struct echo_target *target,
    struct batch *batch)
{
	struct echo_probe *probe;
	const struct echo_way *way = choose(self, table, group, target->address,
					    target->scope, batch->monotonic_ns);
	int built;

	if (way == NULL)
		return 0;
	probe = echo_begin(table, group, target);
	if (probe == NULL) {
		table->failure = ENOBUFS;
		return PyErr_Occurred() ? -1 : 0;
	}
	probe->sent_monotonic = batch->monotonic_ns;
	built = build(self, table, way, probe, batch);
	if (built < 0)
		echo_end(table, probe, ECHO_ENDED);
	return built;
}

static void
stamp(const struct echo_table *table, const struct batch *batch, unsigned first,
      unsigned count, const struct moment *before, const struct moment *after)
{
	int64_t took = after->realtime - before->realtime;

	for (unsigned at = 0; at < count; at++) {
		struct echo_probe *probe =
			echo_find(table, batch->serials[first + at]);
		int64_t share = took * at / count;

		if (probe == NULL)
			continue;
		probe->sent_monotonic = before->monotonic + share;
		probe->sent_ns = before->realtime + share;
		probe->spread_ns = share > INT32_MAX ? INT32_MAX
						     : (int32_t)share;
	}
}

/* How many left; if not all, table->failure says why. */
static unsigned
transmit(struct echo_frames *self, struct echo_table *table,
	 struct batch *batch)
{
	struct moment before, after;
	unsigned sent = 0;

	read_clocks(&before.monotonic, &before.realtime);
	while (sent < batch->used) {
		unsigned count = batch->used - sent;
		int taken;

		if (count > FRAME_GROUP)
			count = FRAME_GROUP;
		taken = sendmmsg(self->fd, batch->messages + sent, count,
				 MSG_DONTWAIT);
		if (taken < 0 && errno == EINTR)
			continue;
		if (taken <= 0) {
			table->failure = errno;
			break;
		}
		read_clocks(&after.monotonic, &after.realtime);
		stamp(table, batch, sent, (unsigned)taken, &before, &after);
		before = after;
		sent += (unsigned)taken;
	}
	return sent;
}

static void
take_back(struct echo_table *table, const struct batch *batch, unsigned from)
{
	for (unsigned at = from; at < batch->used; at++) {
		struct echo_probe *probe = echo_find(table, batch->serials[at]);

		if (probe != NULL && probe->state == ECHO_FLYING)
			echo_end(table, probe, ECHO_ENDED);
	}
}

static bool
is_open(const struct echo_frames *self)
{
	if (self->ring != NULL)
		return true;
	PyErr_SetString(PyExc_ValueError, "the frames are closed");
	return false;
}

/* The items from `at` on that fit into one batch. */
static int
fill(struct echo_frames *self, struct echo_table *table,
     struct echo_group *group, PyObject *items, Py_ssize_t at,
     unsigned int sequence, struct batch *batch)
{
	Py_ssize_t size = PyList_Size(items);
	struct echo_target target;
	int done;

	if (make_room(self, ETH_HLEN + ip_header(self) + ECHO_HEADER +
				    group->size) < 0)
		return -1;
	for (; at < size && batch->used < FRAME_BATCH; at++) {
		target.sequence = sequence;
		done = echo_read_item(table, group, PyList_GetItem(items, at),
				      &target);
		if (done == 1)
			done = add(self, table, group, &target, batch);
		if (done <= 0)
			return done;
	}
	return 1;
}

const char echo_frames_send_doc[] =
"send($self, table, group, items, start, sequence, /)\n"
"--\n"
"\n"
"As EchoTable.send(), by frames.\n"
"\n"
"The table's failure is EDESTADDRREQ, too: the way to the item is not known,\n"
"see set_way(); and EMSGSIZE: the probe is too large for it.";

PyObject *
echo_frames_send(PyObject *op, PyObject *args)
{
	struct echo_frames *self = (struct echo_frames *)op;
	struct echo_table *table;
	struct echo_group *group;
	struct batch batch;
	PyObject *items;
	Py_ssize_t at;
	unsigned int sequence, sent;
	int done = 1;

	if (!is_open(self) ||
	    !PyArg_ParseTuple(args, "O!O!O!nI:send",
			      self->state->echo_table_type, &table,
			      self->state->echo_group_type, &group,
			      &PyList_Type, &items, &at, &sequence))
		return NULL;
	table->failure = 0;
	while (done == 1 && at < PyList_Size(items)) {
		batch.used = 0;
		batch.monotonic_ns = clock_ns(CLOCK_MONOTONIC);
		done = fill(self, table, group, items, at, sequence, &batch);
		if (done < 0) {
			take_back(table, &batch, 0);
			return NULL;
		}
		sent = transmit(self, table, &batch);
		take_back(table, &batch, sent);
		at += sent;
		if (sent < batch.used)
			break;
	}
	return PyLong_FromSsize_t(at);
}

const char echo_frames_begin_doc[] =
"begin($self, table, group, item, sequence, /)\n"
"--\n"
"\n"
"A probe whose way is still being found out: release() sends it.\n"
"\n"
"Returns:\n"
"    Its serial number; None: the item is none of the table's, or too many fly.";

PyObject *
echo_frames_begin(PyObject *op, PyObject *args)
{
	struct echo_frames *self = (struct echo_frames *)op;
	struct echo_target target = {0};
	struct echo_probe *probe;
	struct echo_table *table;
	struct echo_group *group;
	PyObject *item;
	unsigned int sequence;
	int found;

	if (!PyArg_ParseTuple(args, "O!O!OI:begin",
			      self->state->echo_table_type, &table,
			      self->state->echo_group_type, &group, &item,
			      &sequence))
		return NULL;
	target.sequence = sequence;
	found = echo_read_item(table, group, item, &target);
	if (found < 0)
		return NULL;
	probe = found == 1 ? echo_begin(table, group, &target) : NULL;
	if (probe == NULL) {
		if (PyErr_Occurred())
			return NULL;
		Py_RETURN_NONE;
	}
	read_clocks(&probe->sent_monotonic, &probe->sent_ns);
	return PyLong_FromUnsignedLongLong(probe->serial);
}

const char echo_frames_release_doc[] =
"release($self, table, serial, /)\n"
"--\n"
"\n"
"Send a probe that was begun; its time starts now.\n"
"\n"
"Returns:\n"
"    Whether it is settled: sent, or nobody waits for it any more. If not, the\n"
"    table's failure is the errno, as of send().";

PyObject *
echo_frames_release(PyObject *op, PyObject *args)
{
	struct echo_frames *self = (struct echo_frames *)op;
	struct echo_table *table;
	struct echo_probe *probe;
	const struct echo_way *way;
	struct batch batch;
	unsigned long long serial;

	if (!is_open(self) ||
	    !PyArg_ParseTuple(args, "O!K:release",
			      self->state->echo_table_type, &table, &serial))
		return NULL;
	table->failure = 0;
	probe = echo_find(table, serial);
	if (probe == NULL || probe->state != ECHO_FLYING)
		Py_RETURN_TRUE;
	batch.used = 0;
	batch.monotonic_ns = clock_ns(CLOCK_MONOTONIC);
	way = choose(self, table, probe->group, probe->address, probe->scope,
		     batch.monotonic_ns);
	if (way == NULL)
		Py_RETURN_FALSE;
	if (build(self, table, way, probe, &batch) < 0)
		return NULL;
	if (transmit(self, table, &batch) == 0)
		Py_RETURN_FALSE;
	echo_renew(table, probe, batch.monotonic_ns);
	Py_RETURN_TRUE;
}

PyObject *
echo_frames_fail(PyObject *op, PyObject *args)
{
	struct echo_frames *self = (struct echo_frames *)op;
	struct echo_table *table;
	struct echo_probe *probe;
	unsigned long long serial;
	PyObject *error;
	struct echo *echo;

	if (!PyArg_ParseTuple(args, "O!KO:fail", self->state->echo_table_type,
			      &table, &serial, &error))
		return NULL;
	probe = echo_find(table, serial);
	if (probe == NULL || probe->state != ECHO_FLYING)
		Py_RETURN_NONE;
	echo = echo_of(table, probe);
	if (echo == NULL)
		return NULL;
	echo->error = Py_NewRef(error);
	if (echo_deliver(probe->group, echo) < 0)
		return NULL;
	echo_end(table, probe, ECHO_ENDED);
	Py_RETURN_NONE;
}
