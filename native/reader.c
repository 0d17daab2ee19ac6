/* SPDX-License-Identifier: MIT */
/*
 * Reader: what is awaited for packets, by whom, and how long.
 */
#include "reader.h"

#include "clock.h"
#include "coroutine.h"
#include "iterator.h"
#include "receiver.h"
#include "ring.h"

#include <stddef.h>
#include <structmember.h>

struct module_state *
reader_state(struct reader *self)
{
	return PyType_GetModuleState(Py_TYPE((PyObject *)self));
}

/*
 * Whether a receive may do without any check.  A look at the clock for each
 * packet would cost as much as the rest that is done with it.
 */
bool
reader_is_free(struct reader *self)
{
	if (self->turns > 0)
		return true;
	if (self->ends == 0 || monotonic_ns() >= self->ends)
		return false;
	self->turns = READER_STRETCH;
	return true;
}

/* Waiting */

/* Whether there is nothing to look after but packets, and a loop that calls. */
bool
reader_may_wait(struct reader *self)
{
	return self->waiter != NULL && !self->delivery->wary &&
	       waiter_is_at_hand(self->waiter);
}

void
reader_wait(struct reader *self)
{
	self->turns = 0;
	self->ends = 0;
	self->reading = 1;
	waiter_take(self->waiter);
}

/*
 * The loop called, or somebody else did: false.  Then nothing is free, and the
 * channel has to see why.
 */
bool
reader_wake(struct reader *self)
{
	bool fired = self->waiter->fired;

	reader_give_up(self);
	if (!fired)
		return false;
	self->turn_ends = monotonic_ns() + self->turn_ns;
	self->ends = self->turn_ends;
	self->turns = READER_STRETCH;
	if (self->waiter->company)
		self->streak = READER_STREAK;
	return true;
}

void
reader_give_up(struct reader *self)
{
	self->reading = 0;
	waiter_leave(self->waiter);
}

static PyObject *
reader_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"delivery", "receive", "ahead",
				"waiter",   "turn_ns", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	PyObject *delivery, *receive_packets, *waiter = NULL;
	struct reader *self;
	long long turn_ns = 0;
	int ahead;

	if (!PyArg_ParseTupleAndKeywords(
		    args, kwargs, "O!Oi|O!L:Reader", names,
		    state->delivery_type, &delivery, &receive_packets, &ahead,
		    state->waiter_type, &waiter, &turn_ns))
		return NULL;
	self = (struct reader *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->delivery = (struct delivery *)Py_NewRef(delivery);
	if (Py_TYPE(receive_packets) == state->receiver_type)
		self->receiver = (struct receiver *)Py_NewRef(receive_packets);
	else if (Py_TYPE(receive_packets) == state->ring_type)
		self->ring = (struct ring *)Py_NewRef(receive_packets);
	else
		self->receive = Py_NewRef(receive_packets);
	self->waiter = (struct waiter *)Py_XNewRef(waiter);
	self->turn_ns = turn_ns;
	self->ahead = ahead > 1 ? ahead : 1;
	return (PyObject *)self;
}

static int
reader_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct reader *self = (struct reader *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->receive);
	Py_VISIT((PyObject *)self->waiter);
	return 0;
}

static int
reader_clear(PyObject *op)
{
	struct reader *self = (struct reader *)op;

	Py_CLEAR(self->receive);
	return 0;
}

static void
reader_dealloc(PyObject *op)
{
	struct reader *self = (struct reader *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	Py_XDECREF((PyObject *)self->delivery);
	Py_XDECREF((PyObject *)self->waiter);
	Py_XDECREF((PyObject *)self->receiver);
	Py_XDECREF(self->receive);
	Py_XDECREF((PyObject *)self->ring);
	if (self->spare != NULL)
		PyObject_GC_Del(self->spare);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static PyObject *
start_receive(PyObject *op, PyObject *channel)
{
	return coroutine_new((struct reader *)op, channel, ONE, NULL);
}

static PyObject *
start_next(PyObject *op, PyObject *channel)
{
	return coroutine_new((struct reader *)op, channel, NEXT, NULL);
}

static PyObject *
start_list(PyObject *op, PyObject *args)
{
	PyObject *channel, *wanted;

	if (!PyArg_ParseTuple(args, "OO:receive_list", &channel, &wanted))
		return NULL;
	return coroutine_new((struct reader *)op, channel, LIST, wanted);
}

static PyObject *
iterate_batches(PyObject *op, PyObject *args)
{
	PyObject *channel, *wanted;

	if (!PyArg_ParseTuple(args, "OO:iterate_batches", &channel, &wanted))
		return NULL;
	return iterator_new((struct reader *)op, channel, BATCH, wanted);
}

static PyObject *
is_free(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(reader_is_free((struct reader *)op));
}

static PyObject *
iterate(PyObject *op, PyObject *channel)
{
	return iterator_new((struct reader *)op, channel, NEXT, NULL);
}

static char reader_doc[] =
"Reader(delivery, receive, ahead, waiter=None, turn_ns=0)\n"
"--\n"
"\n"
"What is awaited for packets, without a coroutine of Python's where there is\n"
"nothing to see to but them.\n"
"\n"
"Whoever had to wait for a packet gets that one; after 8 in a row that were\n"
"there already, up to ahead are read at once, and kept in the backlog.\n"
"\n"
"Args:\n"
"    delivery: Its backlog is served first.\n"
"    receive: A Receiver or a Ring; or what is called with a number of packets,\n"
"        and returns up to so many of them.\n"
"    ahead: Packets to read at once.\n"
"    waiter: By which the loop tells that there is something to read. Without\n"
"        one, and where there is more to see to, the channel waits itself.\n"
"    turn_ns: How long receives may follow each other after a wait.";

static PyMemberDef reader_members[] = {
	{"turns", T_INT, offsetof(struct reader, turns), 0,
	 "How many packets may be taken without looking at anything else; each "
	 "counts one down. After that it is 64 again until the turn ends."},
	{"ends", T_LONGLONG, offsetof(struct reader, ends), 0,
	 "When the turn ends, in nanoseconds of the monotonic clock; 0: with "
	 "the packets that turns has left."},
	{"turn_ends", T_LONGLONG, offsetof(struct reader, turn_ends), 0,
	 "When the turn ends that the last wait began; ends, unless something is "
	 "in the way."},
	{"reading", T_BOOL, offsetof(struct reader, reading), 0,
	 "Whether a receive waits, or is about to."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef reader_methods[] = {
	{"is_free", is_free, METH_NOARGS,
	 "is_free($self, /)\n--\n\n"
	 "Return whether packets may be taken without looking at anything else."},
	{"receive", start_receive, METH_O,
	 "receive($self, channel, /)\n--\n\n"
	 "Return a coroutine for the next packet. Where there is none at once, "
	 "it goes on as channel._receive_slowly(tried, error): whether it has "
	 "looked for one, and what that raised or None."},
	{"next", start_next, METH_O,
	 "next($self, channel, /)\n--\n\nAs receive, by channel._next_slowly."},
	{"iterate", iterate, METH_O,
	 "iterate($self, channel, /)\n--\n\nReturn an iterator of next()."},
	{"receive_list", start_list, METH_VARARGS,
	 "receive_list($self, channel, count, /)\n--\n\n"
	 "As receive, for up to count packets, by "
	 "channel._list_slowly(tried, error, count)."},
	{"iterate_batches", iterate_batches, METH_VARARGS,
	 "iterate_batches($self, channel, count, /)\n--\n\n"
	 "Return an iterator of coroutines as that of receive_list, for a Batch: "
	 "what is left of a block of a Ring, where count is None, and 64 "
	 "packets of anything else. By channel._batch_slowly."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot reader_slots[] = {
	{Py_tp_doc, reader_doc},
	{Py_tp_new, reader_construct},
	{Py_tp_dealloc, reader_dealloc},
	{Py_tp_traverse, reader_traverse},
	{Py_tp_clear, reader_clear},
	{Py_tp_members, reader_members},
	{Py_tp_methods, reader_methods},
	{0, NULL},
};

PyType_Spec reader_spec = {
	.name = "aioprocket._system._native.Reader",
	.basicsize = sizeof(struct reader),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = reader_slots,
};
