/* SPDX-License-Identifier: MIT */
/*
 * Ring: packets out of memory that the kernel shares, without a system call
 * for them and without a copy.
 */
#include "ring.h"

#include "critical.h"
#include "delivery.h"

#include <stddef.h>
#include <structmember.h>
#include <unistd.h>

static int
check_geometry(size_t block_size, unsigned long blocks)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (block_size == 0 || block_size % page != 0 || blocks < 2 ||
	    blocks > UINT32_MAX || block_size > UINT32_MAX) {
		PyErr_Format(PyExc_ValueError,
			     "a ring has at least 2 blocks of whole pages, "
			     "not %lu of %zu", blocks, block_size);
		return -1;
	}
	return 0;
}

static PyObject *
ring_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"fd", "block_size", "blocks", "snaplen", NULL};
	unsigned long blocks = 0;
	Py_ssize_t block_size = 0;
	unsigned int snaplen = UINT32_MAX;
	struct ring *self;
	int fd;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|$nkI:Ring", names,
					 &fd, &block_size, &blocks, &snaplen))
		return NULL;
	if (check_geometry((size_t)block_size, blocks) < 0)
		return NULL;
	self = (struct ring *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->state = PyType_GetModuleState(type);
	self->fd = fd;
	self->process = lineage_here();
	self->block_size = (size_t)block_size;
	self->blocks = (uint32_t)blocks;
	self->snaplen = snaplen;
	if (ring_map(self) < 0) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void
ring_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	ring_unmap((struct ring *)op);
	PyObject_Free(op);
	Py_DECREF(type);
}

static int
parse_count(PyObject *argument, Py_ssize_t *count)
{
	*count = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
	if (*count == -1 && PyErr_Occurred())
		return -1;
	if (*count < 1) {
		PyErr_Format(PyExc_ValueError,
			     "count must be at least 1, not %zd", *count);
		return -1;
	}
	return 0;
}

static PyObject *
method_receive(PyObject *op, PyObject *argument)
{
	PyObject *packets;
	Py_ssize_t count;

	if (parse_count(argument, &count) < 0)
		return NULL;
	BEGIN(op);
	packets = ring_receive((struct ring *)op, count);
	END();
	return packets;
}

static PyObject *
method_take(PyObject *op, PyObject *argument)
{
	PyObject *batch;
	Py_ssize_t count = PY_SSIZE_T_MAX;

	if (argument != Py_None && parse_count(argument, &count) < 0)
		return NULL;
	BEGIN(op);
	batch = ring_take((struct ring *)op, count);
	END();
	return batch;
}

static PyObject *
method_dispatch(PyObject *op, PyObject *args)
{
	struct ring *self = (struct ring *)op;
	PyObject *delivery, *callback;
	Py_ssize_t budget;
	long long nanoseconds;
	int datagrams, failed;

	if (!PyArg_ParseTuple(args, "O!OnpL:dispatch",
			      self->state->delivery_type, &delivery, &callback,
			      &budget, &datagrams, &nanoseconds))
		return NULL;
	BEGIN(op);
	failed = ring_dispatch(self, (struct delivery *)delivery, callback,
			       datagrams != 0, nanoseconds);
	END();
	if (failed < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *
method_forget(PyObject *op, PyObject *unused)
{
	struct ring *self = (struct ring *)op;

	(void)unused;
	BEGIN(op);
	if (self->slabs != NULL && lineage_here() == self->process)
		ring_forget(self);
	END();
	Py_RETURN_NONE;
}

static PyObject *
method_look(PyObject *op, PyObject *unused)
{
	int found;

	(void)unused;
	BEGIN(op);
	found = ring_open_block((struct ring *)op, false);
	END();
	return found < 0 ? NULL : PyBool_FromLong(found);
}

static PyObject *
method_close(PyObject *op, PyObject *unused)
{
	(void)unused;
	BEGIN(op);
	ring_unmap((struct ring *)op);
	END();
	Py_RETURN_NONE;
}

static PyObject *
get_held(PyObject *op, void *closure)
{
	Py_ssize_t held;

	(void)closure;
	BEGIN(op);
	held = ring_held((struct ring *)op);
	END();
	return PyLong_FromSsize_t(held);
}

static PyObject *
get_queued(PyObject *op, void *closure)
{
	unsigned long long queued;

	(void)closure;
	BEGIN(op);
	queued = ring_queued((struct ring *)op);
	END();
	return PyLong_FromUnsignedLongLong(queued);
}

static PyObject *
get_filling(PyObject *op, void *closure)
{
	Py_ssize_t filling;

	(void)closure;
	BEGIN(op);
	filling = ring_filling((struct ring *)op);
	END();
	return PyLong_FromSsize_t(filling);
}

static PyObject *
get_waiting(PyObject *op, void *closure)
{
	struct waiting waiting;

	(void)closure;
	BEGIN(op);
	waiting = ring_waiting((struct ring *)op);
	END();
	return Py_BuildValue("IK", waiting.blocks, waiting.bytes);
}

static char ring_doc[] =
"Ring(fd, *, block_size, blocks, snaplen=4294967295)\n"
"--\n"
"\n"
"Packets out of the TPACKET_V3 ring of a packet socket.\n"
"\n"
"Args:\n"
"    fd: A socket whose ring was made, and which outlives this.\n"
"    block_size: Bytes, as the ring was made.\n"
"    blocks: How many, as the ring was made.\n"
"    snaplen: Bytes shown of each packet.\n"
"\n"
"Raises:\n"
"    OSError: ``ENOMEM``: there is no room to map it. ``EBADF``, from a method:\n"
"        it is closed, or this is a fork of the process that made it.\n"
"    ValueError: There can be no such ring.";

static char receive_doc[] =
"receive($self, count, /)\n"
"--\n"
"\n"
"Return up to count packets that wait, oldest first, without waiting.\n"
"\n"
"A list ends with its block, so a short one does not mean that all is read.\n"
"\n"
"Raises:\n"
"    OSError: What happened to the socket (``ENETDOWN``), once, and only when\n"
"        there are no packets.";

static char take_doc[] =
"take($self, count, /)\n"
"--\n"
"\n"
"Return the rest of the oldest block as a Batch; None: nothing waits.\n"
"\n"
"Args:\n"
"    count: Packets at most; None: as many as there are.\n"
"\n"
"Raises:\n"
"    OSError: As receive().";

static char dispatch_doc[] =
"dispatch($self, delivery, callback, budget, datagrams, nanoseconds, /)\n"
"--\n"
"\n"
"Call back for each packet, as Receiver.dispatch() does.\n"
"\n"
"Time is all that bounds it: budget is not looked at, and what is not delivered\n"
"stays in the ring.\n"
"\n"
"Raises:\n"
"    What the callback raises: delivery.calling is true then.\n"
"    And what receive() raises, if there was no packet before it.";

static PyMemberDef ring_members[] = {
	{"packets", T_ULONGLONG, offsetof(struct ring, packets), READONLY,
	 "Packets received so far."},
	{"bytes", T_ULONGLONG, offsetof(struct ring, bytes), READONLY,
	 "Bytes of data in them, without what was cut off."},
	{"truncated", T_ULONGLONG, offsetof(struct ring, truncated), READONLY,
	 "How many of them were cut."},
	{"damaged", T_ULONGLONG, offsetof(struct ring, damaged), READONLY,
	 "How many could not be read, because their block was inconsistent."},
	{NULL, 0, 0, 0, NULL},
};

static PyGetSetDef ring_getset[] = {
	{"held", get_held, NULL,
	 "Packets in blocks that were read and that the kernel does not have "
	 "back: a batch, or a view of the memory, keeps them.", NULL},
	{"queued", get_queued, NULL,
	 "Bytes that waiting packets take in the ring.", NULL},
	{"filling", get_filling, NULL,
	 "Packets in the block that the kernel has not handed over yet.", NULL},
	{"waiting", get_waiting, NULL,
	 "Blocks that the kernel has handed over and that were not read to "
	 "their end, and the bytes that packets take in them.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef ring_methods[] = {
	{"receive", method_receive, METH_O, receive_doc},
	{"take", method_take, METH_O, take_doc},
	{"dispatch", method_dispatch, METH_VARARGS, dispatch_doc},
	{"forget", method_forget, METH_NOARGS,
	 "forget($self, /)\n--\n\nThrow away what waits; nothing may come "
	 "meanwhile."},
	{"look", method_look, METH_NOARGS,
	 "look($self, /)\n--\n\nReturn whether a packet waits. If none does, "
	 "the socket is not readable before one comes. What happened to the "
	 "socket is left for receive() to raise."},
	{"close", method_close, METH_NOARGS,
	 "close($self, /)\n--\n\nUnmap the ring, before its socket is closed. "
	 "Packets, batches and views stay valid."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot ring_slots[] = {
	{Py_tp_doc, ring_doc},
	{Py_tp_new, ring_construct},
	{Py_tp_dealloc, ring_dealloc},
	{Py_tp_members, ring_members},
	{Py_tp_getset, ring_getset},
	{Py_tp_methods, ring_methods},
	{0, NULL},
};

PyType_Spec ring_spec = {
	.name = "aioprocket._system._native.Ring",
	.basicsize = sizeof(struct ring),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = ring_slots,
};
