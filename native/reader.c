/* SPDX-License-Identifier: MIT */
/*
 * Reader: one packet for who awaits one, from the backlog or from the kernel.
 *
 * A system call for each packet costs more than all that is done with it, so
 * packets are read ahead, but only for who has shown that they come faster
 * than they are taken: whoever had to wait gets the one that was asked for.
 */
#include "reader.h"

#include "clock.h"
#include "coroutine.h"
#include "iterator.h"
#include "piece.h"
#include "receiver.h"

#include <stddef.h>
#include <structmember.h>

enum {
	STREAK = 8,	/* packets in a row that did not have to be waited for */
};

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

/* Takes the first of packets and keeps the others. */
static PyObject *
keep_others(struct reader *self, PyObject *packets)
{
	Py_ssize_t count = PyList_Size(packets);

	for (Py_ssize_t i = 1; i < count; i++) {
		if (backlog_append(self->delivery->backlog,
				   PyList_GetItem(packets, i)) < 0)
			return NULL;
	}
	return Py_NewRef(PyList_GetItem(packets, 0));
}

static PyObject *
read_packets(struct receiver *receiver, Py_ssize_t count)
{
	PyObject *packets;

#ifdef Py_GIL_DISABLED
	Py_BEGIN_CRITICAL_SECTION(receiver);
#endif
	packets = receiver_take(receiver, count);
#ifdef Py_GIL_DISABLED
	Py_END_CRITICAL_SECTION();
#endif
	return packets;
}

static PyObject *
receive(struct reader *self, Py_ssize_t count)
{
	PyObject *argument, *packets = NULL;

	if (self->receiver != NULL)
		return read_packets(self->receiver, count);
	argument = PyLong_FromSsize_t(count);
	if (argument != NULL)
		packets = PyObject_CallFunctionObjArgs(self->receive, argument,
						       NULL);
	Py_XDECREF(argument);
	if (packets != NULL && !PyList_Check(packets)) {
		PyObject *list = PySequence_List(packets);

		Py_DECREF(packets);
		packets = list;
	}
	return packets;
}

/* NULL: there is none now, or an exception tells. */
PyObject *
reader_take(struct reader *self)
{
	PyObject *packet = backlog_pop(self->delivery->backlog);
	PyObject *packets;

	if (packet != NULL)
		return packet;
	packets = receive(self, self->streak >= STREAK ? self->ahead : 1);
	if (packets == NULL)
		return NULL;
	if (PyList_Size(packets) > 0) {
		packet = keep_others(self, packets);
		self->streak += self->streak < STREAK ? 1 : 0;
	} else {
		self->streak = 0;
	}
	Py_DECREF(packets);
	return packet;
}

static void
count(struct reader *self, Py_ssize_t packets)
{
	/* One was counted when the receive began. */
	self->turns = self->turns > packets - 1
			      ? self->turns - (int)(packets - 1)
			      : 0;
}

/* As reader_take(), up to so many, as a list. */
PyObject *
reader_take_list(struct reader *self, PyObject *wanted)
{
	Py_ssize_t most = PyNumber_AsSsize_t(wanted, PyExc_OverflowError);
	PyObject *packets;

	if (most == -1 && PyErr_Occurred())
		return NULL;
	packets = receive(self, most);
	if (packets != NULL && PyList_Size(packets) == 0)
		Py_CLEAR(packets);
	if (packets != NULL)
		count(self, PyList_Size(packets));
	return packets;
}

static PyObject *
take_batch(struct reader *self, PyObject *wanted)
{
	Py_ssize_t most = SCRATCH_SLOTS;
	PyObject *batch;

	if (self->receiver == NULL)
		return PyObject_CallFunctionObjArgs(self->take, wanted, NULL);
	if (!Py_IsNone(wanted))
		most = PyNumber_AsSsize_t(wanted, PyExc_OverflowError);
	if (most == -1 && PyErr_Occurred())
		return NULL;
#ifdef Py_GIL_DISABLED
	Py_BEGIN_CRITICAL_SECTION(self->receiver);
#endif
	batch = piece_take(self->receiver, most);
#ifdef Py_GIL_DISABLED
	Py_END_CRITICAL_SECTION();
#endif
	return batch;
}

/* As reader_take(), in one piece. */
PyObject *
reader_take_batch(struct reader *self, PyObject *wanted)
{
	PyObject *batch = take_batch(self, wanted);

	if (batch != NULL && Py_IsNone(batch))
		Py_CLEAR(batch);
	if (batch != NULL)
		count(self, PyObject_Size(batch));
	return batch;
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
	static char *names[] = {"delivery", "receive", "ahead",	  "take",
				"waiter",   "turn_ns", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	PyObject *delivery, *receive_packets, *take = NULL, *waiter = NULL;
	struct reader *self;
	long long turn_ns = 0;
	int ahead;

	if (!PyArg_ParseTupleAndKeywords(
		    args, kwargs, "O!Oi|OO!L:Reader", names,
		    state->delivery_type, &delivery, &receive_packets, &ahead,
		    &take, state->waiter_type, &waiter, &turn_ns))
		return NULL;
	self = (struct reader *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->delivery = (struct delivery *)Py_NewRef(delivery);
	if (Py_TYPE(receive_packets) == state->receiver_type)
		self->receiver = (struct receiver *)Py_NewRef(receive_packets);
	else
		self->receive = Py_NewRef(receive_packets);
	self->take = Py_XNewRef(take);
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
	Py_VISIT(self->take);
	Py_VISIT((PyObject *)self->waiter);
	return 0;
}

static int
reader_clear(PyObject *op)
{
	struct reader *self = (struct reader *)op;

	Py_CLEAR(self->receive);
	Py_CLEAR(self->take);
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
	Py_XDECREF(self->take);
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
"Reader(delivery, receive, ahead, take=None, waiter=None, turn_ns=0)\n"
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
"    receive: A Receiver; or what is called with a number of packets, and\n"
"        returns up to so many of them.\n"
"    ahead: Packets to read at once.\n"
"    take: As the latter, in one piece; returns None where there is none.\n"
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
	 "Return an iterator of coroutines as that of receive_list, for what "
	 "take gives, by channel._batch_slowly."},
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
