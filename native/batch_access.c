/* SPDX-License-Identifier: MIT */
/* A batch as a sequence of packets. */
#include "batch_access.h"

#include "batch_type.h"
#include "critical.h"
#include "packet.h"

/* By turns: the caller's loop still has the one when it asks for the next. */
enum { TURNS = 2 };

/* Packets ahead whose first bytes are fetched: a large block is in no near cache. */
enum { FETCH = 4 };

struct batch_iterator {
	PyObject_HEAD
	struct batch *batch;
	Py_ssize_t at;
	PyObject *packets[TURNS];
};

static void
look_up(const struct batch *self, Py_ssize_t at, struct frame *frame)
{
	frame->header = batch_header(self, at);
	frame->bytes = self->slab->memory + self->columns->offsets[at];
	frame->length = self->columns->lens[at];
}

Py_ssize_t
batch_length(PyObject *op)
{
	return ((struct batch *)op)->count;
}

/* at is not negative: who calls it by index has added the length. */
PyObject *
batch_item(PyObject *op, Py_ssize_t at)
{
	struct batch *self = (struct batch *)op;
	struct frame frame;

	if (at < 0 || at >= self->count) {
		PyErr_SetString(PyExc_IndexError, "batch index out of range");
		return NULL;
	}
	if (self->slab == NULL)
		return Py_NewRef(PyList_GetItem(self->packets, at));
	look_up(self, at, &frame);
	return (PyObject *)packet_place(self->state->packet_type, self->slab,
					&frame, self->serial + (uint64_t)at);
}

static PyObject *
slice(PyObject *op, PyObject *key)
{
	struct batch *self = (struct batch *)op;
	Py_ssize_t start, stop, step, count;
	PyObject *list;

	if (PySlice_Unpack(key, &start, &stop, &step) < 0)
		return NULL;
	count = PySlice_AdjustIndices(self->count, &start, &stop, step);
	list = PyList_New(count);
	for (Py_ssize_t at = 0; list != NULL && at < count; at++) {
		PyObject *packet = batch_item(op, start + at * step);

		if (packet == NULL || PyList_SetItem(list, at, packet) < 0)
			Py_CLEAR(list);
	}
	return list;
}

PyObject *
batch_subscript(PyObject *op, PyObject *key)
{
	Py_ssize_t at;

	if (PySlice_Check(key))
		return slice(op, key);
	at = PyNumber_AsSsize_t(key, PyExc_IndexError);
	if (at == -1 && PyErr_Occurred())
		return NULL;
	return batch_item(op, at < 0 ? at + batch_length(op) : at);
}

/* Its first place from start on; -1 nowhere. */
static Py_ssize_t
find(struct batch *self, PyObject *value, Py_ssize_t start, Py_ssize_t stop)
{
	uint64_t serial;

	if (Py_TYPE(value) != self->state->packet_type)
		return -1;
	serial = ((struct packet *)value)->serial;
	if (self->slab != NULL) {
		Py_ssize_t at = (Py_ssize_t)(serial - self->serial);

		return serial != 0 && at >= start && at < stop ? at : -1;
	}
	for (Py_ssize_t at = start; at < stop; at++) {
		PyObject *packet = PyList_GetItem(self->packets, at);

		if (packet == value ||
		    (serial != 0 &&
		     ((struct packet *)packet)->serial == serial))
			return at;
	}
	return -1;
}

int
batch_contains(PyObject *op, PyObject *packet)
{
	struct batch *self = (struct batch *)op;

	return find(self, packet, 0, self->count) >= 0;
}

const char batch_index_doc[] =
"index($self, packet, start=0, stop=sys.maxsize, /)\n"
"--\n"
"\n"
"Return the place of a packet.\n"
"\n"
"Raises:\n"
"    ValueError: It is not in there.";

static Py_ssize_t
clip(Py_ssize_t at, Py_ssize_t count)
{
	if (at < 0)
		at += count;
	return at < 0 ? 0 : at > count ? count : at;
}

PyObject *
batch_index(PyObject *op, PyObject *args)
{
	struct batch *self = (struct batch *)op;
	Py_ssize_t start = 0, stop = PY_SSIZE_T_MAX, at;
	PyObject *packet;

	if (!PyArg_ParseTuple(args, "O|nn:index", &packet, &start, &stop))
		return NULL;
	at = find(self, packet, clip(start, self->count),
		  clip(stop, self->count));
	if (at < 0) {
		PyErr_Format(PyExc_ValueError, "%R is not in the batch", packet);
		return NULL;
	}
	return PyLong_FromSsize_t(at);
}

const char batch_count_doc[] =
"count($self, packet, /)\n"
"--\n"
"\n"
"Return how often a packet is in there.";

PyObject *
batch_count(PyObject *op, PyObject *packet)
{
	struct batch *self = (struct batch *)op;
	Py_ssize_t at = -1, count = 0;

	while ((at = find(self, packet, at + 1, self->count)) >= 0)
		count++;
	return PyLong_FromSsize_t(count);
}

/* Iteration */

PyObject *
batch_iter(PyObject *op)
{
	struct batch *batch = (struct batch *)op;
	struct batch_iterator *self;

	if (batch->slab == NULL)
		return PyObject_GetIter(batch->packets);
	self = PyObject_New(struct batch_iterator,
			    batch->state->batch_iterator_type);
	if (self == NULL)
		return NULL;
	self->batch = (struct batch *)Py_NewRef(op);
	self->at = 0;
	for (int turn = 0; turn < TURNS; turn++)
		self->packets[turn] = NULL;
	return (PyObject *)self;
}

static PyObject *
next(PyObject *op)
{
	struct batch_iterator *self = (struct batch_iterator *)op;
	struct batch *batch = self->batch;
	PyObject **turn = &self->packets[self->at % TURNS];
	struct frame frame;
	uint64_t serial;

	if (self->at >= batch->count)
		return NULL;
	look_up(batch, self->at, &frame);
	if (self->at + FETCH < batch->count)
		__builtin_prefetch(batch->slab->memory +
				   batch->columns->offsets[self->at + FETCH]);
	serial = batch->serial + (uint64_t)self->at++;
	if (*turn != NULL &&
	    packet_is_ours((struct packet *)*turn, batch->slab)) {
		packet_replace((struct packet *)*turn, &frame, serial);
		return Py_NewRef(*turn);
	}
	Py_XDECREF(*turn);
	*turn = (PyObject *)packet_place(batch->state->packet_type,
					 batch->slab, &frame, serial);
	return Py_XNewRef(*turn);
}

static PyObject *
iterator_next(PyObject *op)
{
	PyObject *packet;

	BEGIN(op);
	packet = next(op);
	END();
	return packet;
}

static void
iterator_dealloc(PyObject *op)
{
	struct batch_iterator *self = (struct batch_iterator *)op;
	PyTypeObject *type = Py_TYPE(op);

	for (int turn = 0; turn < TURNS; turn++)
		Py_XDECREF(self->packets[turn]);
	Py_DECREF(self->batch);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyType_Slot iterator_slots[] = {
	{Py_tp_dealloc, iterator_dealloc},
	{Py_tp_iter, PyObject_SelfIter},
	{Py_tp_iternext, iterator_next},
	{0, NULL},
};

PyType_Spec batch_iterator_spec = {
	.name = "aioprocket._system._native.BatchIterator",
	.basicsize = sizeof(struct batch_iterator),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = iterator_slots,
};
