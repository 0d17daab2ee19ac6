/* SPDX-License-Identifier: MIT */
/*
 * Moderation: how long packets may wait for company, from what came before.
 *
 * As network cards moderate their interrupts, and for the same reason: to be
 * woken costs several times what is then done with a packet.  Nothing here
 * asks the kernel, or a clock.
 *
 * Two things bound a delay besides what the user allows.  What comes at the rate
 * just seen should fit into one recvmmsg(), and take no more than a quarter of
 * the socket's buffer.  And what would come in a sudden flood must fit into
 * half of it, for of a flood that begins nothing has been seen.
 */
#include "moderation.h"

#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>

enum {
	NEEDED = 8,		/* wakeups, by which a stream is judged */
	NEEDED_MOST = 512,	/* after it was judged wrongly, again and again */
	COMPANY = 3,		/* packets for each delay that make it worth it */
	LONELY = 2,		/* rests in a row that brought no company */
	SETTLED = 16,		/* rests after which a judgement was right */
	WANTED = 48,		/* packets of a rest: of the 64 of a recvmmsg() */
	SMALLEST = 768,		/* bytes that a packet takes: skb and 64 bytes */
	SHORTEST = 20000,	/* ns: timers are no better than that */
	FLOOD = 1000,		/* ns from packet to packet in a flood */
	FIRST_PART = 4,		/* of what would be right is the first delay */
	LATE = 4,		/* times the longest delay: nobody was there */
};

static int64_t
least(int64_t one, int64_t other)
{
	return one < other ? one : other;
}

static int64_t
most(int64_t one, int64_t other)
{
	return one > other ? one : other;
}

/* What a flood would bring meanwhile takes half of the buffer. */
static int64_t
bound_by_flood(struct found found)
{
	uint64_t size = found.packets > 0 ? found.bytes / found.packets : 0;

	if (size < SMALLEST)
		size = SMALLEST;
	return (int64_t)(found.room / 2 / size) * FLOOD;
}

/* The time in which so many packets come, at the rate of the last ones. */
static int64_t
bound_by_rate(int64_t elapsed, struct found found)
{
	int64_t bound = elapsed * WANTED / (int64_t)found.packets;

	if (found.bytes > 0 && found.room > 0)
		bound = least(bound, (int64_t)((double)elapsed *
					       (double)(found.room / 4) /
					       (double)found.bytes));
	return bound;
}

static int64_t
bound(const struct moderation *self, int64_t elapsed, struct found found)
{
	int64_t delay = least(self->longest, bound_by_rate(elapsed, found));

	if (found.room > 0)
		delay = least(delay, bound_by_flood(found));
	return most(delay, SHORTEST);
}

static void
begin_anew(struct moderation *self, int64_t now)
{
	self->since = now;
	self->wakeups = 0;
	self->packets = 0;
}

static int64_t
wake_for_each(struct moderation *self, int64_t now)
{
	self->delay = 0;
	begin_anew(self, now);
	return 0;
}

/* Each packet has woken its reader so far. */
static int64_t
judge_wakeup(struct moderation *self, int64_t elapsed, struct found found)
{
	struct found all = found;
	int64_t delay, company;

	if (elapsed > self->longest)
		return wake_for_each(self, found.now);
	self->packets += found.packets;
	if (++self->wakeups < self->needed)
		return 0;
	all.packets = self->packets;
	elapsed = found.now - self->since;
	begin_anew(self, found.now);
	if (all.packets == 0)
		return 0;
	delay = bound(self, elapsed, all);
	company = elapsed * COMPANY / (int64_t)all.packets;
	if (delay < company)
		return 0;
	self->rests = 0;
	self->lonely = 0;
	/* Not all of it at once, but enough to see whether company comes. */
	self->delay = most(SHORTEST, most(company, delay / FIRST_PART));
	return self->delay;
}

/* No company came: a judgement that is soon taken back takes longer next time. */
static int64_t
take_back(struct moderation *self, int64_t now)
{
	if (self->rests > SETTLED)
		self->needed = NEEDED;
	else if (self->needed < NEEDED_MOST)
		self->needed *= 2;
	return wake_for_each(self, now);
}

static int64_t
judge_rest(struct moderation *self, int64_t elapsed, struct found found)
{
	int64_t delay;

	/* Nobody read for a while, so nothing is known of the stream. */
	if (elapsed > LATE * self->longest)
		return wake_for_each(self, found.now);
	self->rests += self->rests <= SETTLED ? 1 : 0;
	if (found.packets <= 1)
		return ++self->lonely < LONELY ? self->delay
					       : take_back(self, found.now);
	self->lonely = 0;
	delay = bound(self, elapsed, found);
	self->delay = least(delay, self->delay + self->delay / 2);
	return self->delay;
}

/* ns from this look to the next; 0: the next packet is to wake. */
int64_t
moderation_next(struct moderation *self, struct found found)
{
	int64_t elapsed = found.now - self->last;

	self->last = found.now;
	/* Some reads are not counted, but what they found took memory. */
	if (found.packets == 0 && found.bytes > 0)
		found.packets = (found.bytes + SMALLEST - 1) / SMALLEST;
	if (self->delay == 0)
		return judge_wakeup(self, elapsed, found);
	return judge_rest(self, elapsed, found);
}

/* Python's side */

static PyObject *
next(PyObject *op, PyObject *args)
{
	unsigned long long packets, bytes, room;
	long long now;

	if (!PyArg_ParseTuple(args, "LKKK:next", &now, &packets, &bytes, &room))
		return NULL;
	return PyLong_FromLongLong(moderation_next(
		(struct moderation *)op,
		(struct found){.now = now, .packets = packets, .bytes = bytes, .room = room}));
}

static PyObject *
moderation_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"longest", NULL};
	struct moderation *self;
	long long longest;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "L:Moderation", names, &longest))
		return NULL;
	if (longest < SHORTEST || longest > 1000000000) {
		PyErr_Format(PyExc_ValueError, "longest is 20,000 ns to a second, not %lld",
			     longest);
		return NULL;
	}
	self = (struct moderation *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->longest = longest;
	self->needed = NEEDED;
	return (PyObject *)self;
}

static void
moderation_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_Free(op);
	Py_DECREF(type);
}

static char moderation_doc[] =
"Moderation(longest)\n"
"--\n"
"\n"
"How long packets of a stream may wait for company, so that one wakeup serves\n"
"them all.\n"
"\n"
"Args:\n"
"    longest: Nanoseconds that a packet may wait, 20,000 to 1,000,000,000.";

static char next_doc[] =
"next($self, now, packets, bytes, room, /)\n"
"--\n"
"\n"
"Return nanoseconds from this look at the queue to the next; 0: the next packet\n"
"is to wake.\n"
"\n"
"Args:\n"
"    now: Nanoseconds of a clock that never goes back.\n"
"    packets: What came since the last look.\n"
"    bytes: The memory that they took in the kernel; 0: not known.\n"
"    room: What the socket's buffer has of it, or 0.";

static PyMemberDef moderation_members[] = {
	{"delay", T_LONGLONG, offsetof(struct moderation, delay), READONLY,
	 "What next() returned last."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef moderation_methods[] = {
	{"next", next, METH_VARARGS, next_doc},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot moderation_slots[] = {
	{Py_tp_doc, moderation_doc},
	{Py_tp_new, moderation_construct},
	{Py_tp_dealloc, moderation_dealloc},
	{Py_tp_members, moderation_members},
	{Py_tp_methods, moderation_methods},
	{0, NULL},
};

PyType_Spec moderation_spec = {
	.name = "aioprocket._system._native.Moderation",
	.basicsize = sizeof(struct moderation),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = moderation_slots,
};
