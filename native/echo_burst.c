/* SPDX-License-Identifier: MIT */
/*
 * A few probes by one system call, for a sweep: each system call of its own
 * takes a tenth of a probe's time.
 *
 * They leave one after another, for which the kernel takes some microseconds
 * each.  When, is between two looks at the clock: in even steps, for all go
 * the same way.  Something that comes in between, an interrupt or another
 * program, makes steps of several times the usual length; the usual ones are
 * counted then, so that a round trip is rather told too long than too short.
 */
#include "echo_destination.h"
#include "echo_moment.h"
#include "echo_table.h"

#include <string.h>
#include <sys/socket.h>

enum {
	BURST = 8,
	LARGEST = 256,	/* bytes of a request that is sent so */
	SLOWEST = 2,	/* times the usual step: nothing came in between */
	INERTIA = 8,	/* steps that the usual one is a mean of */
};

struct burst {
	unsigned char requests[BURST][LARGEST];
	union destination addresses[BURST];
	struct iovec vectors[BURST];
	struct mmsghdr messages[BURST];
	union echo_asking asking[BURST];
	uint64_t serials[BURST];
	int count;
};

/* 1: it has its place in the burst; 0: it has none; -1 with an exception. */
static int
add_probe(struct echo_table *table, struct burst *burst,
	  struct echo_group *group, const struct echo_target *target)
{
	struct echo_probe *probe = echo_begin(table, group, target);
	int at = burst->count;
	struct msghdr *header = &burst->messages[at].msg_hdr;
	size_t length;

	if (probe == NULL)
		return PyErr_Occurred() ? -1 : 0;
	length = echo_request(table, probe);
	if (length == 0) {
		echo_end(table, probe, ECHO_ENDED);
		return -1;
	}
	memcpy(burst->requests[at], table->request, length);
	burst->vectors[at] = (struct iovec){burst->requests[at], length};
	memset(header, 0, sizeof(*header));
	header->msg_name = &burst->addresses[at];
	header->msg_namelen =
		make_destination(table, probe, &burst->addresses[at]);
	header->msg_iov = &burst->vectors[at];
	header->msg_iovlen = 1;
	if (group->stamped)
		echo_ask(header, &burst->asking[at], probe, true);
	burst->serials[at] = probe->serial;
	burst->count++;
	return 1;
}

static int64_t
step_of(struct echo_table *table, int64_t took, int count)
{
	int64_t step = took / count, usual = table->usual_step;

	if (usual > 0 && step > SLOWEST * usual)
		step = SLOWEST * usual;
	table->usual_step = usual > 0 ? usual + (step - usual) / INERTIA : step;
	return step < table->usual_step ? step : table->usual_step;
}

/* How many left; what did not is no probe any more. */
static int
send_burst(struct echo_table *table, int fd, struct burst *burst)
{
	int64_t monotonic, realtime, step = 0;
	int sent;

	read_clocks(&monotonic, &realtime);
	sent = sendmmsg(fd, burst->messages, (unsigned int)burst->count,
			MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		sent = 0;
	if (sent > 0)
		step = step_of(table, clock_ns(CLOCK_MONOTONIC) - monotonic,
			       sent);
	for (int at = 0; at < burst->count; at++) {
		/* By its number: the table may have moved meanwhile. */
		struct echo_probe *probe =
			echo_find(table, burst->serials[at]);

		if (probe == NULL)
			continue;
		probe->sent_monotonic = monotonic + at * step;
		probe->sent_ns = realtime + at * step;
		if (at >= sent) {
			echo_end(table, probe, ECHO_ENDED);
		} else if (probe->group->stamped) {
			probe->asked = true;
			table->awaited++;
		} else {
			/* The steps may have been too long for its reply. */
			probe->spread_ns = at * step < INT32_MAX
						   ? (int32_t)(at * step)
						   : INT32_MAX;
		}
	}
	return sent;
}

/*
 * Probes to the first items from an index on, as many as a burst has.
 *
 * Returns how many left. The next may have been refused, or be none that the
 * table takes: by itself it is told why. -1 with an exception.
 */
int
echo_send_burst(struct echo_table *table, int fd, struct echo_group *group,
		PyObject *items, Py_ssize_t start, uint32_t sequence)
{
	Py_ssize_t end = PyList_Size(items);
	struct echo_target target;
	struct burst burst;
	int added = 1;

	burst.count = 0;
	/* Numbers that the kernel counts are known one at a time. */
	if (end - start < 2 || group->size > LARGEST - ECHO_HEADER ||
	    (group->stamped && table->numbers != NUMBERS_CHOSEN))
		return 0;
	if (end > start + BURST)
		end = start + BURST;
	for (Py_ssize_t at = start; at < end && added == 1; at++) {
		target.sequence = sequence;
		added = echo_read_item(table, group, PyList_GetItem(items, at),
				       &target);
		if (added == 1)
			added = add_probe(table, &burst, group, &target);
	}
	if (added < 0) {
		for (int at = 0; at < burst.count; at++)
			echo_end(table, echo_find(table, burst.serials[at]),
				 ECHO_ENDED);
		return -1;
	}
	return burst.count > 0 ? send_burst(table, fd, &burst) : 0;
}
