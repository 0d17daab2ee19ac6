/* SPDX-License-Identifier: MIT */
/*
 * The error queue of a socket for probes: the moments at which the kernel gave
 * requests to their interface, and the ICMP errors that a ping socket has.
 *
 * A request asks for SOF_TIMESTAMPING_TX_SCHED: it leaves the protocols, and
 * enters the interface's queue.  That needs no driver, is on the error queue
 * when the system call returns, unless the neighbour is still looked for, and
 * lies right before the moment at which a capture sees the request.  What the
 * driver says, later, leaves out what a capture takes itself, and this
 * machine's own queue, which is part of the way.
 *
 * From Linux 6.13 on a message brings the number that its timestamp comes back
 * with (SCM_TS_OPT_ID).  Before, the kernel counts those that ask, and may or
 * may not count one that it then refuses: one at a time waits, and its number
 * is known as a range.  Source: Documentation/networking/timestamping.rst,
 * 1.3.2 and 1.3.3; __ip_append_data() in net/ipv4/ip_output.c.
 */
#include "echo_table.h"

#include "echo_moment.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* asm-generic/socket.h; of Linux 6.13 */
#ifndef SCM_TS_OPT_ID
#define SCM_TS_OPT_ID 81
#endif

/* linux/in.h, linux/in6.h */
enum { REPORT4 = 11, REPORT6 = 25 };

/* Asking */

static void
put_number(struct msghdr *header, int kind, uint32_t number)
{
	struct cmsghdr *part =
		(struct cmsghdr *)((char *)header->msg_control +
				   header->msg_controllen);

	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = kind;
	part->cmsg_len = CMSG_LEN(sizeof(number));
	memcpy(CMSG_DATA(part), &number, sizeof(number));
	header->msg_controllen += CMSG_SPACE(sizeof(number));
}

/* The message of a probe asks for a timestamp, which comes with its number. */
void
echo_ask(struct msghdr *header, union echo_asking *asking,
	 const struct echo_probe *probe, bool named)
{
	memset(asking, 0, sizeof(*asking));
	header->msg_control = asking->room;
	header->msg_controllen = 0;
	put_number(header, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_SCHED);
	if (named)
		put_number(header, SCM_TS_OPT_ID, (uint32_t)probe->serial);
}

static ssize_t
send_asking(const struct echo_table *table, int fd,
	    const struct echo_probe *probe, const struct echo_message *message,
	    bool named)
{
	union echo_asking asking;
	struct iovec vector = {table->request, message->length};
	struct msghdr header = {
		.msg_name = message->address,
		.msg_namelen = message->room,
		.msg_iov = &vector,
		.msg_iovlen = 1,
	};

	echo_ask(&header, &asking, probe, named);
	return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A probe has left, and the kernel has given it a number. */
static void
count(struct echo_table *table, struct echo_probe *probe)
{
	struct echo_count *counted = &table->counted;

	/* That of the one before, which did not come. */
	if (counted->waits) {
		counted->low++;
		counted->high++;
	}
	counted->waits = true;
	counted->serial = probe->serial;
}

/* The built request, as sendto(2), with a timestamp to come. */
ssize_t
echo_send_asking(struct echo_table *table, int fd, struct echo_probe *probe,
		 const struct echo_message *message)
{
	ssize_t sent = -1;

	if (table->numbers != NUMBERS_COUNTED) {
		sent = send_asking(table, fd, probe, message, true);
		if (sent >= 0)
			table->numbers = NUMBERS_CHOSEN;
		else if (table->numbers == NUMBERS_CHOSEN || errno != EINVAL)
			return sent;
	}
	/* Before 6.13, or refused for another reason, and then again. */
	if (table->numbers != NUMBERS_CHOSEN) {
		sent = send_asking(table, fd, probe, message, false);
		if (sent < 0) {
			table->counted.high++;
			return sent;
		}
		table->numbers = NUMBERS_COUNTED;
		count(table, probe);
	}
	probe->asked = true;
	table->awaited++;
	return sent;
}

/* Reading */

struct entry {
	const struct sock_extended_err *error;	/* NULL: none */
	int64_t moment_ns;	/* by the realtime clock; 0: not known */
	size_t room;		/* bytes from error on */
};

static struct entry
read_entry(struct msghdr *header)
{
	struct entry entry = {0};
	struct timespec moment;
	struct cmsghdr *part;

	for (part = CMSG_FIRSTHDR(header); part != NULL;
	     part = CMSG_NXTHDR(header, part)) {
		const unsigned char *data = CMSG_DATA(part);
		size_t room = part->cmsg_len - CMSG_LEN(0);

		/* Of a struct scm_timestamping the first is the software's. */
		if (part->cmsg_level == SOL_SOCKET &&
		    (part->cmsg_type == SO_TIMESTAMPING ||
		     part->cmsg_type == SO_TIMESTAMPNS) &&
		    room >= sizeof(struct timespec)) {
			memcpy(&moment, data, sizeof(moment));
			entry.moment_ns = nanoseconds(&moment);
		} else if (((part->cmsg_level == IPPROTO_IP &&
			     part->cmsg_type == REPORT4) ||
			    (part->cmsg_level == IPPROTO_IPV6 &&
			     part->cmsg_type == REPORT6)) &&
			   room >= sizeof(*entry.error)) {
			entry.error = (const void *)data;
			entry.room = room;
		}
	}
	return entry;
}

/* Whether the number is that of the probe that waits, and of no other. */
static bool
is_counted(struct echo_table *table, const struct echo_probe *probe,
	   uint32_t number, int64_t moment_ns)
{
	struct echo_count *counted = &table->counted;
	/* They wrap. */
	bool beyond = (int32_t)(number - counted->high) > 0;
	bool mine = !beyond && counted->waits && probe != NULL &&
		    moment_ns >= probe->sent_ns;

	if ((int32_t)(number - counted->low) < 0)
		return false;
	counted->low = number + 1;
	if (mine || beyond)
		counted->waits = false;
	if (mine || (int32_t)(counted->high - counted->low) < 0)
		counted->high = counted->low;
	return mine;
}

static void
take_stamp(struct echo_table *table, uint32_t number, int64_t moment_ns)
{
	uint64_t last = table->next - 1;
	struct echo_probe *probe;

	if (moment_ns == 0)
		return;
	if (table->numbers == NUMBERS_CHOSEN) {
		probe = echo_find(table, last - (uint32_t)(last - number));
	} else {
		probe = echo_find(table, table->counted.serial);
		if (!is_counted(table, probe, number, moment_ns))
			return;
	}
	if (probe != NULL && probe->asked)
		echo_stamp(table, probe, moment_ns);
}

static int
keep_report(struct echo_table *table, const struct mmsghdr *slot,
	    const struct entry *entry)
{
	const struct msghdr *header = &slot->msg_hdr;
	const struct sockaddr_in *inet = header->msg_name;
	const struct sockaddr_in6 *inet6 = header->msg_name;
	const struct sock_extended_err *error = entry->error;
	/* SO_EE_OFFENDER() of ip(7), which is not const. */
	const unsigned char *router = (const void *)(error + 1);
	Py_ssize_t length = (Py_ssize_t)echo_address_length(table);
	size_t at = table->version == 4
			    ? offsetof(struct sockaddr_in, sin_addr)
			    : offsetof(struct sockaddr_in6, sin6_addr);
	size_t quoted = slot->msg_len < header->msg_iov->iov_len
				? slot->msg_len
				: header->msg_iov->iov_len;
	PyObject *report;
	int failed;

	if (entry->room < sizeof(*error) + at + (size_t)length)
		return 0;
	report = Py_BuildValue(
		"(y#y#IBBIy#L)",
		table->version == 4 ? (const void *)&inet->sin_addr
				    : (const void *)&inet6->sin6_addr,
		length, header->msg_iov->iov_base, (Py_ssize_t)quoted,
		error->ee_errno, error->ee_type, error->ee_code,
		error->ee_info, router + at, length,
		(long long)entry->moment_ns);
	failed = report == NULL ? -1 : PyList_Append(table->reports, report);
	Py_XDECREF(report);
	return failed;
}

static int
take_entry(struct echo_table *table, struct mmsghdr *slot)
{
	struct entry entry = read_entry(&slot->msg_hdr);

	if (entry.error == NULL)
		return 0;
	switch (entry.error->ee_origin) {
	case SO_EE_ORIGIN_TIMESTAMPING:
		take_stamp(table, entry.error->ee_data, entry.moment_ns);
		return 0;
	case SO_EE_ORIGIN_ICMP:
	case SO_EE_ORIGIN_ICMP6:
		return table->reporting ? keep_report(table, slot, &entry) : 0;
	default:
		return 0;	/* this machine's own: the system call says so */
	}
}

/* How many entries there were, most at most; -1 with an exception. */
int
echo_read_entries(struct echo_table *table, int fd, unsigned int most)
{
	struct scratch_pool *pool = &table->state->scratch;
	struct scratch *scratch =
		scratch_take(pool, table->largest + ECHO_MESSAGE_ROOM);
	int filled, failed = 0;

	if (scratch == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	filled = echo_fetch(fd, scratch->messages, most, MSG_ERRQUEUE);
	if (filled < 0)
		filled = 0;	/* all but EAGAIN an ordinary call says, too */
	scratch->used = filled;
	for (int slot = 0; slot < filled && failed == 0; slot++)
		failed = take_entry(table, &scratch->messages[slot]);
	scratch_give(pool, scratch);
	return failed < 0 ? -1 : filled;
}

/*
 * The timestamps of probes that fly, as far as they are there.
 *
 * A request's is on the queue before its reply can be.  Bounded, whatever else
 * comes.  Returns 0, or -1 with an exception.
 */
int
echo_read_stamps(struct echo_table *table, int fd)
{
	int left = SCRATCH_SLOTS, filled = 1;

	while (table->awaited > 0 && left > 0 && filled > 0) {
		filled = echo_read_entries(
			table, fd,
			table->awaited == 1 ? 1 : (unsigned int)left);
		left -= filled;
	}
	return filled < 0 ? -1 : 0;
}

const char echo_read_queue_doc[] =
"read_queue($self, fd, /)\n"
"--\n"
"\n"
"Read up to 64 entries of a socket's error queue: timestamps are taken, ICMP\n"
"errors go to reports where the table has them from there.\n"
"\n"
"Returns:\n"
"    How many there were.";

PyObject *
echo_read_queue(PyObject *op, PyObject *argument)
{
	long fd = PyLong_AsLong(argument);
	int filled;

	if (fd == -1 && PyErr_Occurred())
		return NULL;
	filled = echo_read_entries((struct echo_table *)op, (int)fd,
				   SCRATCH_SLOTS);
	return filled < 0 ? NULL : PyLong_FromLong(filled);
}
