/* SPDX-License-Identifier: MIT */
/*
 * Wakeup: what the event loop calls when a transport's descriptor is ready.
 *
 * Where packets come one by one, a wakeup costs more than all that is done with
 * a packet.  As long as they come and nothing else is the matter, it is done
 * here; everything out of the ordinary is left to the transport.
 */
#include "wakeup.h"

#include "clock.h"
#include "critical.h"
#include "delivery.h"
#include "dispatch.h"
#include "gatherer.h"
#include "module.h"
#include "piece.h"
#include "receiver.h"
#include "ring.h"

#include <stddef.h>
#include <structmember.h>

/* What the method is called with: a packet, bytes and an address, a batch. */
enum form { PACKET, DATAGRAM, BATCH };

struct wakeup {
	PyObject_HEAD
	PyObject *source;	/* struct receiver or struct ring */
	bool is_ring;
	struct delivery *delivery;
	struct gatherer *gatherer;
	Py_ssize_t budget;	/* delivery's at most */
	int64_t nanoseconds;
	PyObject *otherwise;	/* called instead */
	PyObject *settle;	/* called after, with an exception or None */
	PyObject *protocol;
	PyObject *method;	/* its name; NULL: none that is called from here */
	enum form form;
};

static unsigned long long
count_packets(const struct wakeup *self)
{
	return self->is_ring ? ((struct ring *)self->source)->packets
			     : ((struct receiver *)self->source)->packets;
}

static bool
is_ordinary(const struct wakeup *self)
{
	const struct delivery *delivery = self->delivery;

	return self->method != NULL && delivery->found && !delivery->wary &&
	       !delivery->delivering && !delivery->due &&
	       delivery->flight == NULL &&
	       delivery->unlooked + 1 < WAKEUP_UNLOOKED &&
	       delivery->backlog->count == 0;
}

/* A batch cannot be broken off, so who is slow gets smaller ones. */
static void
adapt(struct wakeup *self, Py_ssize_t count, int64_t nanoseconds)
{
	struct delivery *delivery = self->delivery;

	if (nanoseconds > self->nanoseconds)
		delivery->budget = count > 1 ? count / 2 : 1;
	else if (delivery->budget < self->budget)
		delivery->budget = delivery->budget * 2 < self->budget
					   ? delivery->budget * 2
					   : self->budget;
}

/* Steals batch. */
static int
call_with_batch(struct wakeup *self, PyObject *callback, PyObject *batch)
{
	struct delivery *delivery = self->delivery;
	Py_ssize_t count = PyObject_Size(batch);
	int64_t began = monotonic_ns();
	PyObject *result;

	/* Before the call: the callback may set the credit anew. */
	if (delivery->credit > 0)
		delivery->credit = delivery->credit > count
					   ? delivery->credit - count
					   : 0;
	delivery->calling = 1;
	result = PyObject_CallFunctionObjArgs(callback, batch, NULL);
	Py_DECREF(batch);
	adapt(self, count, monotonic_ns() - began);
	if (result == NULL)
		return -1;
	delivery->calling = 0;
	Py_DECREF(result);
	return 0;
}

static int
deliver_batch(struct wakeup *self, PyObject *callback)
{
	struct delivery *delivery = self->delivery;
	Py_ssize_t wanted = delivery->budget;
	PyObject *batch;

	delivery->interrupted = 0;
	delivery->calling = 0;
	if (delivery->credit == 0)
		return 0;
	if (delivery->credit > 0 && delivery->credit < wanted)
		wanted = delivery->credit;
	batch = piece_take((struct receiver *)self->source, wanted);
	if (batch == NULL)
		return -1;
	if (!Py_IsNone(batch))
		return call_with_batch(self, callback, batch);
	Py_DECREF(batch);
	return 0;
}

/* The protocol's method, as it is now: a new reference, or NULL with an exception. */
static PyObject *
find_callback(struct wakeup *self)
{
	PyObject *protocol, *method, *callback = NULL;

	BEGIN(self);
	protocol = Py_XNewRef(self->protocol);
	method = Py_XNewRef(self->method);
	END();
	if (protocol != NULL && method != NULL)
		callback = PyObject_GetAttr(protocol, method);
	else
		PyErr_SetString(PyExc_RuntimeError, "nobody is to be called");
	Py_XDECREF(protocol);
	Py_XDECREF(method);
	return callback;
}

static int
deliver(struct wakeup *self)
{
	PyObject *callback = find_callback(self);
	int failed;

	if (callback == NULL)
		return -1;
	BEGIN(self->source);
	if (self->form == BATCH)
		failed = deliver_batch(self, callback);
	else if (self->is_ring)
		failed = ring_dispatch((struct ring *)self->source,
				       self->delivery, callback,
				       self->form == DATAGRAM,
				       self->nanoseconds);
	else
		failed = receiver_dispatch((struct receiver *)self->source,
					   self->delivery, callback,
					   self->delivery->budget,
					   self->form == DATAGRAM,
					   self->nanoseconds);
	END();
	Py_DECREF(callback);
	return failed;
}

/* The exception that is set, with its traceback. */
static PyObject *
catch(void)
{
	PyObject *type, *value, *traceback;

	PyErr_Fetch(&type, &value, &traceback);
	PyErr_NormalizeException(&type, &value, &traceback);
	if (traceback != NULL)
		PyException_SetTraceback(value, traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	return value;
}

static PyObject *
settle(struct wakeup *self, PyObject *error)
{
	PyObject *result, *called = self->settle;

	if (called == NULL) {	/* the garbage collector was here */
		Py_XDECREF(error);
		Py_RETURN_NONE;
	}
	Py_INCREF(called);
	result = PyObject_CallFunctionObjArgs(
		called, error != NULL ? error : Py_None, NULL);
	Py_DECREF(called);
	Py_XDECREF(error);
	return result;
}

static PyObject *
run(struct wakeup *self)
{
	struct delivery *delivery = self->delivery;
	unsigned long long before = count_packets(self);
	PyObject *error = NULL;

	delivery->wakeups++;
	delivery->unlooked++;
	delivery->delivering = 1;
	self->gatherer->open = 1;
	if (deliver(self) < 0)
		error = catch();
	delivery->found = count_packets(self) != before;
	gatherer_flush(self->gatherer);
	if (error != NULL || delivery->interrupted || delivery->wary ||
	    delivery->credit == 0 || delivery->backlog->count > 0 ||
	    self->gatherer->count > 0)
		return settle(self, error);
	self->gatherer->open = 0;
	delivery->delivering = 0;
	Py_RETURN_NONE;
}

static PyObject *
method_run(PyObject *op, PyObject *unused)
{
	struct wakeup *self = (struct wakeup *)op;
	PyObject *result;

	(void)unused;
	/* What is called may let go of the transport, and that of this. */
	Py_INCREF(op);
	if (is_ordinary(self))
		result = run(self);
	else if (self->otherwise != NULL)
		result = PyObject_CallFunctionObjArgs(self->otherwise, NULL);
	else
		result = Py_NewRef(Py_None);
	Py_DECREF(op);
	return result;
}

static enum form
form_of(PyObject *method)
{
	if (PyUnicode_CompareWithASCIIString(method, "packets_received") == 0)
		return BATCH;
	return PyUnicode_CompareWithASCIIString(method, "packet_received") == 0
		       ? PACKET
		       : DATAGRAM;
}

static PyObject *
method_choose(PyObject *op, PyObject *args)
{
	struct wakeup *self = (struct wakeup *)op;
	PyObject *protocol, *name, *before = self->protocol;

	if (!PyArg_ParseTuple(args, "OU:choose", &protocol, &name))
		return NULL;
	self->protocol = Py_NewRef(protocol);
	Py_CLEAR(self->method);
	self->form = form_of(name);
	/* A ring has many batches for a wakeup: those are the transport's. */
	if (self->form != BATCH || !self->is_ring)
		self->method = Py_NewRef(name);
	Py_XDECREF(before);
	Py_RETURN_NONE;
}

static PyObject *
wakeup_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"source", "delivery", "gatherer", "otherwise",
				"settle", "budget", "nanoseconds", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	PyObject *source, *delivery, *gatherer, *otherwise, *called;
	long long nanoseconds;
	Py_ssize_t budget;
	struct wakeup *self;

	if (!PyArg_ParseTupleAndKeywords(
		    args, kwargs, "OO!O!OOnL:Wakeup", names, &source,
		    state->delivery_type, &delivery, state->gatherer_type,
		    &gatherer, &otherwise, &called, &budget, &nanoseconds))
		return NULL;
	if (Py_TYPE(source) != state->ring_type &&
	    Py_TYPE(source) != state->receiver_type) {
		PyErr_SetString(PyExc_TypeError,
				"a wakeup reads a Receiver or a Ring");
		return NULL;
	}
	self = (struct wakeup *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->is_ring = Py_TYPE(source) == state->ring_type;
	self->source = Py_NewRef(source);
	self->delivery = (struct delivery *)Py_NewRef(delivery);
	self->gatherer = (struct gatherer *)Py_NewRef(gatherer);
	self->otherwise = Py_NewRef(otherwise);
	self->settle = Py_NewRef(called);
	self->budget = budget;
	self->nanoseconds = nanoseconds;
	return (PyObject *)self;
}

static int
wakeup_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct wakeup *self = (struct wakeup *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT((PyObject *)self->gatherer);
	Py_VISIT(self->otherwise);
	Py_VISIT(self->settle);
	Py_VISIT(self->protocol);
	return 0;
}

static int
wakeup_clear(PyObject *op)
{
	struct wakeup *self = (struct wakeup *)op;

	Py_CLEAR(self->method);	/* from here on nothing is ordinary */
	Py_CLEAR(self->otherwise);
	Py_CLEAR(self->settle);
	Py_CLEAR(self->protocol);
	return 0;
}

static void
wakeup_dealloc(PyObject *op)
{
	struct wakeup *self = (struct wakeup *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	wakeup_clear(op);
	Py_XDECREF(self->source);
	Py_XDECREF((PyObject *)self->delivery);
	Py_XDECREF((PyObject *)self->gatherer);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static char wakeup_doc[] =
"Wakeup(source, delivery, gatherer, otherwise, settle, budget, nanoseconds)\n"
"--\n"
"\n"
"One turn of reading for a protocol, as the event loop calls for it.\n"
"\n"
"Args:\n"
"    source: The Receiver or Ring to read.\n"
"    otherwise: Called instead where there may be more to it: no packets came\n"
"        the last time, delivery.wary, a backlog, every 64th time.\n"
"    settle: Called at the end, if there is more to do, with the exception\n"
"        that ended it, or None. Else nothing is called.\n"
"    budget: Packets of a turn at most; delivery.budget may be less.\n"
"    nanoseconds: As dispatch().";

DEFINE_ALONE(method_choose)

static PyMethodDef wakeup_methods[] = {
	{"run", method_run, METH_NOARGS, "run($self, /)\n--\n\nTake the turn."},
	{"choose", ALONE(method_choose), METH_VARARGS,
	 "choose($self, protocol, method, /)\n--\n\n"
	 "Call protocol's method of this name from here on."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot wakeup_slots[] = {
	{Py_tp_doc, wakeup_doc},
	{Py_tp_new, wakeup_construct},
	{Py_tp_dealloc, wakeup_dealloc},
	{Py_tp_traverse, wakeup_traverse},
	{Py_tp_clear, wakeup_clear},
	{Py_tp_methods, wakeup_methods},
	{0, NULL},
};

PyType_Spec wakeup_spec = {
	.name = "aioprocket._system._native.Wakeup",
	.basicsize = sizeof(struct wakeup),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = wakeup_slots,
};
