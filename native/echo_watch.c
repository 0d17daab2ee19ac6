/* SPDX-License-Identifier: MIT */
/* EchoWatch: the last round trips of one host, noted as its probes end. */
#include "echo_watch.h"

#include "critical.h"

#include <math.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>

enum { FIRST_ROOM = 16 };

static int
read_target(struct echo_watch *self)
{
	Py_ssize_t length;
	unsigned int scope;
	const char *packed;
	PyObject *host;

	if (!PyArg_ParseTuple(self->target, "Uy#I", &host, &packed, &length,
			      &scope))
		return -1;
	if (length != 4 && length != ECHO_ADDRESS) {
		PyErr_SetString(PyExc_ValueError,
				"an address has 4 or 16 bytes");
		return -1;
	}
	if (PyUnicode_GetLength(host) > 0)
		self->host = host;
	self->scope = scope;
	self->version = length == 4 ? 4 : 6;
	memcpy(self->address, packed, (size_t)length);
	return 0;
}

static PyObject *
watch_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"target", "window", NULL};
	PyObject *target;
	Py_ssize_t window;
	struct echo_watch *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!n:EchoWatch", names,
					 &PyTuple_Type, &target, &window))
		return NULL;
	if (window < 1) {
		PyErr_SetString(PyExc_ValueError, "window is 1 or more");
		return NULL;
	}
	self = (struct echo_watch *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->target = Py_NewRef(target);
	self->window = (size_t)window;
	if (read_target(self) < 0)
		Py_CLEAR(self);
	return (PyObject *)self;
}

static void
watch_dealloc(PyObject *op)
{
	struct echo_watch *self = (struct echo_watch *)op;
	PyTypeObject *type = Py_TYPE(op);

	Py_XDECREF(self->target);
	PyMem_Free(self->rtts);
	PyObject_Free(self);
	Py_DECREF(type);
}

/* The ring grows before it goes round: what is in it stays where it is. */
static int
make_room(struct echo_watch *watch)
{
	size_t room = watch->room > 0 ? 2 * watch->room : FIRST_ROOM;
	double *rtts;

	if (watch->sent < watch->room || watch->room == watch->window)
		return 0;
	if (room > watch->window)
		room = watch->window;
	rtts = PyMem_Realloc(watch->rtts, room * sizeof(*rtts));
	if (rtts == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	watch->rtts = rtts;
	watch->room = room;
	return 0;
}

static int
add(struct echo_watch *watch, double rtt)
{
	if (make_room(watch) < 0)
		return -1;
	watch->rtts[watch->sent % watch->room] = rtt < 0 ? NAN : rtt;
	watch->sent++;
	watch->received += rtt >= 0;
	return 0;
}

int
echo_watch_add(struct echo_watch *watch, double rtt)
{
	int failed;

	BEGIN(watch);
	failed = add(watch, rtt);
	END();
	return failed;
}

static PyObject *
watch_rtts(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	const struct echo_watch *self = (struct echo_watch *)op;
	/* As of now: with the list the garbage collector may run, and note more. */
	uint64_t end = self->sent;
	uint64_t first = end > self->window ? end - self->window : 0;
	PyObject *found = PyList_New((Py_ssize_t)(end - first));

	for (uint64_t at = first; found != NULL && at < end; at++) {
		PyObject *rtt =
			PyFloat_FromDouble(self->rtts[at % self->room]);

		if (rtt == NULL)
			Py_CLEAR(found);
		else
			PyList_SetItem(found, (Py_ssize_t)(at - first), rtt);
	}
	return found;
}

static char watch_doc[] =
"EchoWatch(target, window)\n"
"--\n"
"\n"
"A host that gets one probe after the other, and what became of the last ones.\n"
"\n"
"As an item of EchoTable.send() it is the next probe to it; what the probe ends\n"
"by is noted as it does.\n"
"\n"
"Args:\n"
"    target: (host, packed, scope), as send() takes it.\n"
"    window: Probes that are remembered, from 1.";

static PyMemberDef watch_members[] = {
	{"target", T_OBJECT_EX, offsetof(struct echo_watch, target), READONLY,
	 "Where the probes go."},
	{"sequence", T_UINT, offsetof(struct echo_watch, sequence), READONLY,
	 "Of the next probe, from 0."},
	{"sent", T_ULONGLONG, offsetof(struct echo_watch, sent), READONLY,
	 "Probes that have had their end."},
	{"received", T_ULONGLONG, offsetof(struct echo_watch, received),
	 READONLY, "Replies to them."},
	{NULL, 0, 0, 0, NULL},
};

DEFINE_ALONE(watch_rtts)

static PyMethodDef watch_methods[] = {
	{"rtts", ALONE(watch_rtts), METH_NOARGS,
	 "rtts($self, /)\n--\n\n"
	 "Seconds of the last round trips, oldest first; NaN: no reply."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot watch_slots[] = {
	{Py_tp_doc, watch_doc},
	{Py_tp_new, watch_construct},
	{Py_tp_dealloc, watch_dealloc},
	{Py_tp_members, watch_members},
	{Py_tp_methods, watch_methods},
	{0, NULL},
};

PyType_Spec echo_watch_spec = {
	.name = "aioprocket._system._native.EchoWatch",
	.basicsize = sizeof(struct echo_watch),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = watch_slots,
};
