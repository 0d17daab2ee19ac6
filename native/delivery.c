/* SPDX-License-Identifier: MIT */
/*
 * Delivery: how many packets a channel may still deliver, and what is left of
 * those that were read.  A callback may change both in the midst of a
 * dispatch(), which looks here after each packet.
 */
#include "delivery.h"

#include "batch.h"
#include "module.h"

#include <stddef.h>
#include <structmember.h>

/*
 * What a dispatch() has in hand goes to the backlog, in front of which nothing
 * can get: 0, or -1 with an exception.
 */
int
delivery_land(struct delivery *self)
{
	struct flight *flight = self->flight;
	struct mmsghdr *slot = NULL;
	int failed = 0;

	if (flight == NULL)
		return 0;
	while (flight->next < flight->end && failed == 0) {
		struct alone alone;
		PyObject *packet;

		slot = flight->next;
		packet = batch_packet(flight->receiver,
				      coalesced_next(flight, &alone));
		failed = packet == NULL ? -1
					: backlog_append(self->backlog, packet);
		Py_XDECREF(packet);
	}
	if (failed < 0)
		batch_discard(slot, flight->end);
	flight->next = flight->end;
	return failed;
}

static PyObject *
interrupt(PyObject *op, PyObject *unused)
{
	struct delivery *self = (struct delivery *)op;

	(void)unused;
	self->interrupted = 1;
	/* What another thread has in hand is its own to land. */
	if (self->thread == PyThread_get_thread_ident() &&
	    delivery_land(self) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *
delivery_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {NULL};
	struct module_state *state = PyType_GetModuleState(type);
	struct delivery *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Delivery", names))
		return NULL;
	self = (struct delivery *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->backlog = (struct backlog *)PyType_GenericAlloc(
		state->backlog_type, 0);
	if (self->backlog == NULL) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void
delivery_dealloc(PyObject *op)
{
	struct delivery *self = (struct delivery *)op;
	PyTypeObject *type = Py_TYPE(op);

	Py_XDECREF((PyObject *)self->backlog);
	PyObject_Free(self);
	Py_DECREF(type);
}

static char delivery_doc[] =
"Delivery()\n"
"--\n"
"\n"
"What one channel may deliver, and has left to deliver.";

static PyMemberDef delivery_members[] = {
	{"backlog", T_OBJECT_EX, offsetof(struct delivery, backlog), READONLY,
	 "What was read and is not delivered yet."},
	{"credit", T_LONG, offsetof(struct delivery, credit), 0,
	 "How many packets may be delivered; -1: without end."},
	{"budget", T_PYSSIZET, offsetof(struct delivery, budget), 0,
	 "How many packets a wakeup may read, by what is known of who gets them."},
	{"interrupted", T_BOOL, offsetof(struct delivery, interrupted),
	 READONLY, "Whether the last dispatch was told to stop."},
	{"calling", T_BOOL, offsetof(struct delivery, calling), READONLY,
	 "Whether the callback is being called, or raised what ended the last "
	 "dispatch."},
	{"wakeups", T_ULONGLONG, offsetof(struct delivery, wakeups), 0,
	 "How often something was said to be there."},
	{"unlooked", T_INT, offsetof(struct delivery, unlooked), 0,
	 "How many of the last of these did not look for errors."},
	{"found", T_BOOL, offsetof(struct delivery, found), 0,
	 "Whether the last read found packets."},
	{"wary", T_BOOL, offsetof(struct delivery, wary), 0,
	 "Whether there is more to look after than packets."},
	{"delivering", T_BOOL, offsetof(struct delivery, delivering), 0,
	 "Whether a turn of reading goes on."},
	{"due", T_BOOL, offsetof(struct delivery, due), 0,
	 "Whether the loop's next turn has one of reading, before any wakeup."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef delivery_methods[] = {
	{"interrupt", interrupt, METH_NOARGS,
	 "interrupt($self, /)\n--\n\n"
	 "Stop a dispatch after the present packet; the others are in the "
	 "backlog at once."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot delivery_slots[] = {
	{Py_tp_doc, delivery_doc},
	{Py_tp_new, delivery_construct},
	{Py_tp_dealloc, delivery_dealloc},
	{Py_tp_members, delivery_members},
	{Py_tp_methods, delivery_methods},
	{0, NULL},
};

PyType_Spec delivery_spec = {
	.name = "aioprocket._system._native.Delivery",
	.basicsize = sizeof(struct delivery),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = delivery_slots,
};
