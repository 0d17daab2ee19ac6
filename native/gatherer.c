/* SPDX-License-Identifier: MIT */
/*
 * Gatherer: packets that wait for each other, to be sent by one system call.
 *
 * Only what a Sender will take is gathered: bytes, which cannot change
 * meanwhile, to a plain address or to none.
 */
#include "gatherer.h"

#include "sender.h"

#include <stddef.h>
#include <structmember.h>

enum { GATHERED = 64 };

struct gatherer {
	PyObject_HEAD
	struct sender *sender;
	PyObject *items;	/* list of (data, addr) */
	char open;
};

static bool
is_plain(struct gatherer *self, PyObject *addr)
{
	struct sender *sender = self->sender;
	union address name;

	return Py_IsNone(addr) ||
	       destination_find(&sender->known, sender->family, addr, &name) > 0;
}

static PyObject *
gather(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
	struct gatherer *self = (struct gatherer *)op;
	PyObject *item;
	int failed;

	if (count != 2) {
		PyErr_SetString(PyExc_TypeError, "gather takes data and address");
		return NULL;
	}
	if (!self->open || PyList_Size(self->items) >= GATHERED ||
	    !PyBytes_CheckExact(args[0]) || !is_plain(self, args[1]))
		Py_RETURN_FALSE;
	item = PyTuple_Pack(2, args[0], args[1]);
	if (item == NULL)
		return NULL;
	failed = PyList_Append(self->items, item);
	Py_DECREF(item);
	if (failed)
		return NULL;
	Py_RETURN_TRUE;
}

static PyObject *
take(PyObject *op, PyObject *unused)
{
	struct gatherer *self = (struct gatherer *)op;
	PyObject *items = PyList_AsTuple(self->items);

	(void)unused;
	if (items != NULL &&
	    PyList_SetSlice(self->items, 0, PyList_Size(self->items), NULL) < 0)
		Py_CLEAR(items);
	return items;
}

static PyObject *
gatherer_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"sender", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	struct gatherer *self;
	PyObject *sender;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:Gatherer", names,
					 state->sender_type, &sender))
		return NULL;
	self = (struct gatherer *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->sender = (struct sender *)Py_NewRef(sender);
	self->items = PyList_New(0);
	if (self->items == NULL) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void
gatherer_dealloc(PyObject *op)
{
	struct gatherer *self = (struct gatherer *)op;
	PyTypeObject *type = Py_TYPE(op);

	Py_XDECREF((PyObject *)self->sender);
	Py_XDECREF(self->items);
	PyObject_Free(self);
	Py_DECREF(type);
}

static Py_ssize_t
gatherer_length(PyObject *op)
{
	return PyList_Size(((struct gatherer *)op)->items);
}

static char gatherer_doc[] =
"Gatherer(sender)\n"
"--\n"
"\n"
"Packets that are to be sent together by a Sender, 64 at most.";

static PyMemberDef gatherer_members[] = {
	{"open", T_BOOL, offsetof(struct gatherer, open), 0,
	 "Whether packets are taken."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef gatherer_methods[] = {
	{"gather", (PyCFunction)(void (*)(void))gather, METH_FASTCALL,
	 "gather($self, data, addr, /)\n--\n\n"
	 "Return whether the packet was taken: room is left, it is bytes, and "
	 "the address is None or a plain tuple of an inet socket."},
	{"take", take, METH_NOARGS,
	 "take($self, /)\n--\n\nGive away what was gathered: data and address "
	 "of each."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot gatherer_slots[] = {
	{Py_tp_doc, gatherer_doc},
	{Py_tp_new, gatherer_construct},
	{Py_tp_dealloc, gatherer_dealloc},
	{Py_tp_members, gatherer_members},
	{Py_tp_methods, gatherer_methods},
	{Py_sq_length, gatherer_length},
	{0, NULL},
};

PyType_Spec gatherer_spec = {
	.name = "aioprocket._system._native.Gatherer",
	.basicsize = sizeof(struct gatherer),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = gatherer_slots,
};
