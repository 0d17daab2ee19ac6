/* SPDX-License-Identifier: MIT */
/*
 * Backlog: packets that were read and are not delivered yet.
 *
 * A deque would do, but for what C has to pay to reach into one, once a packet.
 */
#include "backlog.h"

#include "critical.h"

static PyObject **
place(const struct backlog *self, size_t index)
{
	return &self->items[(self->first + index) & (self->room - 1)];
}

/* Room for one more: 0, or -1 with an exception. */
static int
grow(struct backlog *self)
{
	size_t room = self->room > 0 ? 2 * self->room : 64;
	PyObject **items;

	if (self->count < self->room)
		return 0;
	items = PyMem_Malloc(room * sizeof(PyObject *));
	if (items == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	for (size_t i = 0; i < self->count; i++)
		items[i] = *place(self, i);
	PyMem_Free(self->items);
	self->items = items;
	self->room = room;
	self->first = 0;
	return 0;
}

static int
append(struct backlog *self, PyObject *packet)
{
	if (grow(self) < 0)
		return -1;
	*place(self, self->count) = Py_NewRef(packet);
	self->count++;
	return 0;
}

int
backlog_append(struct backlog *self, PyObject *packet)
{
	int failed;

	BEGIN(self);
	failed = append(self, packet);
	END();
	return failed;
}

static int
prepend(struct backlog *self, PyObject *packet)
{
	if (grow(self) < 0)
		return -1;
	self->first = (self->first - 1) & (self->room - 1);
	*place(self, 0) = Py_NewRef(packet);
	self->count++;
	return 0;
}

static PyObject *
pop(struct backlog *self)
{
	PyObject *packet;

	if (self->count == 0)
		return NULL;
	packet = *place(self, 0);
	self->first = (self->first + 1) & (self->room - 1);
	self->count--;
	return packet;
}

/* Before all others. */
int
backlog_prepend(struct backlog *self, PyObject *packet)
{
	int failed;

	BEGIN(self);
	failed = prepend(self, packet);
	END();
	return failed;
}

/* The oldest, which is the caller's then; NULL, without an exception: none. */
PyObject *
backlog_pop(struct backlog *self)
{
	PyObject *packet;

	BEGIN(self);
	packet = pop(self);
	END();
	return packet;
}

/* Python's side */

static PyObject *
extend(PyObject *op, PyObject *packets)
{
	struct backlog *self = (struct backlog *)op;
	PyObject *list = PySequence_List(packets);
	Py_ssize_t count = list == NULL ? -1 : PyList_Size(list);

	if (list == NULL)
		return NULL;
	for (Py_ssize_t i = 0; i < count; i++) {
		if (append(self, PyList_GetItem(list, i)) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	Py_DECREF(list);
	Py_RETURN_NONE;
}

static PyObject *
put_back(PyObject *op, PyObject *packets)
{
	struct backlog *self = (struct backlog *)op;
	PyObject *list = PySequence_List(packets);

	if (list == NULL)
		return NULL;
	for (Py_ssize_t i = PyList_Size(list) - 1; i >= 0; i--) {
		if (prepend(self, PyList_GetItem(list, i)) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	Py_DECREF(list);
	Py_RETURN_NONE;
}

static PyObject *
popleft(PyObject *op, PyObject *unused)
{
	PyObject *packet = pop((struct backlog *)op);

	(void)unused;
	if (packet == NULL)
		PyErr_SetString(PyExc_IndexError, "no packet is left");
	return packet;
}

static PyObject *
take(PyObject *op, PyObject *argument)
{
	struct backlog *self = (struct backlog *)op;
	Py_ssize_t count = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
	PyObject *packets;

	if (count == -1 && PyErr_Occurred())
		return NULL;
	if (count < 0)
		count = 0;
	if ((size_t)count > self->count)
		count = (Py_ssize_t)self->count;
	packets = PyList_New(count);
	for (Py_ssize_t i = 0; packets != NULL && i < count; i++)
		PyList_SetItem(packets, i, pop(self));
	return packets;
}

static PyObject *
clear(PyObject *op, PyObject *unused)
{
	PyObject *packet;

	(void)unused;
	while ((packet = pop((struct backlog *)op)) != NULL)
		Py_DECREF(packet);
	Py_RETURN_NONE;
}

static Py_ssize_t
backlog_length(PyObject *op)
{
	return (Py_ssize_t)((struct backlog *)op)->count;
}

static PyObject *
backlog_item(PyObject *op, Py_ssize_t index)
{
	struct backlog *self = (struct backlog *)op;
	PyObject *packet = NULL;

	BEGIN(op);
	if (index >= 0 && (size_t)index < self->count)
		packet = Py_NewRef(*place(self, (size_t)index));
	END();
	if (packet == NULL)
		PyErr_SetString(PyExc_IndexError, "no such packet");
	return packet;
}

static void
backlog_dealloc(PyObject *op)
{
	struct backlog *self = (struct backlog *)op;
	PyTypeObject *type = Py_TYPE(op);
	PyObject *packet;

	while ((packet = pop(self)) != NULL)
		Py_DECREF(packet);
	PyMem_Free(self->items);
	PyObject_Free(self);
	Py_DECREF(type);
}

static char backlog_doc[] =
"Backlog()\n"
"--\n"
"\n"
"Packets that were read and are not delivered yet, oldest first.";

DEFINE_ALONE(extend)
DEFINE_ALONE(put_back)
DEFINE_ALONE(popleft)
DEFINE_ALONE(take)
DEFINE_ALONE(clear)

static PyMethodDef backlog_methods[] = {
	{"extend", ALONE(extend), METH_O,
	 "extend($self, packets, /)\n--\n\nAdd packets after all others."},
	{"put_back", ALONE(put_back), METH_O,
	 "put_back($self, packets, /)\n--\n\nAdd packets before all others, "
	 "in their order."},
	{"popleft", ALONE(popleft), METH_NOARGS,
	 "popleft($self, /)\n--\n\nTake the oldest; IndexError: there is none."},
	{"take", ALONE(take), METH_O,
	 "take($self, count, /)\n--\n\nTake the oldest, count at most, as a list."},
	{"clear", ALONE(clear), METH_NOARGS,
	 "clear($self, /)\n--\n\nThrow all away."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot backlog_slots[] = {
	{Py_tp_doc, backlog_doc},
	{Py_tp_dealloc, backlog_dealloc},
	{Py_tp_methods, backlog_methods},
	{Py_tp_iter, PySeqIter_New},
	{Py_sq_length, backlog_length},
	{Py_sq_item, backlog_item},
	{0, NULL},
};

PyType_Spec backlog_spec = {
	.name = "aioprocket._system._native.Backlog",
	.basicsize = sizeof(struct backlog),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = backlog_slots,
};
