/* SPDX-License-Identifier: MIT */
/*
 * Reader: one packet for who awaits one, from the backlog or from the kernel.
 *
 * A system call for each packet costs more than all that is done with it, so
 * packets are read ahead, but only for who has shown that they come faster
 * than they are taken: whoever had to wait gets the one that was asked for.
 */
#include "reader.h"

#include "coroutine.h"
#include "iterator.h"

#include <stddef.h>
#include <structmember.h>
#include <time.h>

enum {
	STREAK = 8,	/* packets in a row that did not have to be waited for */
	STRETCH = 64,	/* packets between looks at the clock */
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
	struct timespec now;

	if (self->turns > 0)
		return true;
	if (self->ends == 0)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec * 1000000000LL + now.tv_nsec >= self->ends)
		return false;
	self->turns = STRETCH;
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
receive(struct reader *self, int count)
{
	PyObject *argument = PyLong_FromLong(count);
	PyObject *packets = NULL;

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

static PyObject *
reader_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"delivery", "receive", "ahead", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	PyObject *delivery, *receive_packets;
	struct reader *self;
	int ahead;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!Oi:Reader", names,
					 state->delivery_type, &delivery,
					 &receive_packets, &ahead))
		return NULL;
	self = (struct reader *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->delivery = (struct delivery *)Py_NewRef(delivery);
	self->receive = Py_NewRef(receive_packets);
	self->ahead = ahead > 1 ? ahead : 1;
	return (PyObject *)self;
}

static int
reader_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct reader *self = (struct reader *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->receive);
	return 0;
}

static int
reader_clear(PyObject *op)
{
	Py_CLEAR(((struct reader *)op)->receive);
	return 0;
}

static void
reader_dealloc(PyObject *op)
{
	struct reader *self = (struct reader *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	Py_XDECREF((PyObject *)self->delivery);
	Py_XDECREF(self->receive);
	if (self->spare != NULL)
		PyObject_GC_Del(self->spare);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static PyObject *
start_receive(PyObject *op, PyObject *channel)
{
	return coroutine_new((struct reader *)op, channel, false);
}

static PyObject *
start_next(PyObject *op, PyObject *channel)
{
	return coroutine_new((struct reader *)op, channel, true);
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
	return iterator_new((struct reader *)op, channel);
}

static char reader_doc[] =
"Reader(delivery, receive, ahead)\n"
"--\n"
"\n"
"What is awaited for one packet, without a coroutine where none has to wait.\n"
"\n"
"Whoever had to wait for a packet gets that one; after 8 in a row that were\n"
"there already, up to ahead are read at once, and kept in the backlog.\n"
"\n"
"Args:\n"
"    delivery: Its backlog is served first.\n"
"    receive: Called with a number of packets; returns up to so many of them.\n"
"    ahead: Packets to read at once.";

static PyMemberDef reader_members[] = {
	{"turns", T_INT, offsetof(struct reader, turns), 0,
	 "How many packets may be taken without looking at anything else; each "
	 "counts one down. After that it is 64 again until the turn ends."},
	{"ends", T_LONGLONG, offsetof(struct reader, ends), 0,
	 "When the turn ends, in nanoseconds of the monotonic clock; 0: with "
	 "the packets that turns has left."},
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
