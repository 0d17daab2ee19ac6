/* SPDX-License-Identifier: MIT */
/*
 * What "async for packet in channel" asks for one coroutine after the other.
 */
#include "iterator.h"

struct iterator {
	PyObject_HEAD
	struct reader *reader;
	PyObject *channel;
	PyObject *count;
	enum what what;
};

PyObject *
iterator_new(struct reader *reader, PyObject *channel, enum what what,
	     PyObject *count)
{
	struct iterator *self = PyObject_GC_New(
		struct iterator, reader_state(reader)->iterator_type);

	if (self == NULL)
		return NULL;
	self->reader = (struct reader *)Py_NewRef((PyObject *)reader);
	self->channel = Py_NewRef(channel);
	self->count = Py_XNewRef(count);
	self->what = what;
	PyObject_GC_Track((PyObject *)self);
	return (PyObject *)self;
}

static PyObject *
iterator_anext(PyObject *op)
{
	struct iterator *self = (struct iterator *)op;

	return coroutine_new(self->reader, self->channel, self->what,
			     self->count);
}

static PyObject *
iterator_aiter(PyObject *op)
{
	return Py_NewRef(op);
}

static int
iterator_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct iterator *self = (struct iterator *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT((PyObject *)self->reader);
	Py_VISIT(self->channel);
	Py_VISIT(self->count);
	return 0;
}

static void
iterator_dealloc(PyObject *op)
{
	struct iterator *self = (struct iterator *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	Py_DECREF((PyObject *)self->reader);
	Py_DECREF(self->channel);
	Py_XDECREF(self->count);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static PyType_Slot iterator_slots[] = {
	{Py_tp_doc, "The packets of a channel, or its batches. Made by a Reader."},
	{Py_tp_dealloc, iterator_dealloc},
	{Py_tp_traverse, iterator_traverse},
	{Py_am_aiter, iterator_aiter},
	{Py_am_anext, iterator_anext},
	{0, NULL},
};

PyType_Spec iterator_spec = {
	.name = "aioprocket._system._native.Iterator",
	.basicsize = sizeof(struct iterator),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = iterator_slots,
};
