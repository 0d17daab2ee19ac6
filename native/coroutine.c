/* SPDX-License-Identifier: MIT */
/*
 * The coroutine of receive(), of receive_batch(), and of a step of an iteration.
 *
 * It takes its packets when it is started, not before, so one that is never
 * started, or cancelled first, has taken none.  If there are none, it waits for
 * the loop's call and looks again; where there is more to see to than packets,
 * a coroutine of the channel's takes over, and this one only hands on.
 */
#include "coroutine.h"

#include "critical.h"

#include <stddef.h>
#include <structmember.h>

/* As a rule one is over before the next is made, and leaves it its memory. */
static struct coroutine *
allocate(struct reader *reader)
{
	PyTypeObject *type = reader_state(reader)->coroutine_type;
	PyObject *spare = reader->spare;

	if (spare == NULL)
		return PyObject_GC_New(struct coroutine, type);
	reader->spare = NULL;
	return (struct coroutine *)PyObject_Init(spare, type);
}

static void
release(struct coroutine *self, struct reader *reader)
{
#ifdef Py_GIL_DISABLED
	(void)reader;
#else
	if (reader->spare == NULL) {
		reader->spare = (PyObject *)self;
		return;
	}
#endif
	PyObject_GC_Del(self);
}

PyObject *
coroutine_new(struct reader *reader, PyObject *channel, enum what what,
	      PyObject *count)
{
	struct coroutine *self = allocate(reader);

	if (self == NULL)
		return NULL;
	self->reader = (struct reader *)Py_NewRef((PyObject *)reader);
	self->channel = Py_NewRef(channel);
	self->rest = NULL;
	self->stage = CREATED;
	self->count = Py_XNewRef(count);
	self->what = what;
	self->running = 0;
	/* The garbage collector hears of it when it is more than a moment's. */
	return (PyObject *)self;
}

/* Steps */

/*
 * Whether a task waits in it that was not called yet.  To go on for another
 * would take its place, and it would wait for ever.
 */
static bool
is_awaited(const struct coroutine *self)
{
	const struct waiter *waiter = self->reader->waiter;

	return (self->stage == PAUSED || self->stage == WAITING) &&
	       waiter != NULL && waiter->step != NULL;
}

static PySendResult
send_once(struct coroutine *self, PyObject *value, PyObject **result)
{
	*result = NULL;
	if (is_awaited(self)) {
		PyErr_SetString(PyExc_RuntimeError,
				"coroutine is being awaited already");
		return PYGEN_ERROR;
	}
	if (self->stage == WAITING)
		return coroutine_go_on(self, value, result);
	if (self->stage != CLOSED)
		return coroutine_advance(self, result);
	PyErr_SetString(PyExc_RuntimeError,
			"cannot reuse already awaited coroutine");
	return PYGEN_ERROR;
}

static PySendResult
coroutine_send(PyObject *op, PyObject *value, PyObject **result)
{
	PySendResult outcome;

	BEGIN(op);
	outcome = send_once((struct coroutine *)op, value, result);
	END();
	return outcome;
}

/* As a generator's: what is returned travels in a StopIteration. */
static PyObject *
yield_or_stop(PySendResult outcome, PyObject *result)
{
	if (outcome == PYGEN_RETURN) {
		PyObject *stop = PyObject_CallFunctionObjArgs(
			PyExc_StopIteration, result, NULL);

		Py_DECREF(result);
		if (stop != NULL)
			PyErr_SetObject(PyExc_StopIteration, stop);
		Py_XDECREF(stop);
		return NULL;
	}
	return result;
}

static PyObject *
coroutine_next(PyObject *op)
{
	PyObject *result;
	PySendResult outcome = coroutine_send(op, Py_None, &result);

	return yield_or_stop(outcome, result);
}

static PyObject *
step(PyObject *op, PyObject *value)
{
	PyObject *result;
	PySendResult outcome = coroutine_send(op, value, &result);

	return yield_or_stop(outcome, result);
}

/* Before the first step there is nothing that could catch it. */
static PyObject *
raise_given(PyObject *args)
{
	PyObject *type, *value = NULL, *traceback = NULL;

	if (!PyArg_ParseTuple(args, "O|OO:throw", &type, &value, &traceback))
		return NULL;
	if (PyExceptionInstance_Check(type)) {
		PyErr_SetObject(PyExceptionInstance_Class(type), type);
	} else if (PyExceptionClass_Check(type)) {
		PyErr_SetObject(type, value);
	} else {
		PyErr_Format(PyExc_TypeError,
			     "an exception is thrown, not %R", type);
	}
	return NULL;
}

static PyObject *
throw(PyObject *op, PyObject *args)
{
	struct coroutine *self = (struct coroutine *)op;
	PyObject *method, *result;

	if (self->stage == PAUSED && coroutine_give_up(self) < 0)
		return NULL;
	if (self->stage != WAITING) {
		self->stage = CLOSED;
		return raise_given(args);
	}
	method = PyObject_GetAttrString(self->rest, "throw");
	if (method == NULL)
		return NULL;
	self->running = 1;
	result = PyObject_CallObject(method, args);
	self->running = 0;
	Py_DECREF(method);
	if (result == NULL)
		self->stage = CLOSED;
	return result;
}

static PyObject *
coroutine_close(PyObject *op, PyObject *unused)
{
	struct coroutine *self = (struct coroutine *)op;
	enum stage before = self->stage;

	(void)unused;
	if (before == PAUSED && coroutine_give_up(self) < 0)
		return NULL;
	self->stage = CLOSED;
	if (before == WAITING)
		return PyObject_CallMethod(self->rest, "close", NULL);
	Py_RETURN_NONE;
}

static PyObject *
get_suspended(PyObject *op, void *closure)
{
	struct coroutine *self = (struct coroutine *)op;

	(void)closure;
	return PyBool_FromLong(
		self->stage == PAUSED ||
		(self->stage == WAITING && !self->running));
}

static PyObject *
get_none(PyObject *op, void *closure)
{
	(void)op;
	(void)closure;
	Py_RETURN_NONE;
}

static const char *
name_of(const struct coroutine *self)
{
	static const char *const names[] = {
		[ONE] = "Channel.receive",
		[NEXT] = "Channel.__anext__",
		[LIST] = "Channel.receive_batch",
		[BATCH] = "Channel.batches.__anext__",
	};

	return names[self->what];
}

static PyObject *
get_name(PyObject *op, void *closure)
{
	(void)closure;
	return PyUnicode_FromString(name_of((struct coroutine *)op));
}

/* Life */

static int
coroutine_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct coroutine *self = (struct coroutine *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT((PyObject *)self->reader);
	Py_VISIT(self->channel);
	Py_VISIT(self->rest);
	Py_VISIT(self->count);
	return 0;
}

static int
coroutine_clear(PyObject *op)
{
	struct coroutine *self = (struct coroutine *)op;

	if (self->stage == PAUSED)
		reader_give_up(self->reader);
	self->stage = CLOSED;
	Py_CLEAR(self->rest);
	Py_CLEAR(self->channel);
	return 0;
}

/* As Python's own coroutines. */
static void
warn_of_no_await(struct coroutine *self)
{
	PyObject *type, *value, *traceback;

	PyErr_Fetch(&type, &value, &traceback);
	if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
			     "coroutine '%s' was never awaited",
			     name_of(self)) < 0)
		PyErr_WriteUnraisable(self->channel);
	PyErr_Restore(type, value, traceback);
}

static void
coroutine_dealloc(PyObject *op)
{
	struct coroutine *self = (struct coroutine *)op;
	struct reader *reader = self->reader;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	if (self->stage == CREATED)
		warn_of_no_await(self);
	if (self->stage == PAUSED)
		reader_give_up(reader);
	Py_XDECREF(self->channel);
	Py_XDECREF(self->rest);
	Py_XDECREF(self->count);
	release(self, reader);
	Py_DECREF((PyObject *)reader);
	Py_DECREF(type);
}

static PyObject *
itself(PyObject *op)
{
	return Py_NewRef(op);
}

DEFINE_ALONE(throw)
DEFINE_ALONE(coroutine_close)

static PyMemberDef coroutine_members[] = {
	{"cr_running", T_BOOL, offsetof(struct coroutine, running), READONLY,
	 "Whether it is executing."},
	{"cr_await", T_OBJECT, offsetof(struct coroutine, rest), READONLY,
	 "What it waits for."},
	{NULL, 0, 0, 0, NULL},
};

static PyGetSetDef coroutine_getset[] = {
	{"cr_suspended", get_suspended, NULL, "Whether it waits.", NULL},
	{"cr_frame", get_none, NULL, "None: it is not written in Python.", NULL},
	{"__name__", get_name, NULL, "Of what was called.", NULL},
	{"__qualname__", get_name, NULL, "Of what was called.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef coroutine_methods[] = {
	{"send", step, METH_O, "send($self, value, /)\n--\n\nTake a step."},
	{"throw", ALONE(throw), METH_VARARGS,
	 "throw($self, type, value=None, traceback=None, /)\n--\n\n"
	 "Raise an exception where it waits."},
	{"close", ALONE(coroutine_close), METH_NOARGS,
	 "close($self, /)\n--\n\nEnd it where it is."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot coroutine_slots[] = {
	{Py_tp_doc, "Packets, awaited. Made by a Reader."},
	{Py_tp_dealloc, coroutine_dealloc},
	{Py_tp_traverse, coroutine_traverse},
	{Py_tp_clear, coroutine_clear},
	{Py_tp_iter, itself},
	{Py_tp_iternext, coroutine_next},
	{Py_tp_members, coroutine_members},
	{Py_tp_getset, coroutine_getset},
	{Py_tp_methods, coroutine_methods},
	{Py_am_await, itself},
	{Py_am_send, coroutine_send},
	{0, NULL},
};

PyType_Spec coroutine_spec = {
	.name = "aioprocket._system._native.Coroutine",
	.basicsize = sizeof(struct coroutine),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = coroutine_slots,
};
