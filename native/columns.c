/* SPDX-License-Identifier: MIT */
/*
 * Columns: memory with one item for each packet of a batch, and the object
 * that shows it to Python as a buffer.
 *
 * A batch of a megabyte needs some 200 KiB of them.  From malloc() that is a
 * mapping of its own, whose pages fault again in each batch: the last few are
 * kept and used again.
 */
#include "columns.h"

#include "module.h"

#include <stdlib.h>
#include <string.h>

/* items is in owner's columns, or follows in memory of its own. */
struct column {
	PyObject_HEAD
	struct columns *columns;
	void *items;
	const char *format;
	int ndim;
	Py_ssize_t itemsize;
	Py_ssize_t shape[2];
	Py_ssize_t strides[2];
};

static struct columns *
allocate(struct module_state *state, Py_ssize_t capacity)
{
	const size_t each = sizeof(int64_t) + 5 * sizeof(uint32_t);
	struct columns *columns = calloc(1, sizeof(*columns));
	size_t count = (size_t)capacity;

	if (columns == NULL)
		return NULL;
	columns->timestamps_ns = malloc(count * each);
	if (columns->timestamps_ns == NULL) {
		free(columns);
		return NULL;
	}
	columns->lens = (uint32_t *)(columns->timestamps_ns + count);
	columns->offsets = columns->lens + count;
	columns->wire_lens = columns->offsets + count;
	columns->headers = columns->wire_lens + count;
	columns->vlan_tcis = (int32_t *)(columns->headers + count);
	columns->capacity = capacity;
	columns->state = state;
	return columns;
}

static void
release(struct columns *columns)
{
	free(columns->timestamps_ns);
	free(columns);
}

/* Room for count packets, not filled; NULL with an exception. */
struct columns *
columns_new(struct module_state *state, Py_ssize_t count)
{
	struct columns *columns;
	Py_ssize_t capacity = 64;

	pool_lock(&state->columns_lock);
	columns = state->columns;
	if (columns != NULL) {
		state->columns = columns->next;
		state->columns_kept--;
	}
	pool_unlock(&state->columns_lock);
	if (columns != NULL && columns->capacity < count) {
		release(columns);
		columns = NULL;
	}
	while (capacity < count)
		capacity *= 2;
	if (columns == NULL)
		columns = allocate(state, capacity);
	if (columns == NULL) {
		PyErr_NoMemory();
		return NULL;
	}
	columns->users = 1;
	columns->wire_lens_filled = false;
	columns->vlan_tcis_filled = false;
	return columns;
}

void
columns_drop(struct columns *columns)
{
	struct module_state *state = columns->state;
	Py_ssize_t users;

	pool_lock(&state->columns_lock);
	users = --columns->users;
	if (users == 0 && state->columns_kept < COLUMNS_KEPT) {
		columns->next = state->columns;
		state->columns = columns;
		state->columns_kept++;
		columns = NULL;
	}
	pool_unlock(&state->columns_lock);
	if (users == 0 && columns != NULL)
		release(columns);
}

void
columns_free_kept(struct module_state *state)
{
	while (state->columns != NULL) {
		struct columns *columns = state->columns;

		state->columns = columns->next;
		release(columns);
	}
}

/* The object */

static struct column *
new_column(struct module_state *state, Py_ssize_t count, const char *format)
{
	struct column *self = PyObject_New(struct column, state->column_type);

	if (self == NULL)
		return NULL;
	self->columns = NULL;
	self->items = NULL;
	self->format = format;
	self->ndim = 1;
	self->itemsize = *format == 'q' || *format == 'Q' ? 8 :
			 *format == 'I' || *format == 'i' ? 4 :
			 *format == 'H' ? 2 : 1;
	self->shape[0] = count;
	self->strides[0] = self->itemsize;
	return self;
}

static PyObject *
view_and_drop(struct column *self)
{
	PyObject *view = PyMemoryView_FromObject((PyObject *)self);

	Py_DECREF(self);
	return view;
}

/* A memoryview of one of the columns, which it keeps. */
PyObject *
column_view(struct columns *columns, void *items, Py_ssize_t count,
	    const char *format)
{
	struct column *self = new_column(columns->state, count, format);

	if (self == NULL)
		return NULL;
	pool_lock(&columns->state->columns_lock);
	columns->users++;
	pool_unlock(&columns->state->columns_lock);
	self->columns = columns;
	self->items = items;
	return view_and_drop(self);
}

/*
 * A memoryview of new memory, zeroed, which the caller fills before anybody
 * else sees it.  width 0: numbers as format says; else rows of width bytes.
 */
PyObject *
column_new(struct module_state *state, Py_ssize_t count, Py_ssize_t width,
	   const char *format, void **items)
{
	struct column *self = new_column(state, count, format);
	size_t row;

	if (self == NULL)
		return NULL;
	if (width > 0) {
		self->ndim = 2;
		self->shape[1] = width;
		self->strides[0] = width;
		self->strides[1] = 1;
	}
	row = (size_t)self->strides[0];
	self->items = calloc((size_t)count + 1, row);
	if (self->items == NULL) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	*items = self->items;
	return view_and_drop(self);
}

static void
column_dealloc(PyObject *op)
{
	struct column *self = (struct column *)op;
	PyTypeObject *type = Py_TYPE(op);

	if (self->columns != NULL)
		columns_drop(self->columns);
	else
		free(self->items);
	PyObject_Free(self);
	Py_DECREF(type);
}

static int
column_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	struct column *self = (struct column *)op;

	if (flags & PyBUF_WRITABLE) {
		PyErr_SetString(PyExc_BufferError, "a column is read-only");
		return -1;
	}
	view->buf = self->items;
	view->obj = Py_NewRef(op);
	view->len = self->shape[0] * self->strides[0];
	view->itemsize = self->itemsize;
	view->readonly = 1;
	view->ndim = self->ndim;
	view->format = NULL;
	if (flags & PyBUF_FORMAT)
		view->format = (char *)(uintptr_t)self->format;
	view->shape = flags & PyBUF_ND ? self->shape : NULL;
	view->strides = NULL;
	if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES)
		view->strides = self->strides;
	view->suboffsets = NULL;
	view->internal = NULL;
	return 0;
}

static char column_doc[] = "Memory behind a column of a batch.";

static PyType_Slot column_slots[] = {
	{Py_tp_doc, column_doc},
	{Py_tp_dealloc, column_dealloc},
	{Py_bf_getbuffer, column_getbuffer},
	{0, NULL},
};

PyType_Spec column_spec = {
	.name = "aioprocket._system._native.Column",
	.basicsize = sizeof(struct column),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = column_slots,
};
