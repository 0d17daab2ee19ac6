/* SPDX-License-Identifier: MIT */
/*
 * A packet's bytes as Python's protocols show them, without a copy of them
 * all; and which packets are the same.
 */
#include "packet.h"

static PyObject *
slice(struct packet *self, PyObject *key)
{
	Py_ssize_t start, stop, step, count;
	PyObject *whole, *part;

	if (PySlice_Unpack(key, &start, &stop, &step) < 0)
		return NULL;
	count = PySlice_AdjustIndices(self->length, &start, &stop, step);
	if (step == 1)
		return PyBytes_FromStringAndSize(
			(const char *)self->bytes + start, count);
	whole = packet_data(self);
	if (whole == NULL)
		return NULL;
	part = PyObject_GetItem(whole, key);
	Py_DECREF(whole);
	return part;
}

/* As bytes have it. */
PyObject *
packet_subscript(PyObject *op, PyObject *key)
{
	struct packet *self = (struct packet *)op;
	Py_ssize_t at;

	if (PySlice_Check(key))
		return slice(self, key);
	at = PyNumber_AsSsize_t(key, PyExc_IndexError);
	if (at == -1 && PyErr_Occurred())
		return NULL;
	if (at < 0)
		at += self->length;
	if (at < 0 || at >= self->length) {
		PyErr_SetString(PyExc_IndexError, "packet index out of range");
		return NULL;
	}
	return PyLong_FromLong(self->bytes[at]);
}

int
packet_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	struct packet *self = (struct packet *)op;
	void *bytes = (void *)(uintptr_t)self->bytes;

	if (PyBuffer_FillInfo(view, op, bytes, self->length, 1, flags) < 0)
		return -1;
	view->internal = self->slab;
	if (self->slab != NULL) {
		self->exports++;
		self->slab->exports++;
	}
	return 0;
}

void
packet_releasebuffer(PyObject *op, Py_buffer *view)
{
	struct packet *self = (struct packet *)op;

	if (view->internal == NULL)
		return;
	self->exports--;
	self->slab->exports--;
	slab_settle(self->slab);
}

PyObject *
packet_compare(PyObject *one, PyObject *other, int operation)
{
	uint64_t serial = ((struct packet *)one)->serial;
	int equal = one == other;

	if (Py_TYPE(one) != Py_TYPE(other) ||
	    (operation != Py_EQ && operation != Py_NE))
		Py_RETURN_NOTIMPLEMENTED;
	if (serial != 0 && serial == ((struct packet *)other)->serial)
		equal = 1;
	return PyBool_FromLong(equal == (operation == Py_EQ));
}

Py_hash_t
packet_hash(PyObject *op)
{
	uint64_t serial = ((struct packet *)op)->serial;

	if (serial != 0)
		return (Py_hash_t)(serial >> 1);
	/* As objects have it: addresses are multiples of 16. */
	return (Py_hash_t)((uintptr_t)op >> 4);
}
