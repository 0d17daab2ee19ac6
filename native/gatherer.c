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

static bool
is_plain(struct gatherer *self, PyObject *addr)
{
	struct sender *sender = self->sender;
	union address name;

	return Py_IsNone(addr) ||
	       destination_find(&sender->known, sender->family, addr, &name) > 0;
}

/* 1: it was taken, 0: it was not, -1 with an exception. */
static int
gather(struct gatherer *self, PyObject *data, PyObject *addr)
{
	PyObject *item;
	int failed;

	if (!self->open || PyList_Size(self->items) >= GATHERED ||
	    !PyBytes_CheckExact(data) || !is_plain(self, addr))
		return 0;
	item = PyTuple_Pack(2, data, addr);
	if (item == NULL)
		return -1;
	failed = PyList_Append(self->items, item);
	Py_DECREF(item);
	return failed < 0 ? -1 : 1;
}

static int
read_names(PyObject *const *args, Py_ssize_t count, PyObject *names,
	   PyObject **data, PyObject **addr)
{
	Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);

	for (Py_ssize_t i = 0; i < named; i++) {
		PyObject *name = PyTuple_GetItem(names, i);

		if (PyUnicode_CompareWithASCIIString(name, "data") == 0 &&
		    *data == NULL)
			*data = args[count + i];
		else if (PyUnicode_CompareWithASCIIString(name, "addr") == 0 &&
			 *addr == NULL)
			*addr = args[count + i];
		else
			return -1;
	}
	return *data == NULL ? -1 : 0;
}

static PyObject *
gatherer_sendto(PyObject *op, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
	struct gatherer *self = (struct gatherer *)op;
	PyObject *data = count > 0 ? args[0] : NULL;
	PyObject *addr = count > 1 ? args[1] : NULL;
	int gathered;

	if (count > 2 || read_names(args, count, names, &data, &addr) < 0) {
		PyErr_SetString(PyExc_TypeError, "sendto(data, addr=None)");
		return NULL;
	}
	if (addr == NULL)
		addr = Py_None;
	gathered = gather(self, data, addr);
	if (gathered < 0)
		return NULL;
	if (gathered > 0)
		Py_RETURN_NONE;
	if (self->otherwise == NULL)	/* the garbage collector was here */
		Py_RETURN_NONE;
	return PyObject_CallFunctionObjArgs(self->otherwise, data, addr, NULL);
}

static PyObject *
try_gather(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
	int gathered;

	if (count != 2) {
		PyErr_SetString(PyExc_TypeError, "gather takes data and address");
		return NULL;
	}
	gathered = gather((struct gatherer *)op, args[0], args[1]);
	return gathered < 0 ? NULL : PyBool_FromLong(gathered);
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
	static char *names[] = {"sender", "otherwise", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	struct gatherer *self;
	PyObject *sender, *otherwise;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O:Gatherer", names,
					 state->sender_type, &sender,
					 &otherwise))
		return NULL;
	self = (struct gatherer *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->sender = (struct sender *)Py_NewRef(sender);
	self->otherwise = Py_NewRef(otherwise);
	self->items = PyList_New(0);
	if (self->items == NULL) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static int
gatherer_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct gatherer *self = (struct gatherer *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->otherwise);
	Py_VISIT(self->items);
	return 0;
}

static int
gatherer_clear(PyObject *op)
{
	struct gatherer *self = (struct gatherer *)op;

	self->open = 0;
	Py_CLEAR(self->otherwise);
	return 0;
}

static void
gatherer_dealloc(PyObject *op)
{
	struct gatherer *self = (struct gatherer *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	Py_XDECREF((PyObject *)self->sender);
	Py_XDECREF(self->otherwise);
	Py_XDECREF(self->items);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static Py_ssize_t
gatherer_length(PyObject *op)
{
	return PyList_Size(((struct gatherer *)op)->items);
}

static char gatherer_doc[] =
"Gatherer(sender, otherwise)\n"
"--\n"
"\n"
"Packets that are to be sent together by a Sender, 64 at most.\n"
"\n"
"Args:\n"
"    otherwise: Called with data and address of what is not gathered.";

static PyMemberDef gatherer_members[] = {
	{"open", T_BOOL, offsetof(struct gatherer, open), 0,
	 "Whether packets are taken."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef gatherer_methods[] = {
	{"sendto", (PyCFunction)(void (*)(void))gatherer_sendto,
	 METH_FASTCALL | METH_KEYWORDS,
	 "sendto($self, /, data, addr=None)\n--\n\n"
	 "Gather a packet, or have it sent otherwise."},
	{"gather", (PyCFunction)(void (*)(void))try_gather, METH_FASTCALL,
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
	{Py_tp_traverse, gatherer_traverse},
	{Py_tp_clear, gatherer_clear},
	{Py_tp_members, gatherer_members},
	{Py_tp_methods, gatherer_methods},
	{Py_sq_length, gatherer_length},
	{0, NULL},
};

PyType_Spec gatherer_spec = {
	.name = "aioprocket._system._native.Gatherer",
	.basicsize = sizeof(struct gatherer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = gatherer_slots,
};
