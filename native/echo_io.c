/* SPDX-License-Identifier: MIT */
/*
 * Probes to a socket, and messages from it.
 *
 * A probe alone has a look at the clock right before its system call; those
 * of a sweep leave in bursts, and those of a group that is stamped ask for
 * the kernel's timestamp (echo_stamp.c).  What has arrived is fetched by one
 * call for up to 64, for its timestamps are the kernel's.
 */
#include "echo_destination.h"
#include "echo_moment.h"
#include "echo_table.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	IPV4_HEADER = 20,
	IPV4_TTL = 8,
	IPV4_SOURCE = 12,
	IPV6_SOURCE = 8,
};

/* Sending */

/* 1: sent; 0: not, and table->failure says why; -1 with an exception. */
static int
send_probe(struct echo_table *table, int fd, struct echo_group *group,
	   const struct echo_target *target, bool stamped)
{
	struct echo_probe *probe = echo_begin(table, group, target);
	union destination address;
	struct echo_message message = {.address = &address};
	ssize_t sent;

	if (probe == NULL) {
		table->failure = ENOBUFS;
		return PyErr_Occurred() ? -1 : 0;
	}
	message.length = echo_request(table, probe);
	if (message.length == 0) {
		echo_end(table, probe, ECHO_ENDED);
		return -1;
	}
	message.room = make_destination(table, probe, &address);
	read_clocks(&probe->sent_monotonic, &probe->sent_ns);
	sent = stamped ? echo_send_asking(table, fd, probe, &message)
		       : sendto(fd, table->request, message.length,
				MSG_DONTWAIT | MSG_NOSIGNAL, &address.any,
				message.room);
	if (sent >= 0)
		return 1;
	table->failure = errno;
	echo_end(table, probe, ECHO_ENDED);
	return 0;
}

static int
send_item(struct echo_table *table, int fd, struct echo_group *group,
	  PyObject *item, uint32_t sequence)
{
	struct echo_target target = {.sequence = sequence};
	int found;

	table->failure = 0;
	found = echo_read_item(table, group, item, &target);
	return found == 1 ? send_probe(table, fd, group, &target,
				       group->stamped)
			  : found;
}

/* What left to hosts that are watched: the next probe has the next number. */
static void
note_sent(const struct echo_table *table, PyObject *items, Py_ssize_t start,
	  Py_ssize_t end)
{
	for (Py_ssize_t at = start; at < end; at++) {
		PyObject *item = PyList_GetItem(items, at);

		if (PyObject_TypeCheck(item, table->state->echo_watch_type))
			((struct echo_watch *)item)->sequence++;
	}
}

const char echo_send_doc[] =
"send($self, fd, group, items, start, sequence, /)\n"
"--\n"
"\n"
"Send a probe to each item from start on, until one cannot be sent.\n"
"\n"
"Args:\n"
"    fd: A socket.\n"
"    group: What the probes belong to.\n"
"    items: A list: an address as str, or as bytes; (host, bytes, scope); an\n"
"        Echo, for the probe after it; an EchoWatch, for its next one.\n"
"    start: An index.\n"
"    sequence: Of the probes, but for those of an Echo or EchoWatch.\n"
"\n"
"Returns:\n"
"    The index of the first that was not sent. failure is the errno; 0: it\n"
"    is a name, of the other version of IP, or an address of many hosts.";

PyObject *
echo_send(PyObject *op, PyObject *args)
{
	struct echo_table *table = (struct echo_table *)op;
	PyObject *group, *items;
	Py_ssize_t at;
	unsigned int sequence;
	int fd, done;

	if (!PyArg_ParseTuple(args, "iO!O!nI:send", &fd,
			      table->state->echo_group_type, &group,
			      &PyList_Type, &items, &at, &sequence))
		return NULL;
	table->failure = 0;
	while (at < PyList_Size(items)) {
		done = echo_send_burst(table, fd, (struct echo_group *)group,
				       items, at, sequence);
		if (done == 0)
			done = send_item(table, fd, (struct echo_group *)group,
					 PyList_GetItem(items, at), sequence);
		if (done < 0)
			return NULL;
		if (done == 0)
			break;
		note_sent(table, items, at, at + done);
		at += done;
		/* Of numbers that the kernel counts one is known. */
		if ((table->numbers == NUMBERS_COUNTED ||
		     at / SCRATCH_SLOTS > (at - done) / SCRATCH_SLOTS) &&
		    echo_read_stamps(table, fd) < 0)
			return NULL;
	}
	if (echo_read_stamps(table, fd) < 0)
		return NULL;
	return PyLong_FromSsize_t(at);
}

/* Receiving */

struct datagram {
	const unsigned char *data;
	size_t length;
	struct echo_arrival arrival;
};

static void
read_control(struct msghdr *header, struct echo_arrival *arrival)
{
	struct cmsghdr *part;
	struct timespec moment;

	for (part = CMSG_FIRSTHDR(header); part != NULL;
	     part = CMSG_NXTHDR(header, part)) {
		const unsigned char *data = CMSG_DATA(part);
		size_t room = part->cmsg_len - CMSG_LEN(0);

		if (part->cmsg_level == SOL_SOCKET &&
		    part->cmsg_type == SO_TIMESTAMPNS &&
		    room >= sizeof(moment)) {
			memcpy(&moment, data, sizeof(moment));
			arrival->received_ns = nanoseconds(&moment);
		} else if (((part->cmsg_level == IPPROTO_IP &&
			     part->cmsg_type == IP_TTL) ||
			    (part->cmsg_level == IPPROTO_IPV6 &&
			     part->cmsg_type == IPV6_HOPLIMIT)) &&
			   room >= sizeof(arrival->ttl)) {
			memcpy(&arrival->ttl, data, sizeof(arrival->ttl));
		}
	}
}

/* false: no message that could be ours. */
static bool
read_datagram(const struct echo_table *table, const struct mmsghdr *slot,
	      struct datagram *datagram)
{
	struct msghdr header = slot->msg_hdr;
	size_t skipped;

	datagram->data = header.msg_iov->iov_base;
	datagram->length = slot->msg_len < header.msg_iov->iov_len
				   ? slot->msg_len
				   : header.msg_iov->iov_len;
	datagram->arrival.received_ns = 0;
	datagram->arrival.ttl = ECHO_NO_TTL;
	read_control(&header, &datagram->arrival);
	if (!table->unchecked) {
		const struct sockaddr_in *inet = header.msg_name;
		const struct sockaddr_in6 *inet6 = header.msg_name;

		datagram->arrival.source =
			table->version == 4
				? (const unsigned char *)&inet->sin_addr
				: (const unsigned char *)&inet6->sin6_addr;
		return true;
	}
	/* A raw socket of IPv4 gives the IP header as well: raw(7). */
	if (datagram->length < IPV4_HEADER)
		return false;
	skipped = (size_t)(datagram->data[0] & 15) * 4;
	if (datagram->length < skipped)
		return false;
	datagram->arrival.ttl = datagram->data[IPV4_TTL];
	datagram->arrival.source = datagram->data + IPV4_SOURCE;
	datagram->data += skipped;
	datagram->length -= skipped;
	return true;
}

/* Unreachable, packet too big, time exceeded, parameter problem. */
static bool
is_error(const struct echo_table *table, const struct datagram *datagram)
{
	unsigned char type = datagram->length > 0 ? datagram->data[0] : 0;

	if (table->version == 6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 11 || type == 12;
}

static int
keep_odd(struct echo_table *table, const struct datagram *datagram)
{
	PyObject *odd = Py_BuildValue(
		"(y#y#L)", datagram->data, (Py_ssize_t)datagram->length,
		datagram->arrival.source,
		(Py_ssize_t)echo_address_length(table),
		(long long)datagram->arrival.received_ns);
	int failed = odd == NULL ? -1 : PyList_Append(table->odd, odd);

	Py_XDECREF(odd);
	return failed;
}

int
echo_fetch(int fd, struct mmsghdr *messages, unsigned int most, int flags)
{
	ssize_t length;

	flags |= MSG_DONTWAIT;
	if (most > 1)
		return recvmmsg(fd, messages, most, flags, NULL);
	/* recvmmsg() of one takes longer. */
	length = recvmsg(fd, &messages->msg_hdr, flags);
	if (length < 0)
		return -1;
	messages->msg_len = (unsigned int)length;
	return 1;
}

static int
judge_all(struct echo_table *table, struct scratch *scratch, int filled)
{
	int64_t monotonic_ns, now_ns;
	struct datagram datagram;
	int failed = 0;

	read_clocks(&monotonic_ns, &now_ns);
	for (int slot = 0; slot < filled && failed == 0; slot++) {
		if (!read_datagram(table, &scratch->messages[slot], &datagram))
			continue;
		datagram.arrival.now_ns = now_ns;
		datagram.arrival.monotonic_ns = monotonic_ns;
		if (is_error(table, &datagram))
			failed = keep_odd(table, &datagram);
		else
			failed = echo_judge(table, datagram.data,
					    datagram.length,
					    &datagram.arrival);
	}
	return failed;
}

/* How many messages came; -1 with an exception. */
static int
receive_some(struct echo_table *table, int fd, unsigned int most)
{
	struct scratch_pool *pool = &table->state->scratch;
	struct scratch *scratch =
		scratch_take(pool, table->largest + ECHO_MESSAGE_ROOM);
	int filled, failed;

	if (scratch == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	filled = echo_fetch(fd, scratch->messages, most, 0);
	table->failure = filled < 0 ? errno : 0;
	if (filled < 0)
		filled = 0;
	scratch->used = filled;
	/* After the replies, before they are judged: theirs are all there. */
	failed = filled > 0 ? echo_read_stamps(table, fd) : 0;
	if (failed == 0)
		failed = judge_all(table, scratch, filled);
	scratch_give(pool, scratch);
	return failed < 0 ? -1 : filled;
}

const char echo_receive_doc[] =
"receive($self, fd, /)\n"
"--\n"
"\n"
"Judge up to 64 messages that wait at a socket, and as many entries of its\n"
"error queue.\n"
"\n"
"ICMP errors go to odd: (message, sender, received_ns), and to reports.\n"
"\n"
"Returns:\n"
"    How many there were. With none, failure is the errno.";

PyObject *
echo_receive(PyObject *op, PyObject *argument)
{
	long fd = PyLong_AsLong(argument);
	struct echo_table *table = (struct echo_table *)op;
	int filled;

	if (fd == -1 && PyErr_Occurred())
		return NULL;
	if (table->reporting &&
	    echo_read_entries(table, (int)fd, SCRATCH_SLOTS) < 0)
		return NULL;
	filled = receive_some(table, (int)fd, SCRATCH_SLOTS);
	/* What nobody reads would end every wait at once. */
	if (filled == 0 && !table->reporting && table->numbers &&
	    echo_read_entries(table, (int)fd, SCRATCH_SLOTS) < 0)
		return NULL;
	return filled < 0 ? NULL : PyLong_FromLong(filled);
}

const char echo_exchange_doc[] =
"exchange($self, fd, group, item, sequence, count, until_ns, /)\n"
"--\n"
"\n"
"Send probes to one item back to back, each when the one before has a reply.\n"
"\n"
"It ends when a reply is not there at once, and at the moment until_ns of the\n"
"monotonic clock. The kernel is not asked when they leave: each timestamp takes\n"
"a tenth of a round trip, and the clock is 2 microseconds off then, not 15.\n"
"\n"
"Args:\n"
"    fd: A socket.\n"
"    group: What the probes belong to; none of it flies.\n"
"    item: As of send(), but for an Echo.\n"
"    sequence: Of the first.\n"
"    count: Probes at most.\n"
"    until_ns: See above.\n"
"\n"
"Returns:\n"
"    How many were sent. failure is the errno if that is why it ended.";

/* 1: go on; 0: that is all for now; -1 with an exception. */
static int
exchange_one(struct echo_table *table, int fd, struct echo_group *group,
	     const struct echo_target *target, unsigned int *sent)
{
	int done = send_probe(table, fd, group, target, false);

	if (done <= 0)
		return done;
	++*sent;
	done = receive_some(table, fd, 1);
	return done < 0 ? -1 : group->in_flight == 0;
}

PyObject *
echo_exchange(PyObject *op, PyObject *args)
{
	struct echo_table *table = (struct echo_table *)op;
	struct echo_target target;
	PyObject *group, *item;
	unsigned int sequence, count, sent = 0;
	long long until_ns;
	int fd, done;

	if (!PyArg_ParseTuple(args, "iO!OIIL:exchange", &fd,
			      table->state->echo_group_type, &group, &item,
			      &sequence, &count, &until_ns))
		return NULL;
	table->failure = 0;
	done = echo_read_item(table, (struct echo_group *)group, item, &target);
	while (done == 1 && sent < count &&
	       clock_ns(CLOCK_MONOTONIC) < until_ns) {
		target.sequence = sequence + sent;
		done = exchange_one(table, fd, (struct echo_group *)group,
				    &target, &sent);
	}
	return done < 0 ? NULL : PyLong_FromUnsignedLong(sent);
}
