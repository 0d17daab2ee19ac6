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

#include "wakeup.h"

#include <stddef.h>
#include <structmember.h>

enum stage { CREATED, PAUSED, WAITING, CLOSED };

/* As in reader.c. */
enum { STRETCH = 64 };

struct coroutine {
	PyObject_HEAD
	struct reader *reader;
	PyObject *channel;
	PyObject *rest;		/* the channel's coroutine, once there is one */
	PyObject *count;	/* of a list or batch; else NULL */
	enum stage stage;
	enum what what;
	char running;
};

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
#ifndef Py_GIL_DISABLED
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

/* From here on it may outlive the moment. */
static void
last(struct coroutine *self)
{
	if (!PyObject_GC_IsTracked((PyObject *)self))
		PyObject_GC_Track((PyObject *)self);
}

/* Steps */

/* The exception that is set, of the kind that the channel explains; or None. */
static PyObject *
take_error(void)
{
	PyObject *type, *value, *traceback;

	if (PyErr_Occurred() == NULL)
		return Py_NewRef(Py_None);
	if (!PyErr_ExceptionMatches(PyExc_OSError) &&
	    !PyErr_ExceptionMatches(PyExc_EOFError))
		return NULL;
	PyErr_Fetch(&type, &value, &traceback);
	PyErr_NormalizeException(&type, &value, &traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	return value;
}

static int
go_on_slowly(struct coroutine *self, bool tried)
{
	struct module_state *state = reader_state(self->reader);
	PyObject *error = take_error();

	if (error == NULL)
		return -1;
	self->rest = PyObject_CallMethodObjArgs(
		self->channel, state->slowly[self->what],
		tried ? Py_True : Py_False, error, self->count, NULL);
	Py_DECREF(error);
	if (self->rest == NULL)
		return -1;
	self->stage = WAITING;
	last(self);
	return 0;
}

static PySendResult
step_rest(struct coroutine *self, PyObject *value, PyObject **result)
{
	PySendResult outcome;

	self->running = 1;
	outcome = PyIter_Send(self->rest, value, result);
	self->running = 0;
	if (outcome != PYGEN_NEXT)
		self->stage = CLOSED;
	return outcome;
}

/* What is read ahead is for who takes one by one; lists of it are made slowly. */
static bool
may_take(const struct coroutine *self)
{
	return reader_is_free(self->reader) &&
	       (self->what == ONE || self->what == NEXT ||
		self->reader->delivery->backlog->count == 0);
}

/* NULL: there is nothing, or an exception tells. */
static PyObject *
take(struct coroutine *self)
{
	struct reader *reader = self->reader;
	PyObject *taken;

	reader->turns--;
	if (self->what == LIST)
		taken = reader_take_list(reader, self->count);
	else if (self->what == BATCH)
		taken = reader_take_batch(reader, self->count);
	else
		taken = reader_take(reader);
	if (taken != NULL)
		reader->delivery->found = 1;
	return taken;
}

/*
 * After the loop's call: errors are looked for now and then, and where the last
 * call found nothing.  0, or -1 with an exception.
 */
static int
note_wakeup(struct coroutine *self)
{
	struct delivery *delivery = self->reader->delivery;
	PyObject *noted;

	if (delivery->found && delivery->unlooked + 1 < WAKEUP_UNLOOKED) {
		delivery->wakeups++;
		delivery->unlooked++;
		delivery->found = 0;
		return 0;
	}
	noted = PyObject_CallMethodObjArgs(
		self->channel, reader_state(self->reader)->woken, NULL);
	Py_XDECREF(noted);
	return noted == NULL ? -1 : 0;
}

static PySendResult
pause_for(struct coroutine *self, PyObject **result)
{
	self->stage = PAUSED;
	reader_wait(self->reader);
	last(self);
	*result = Py_NewRef((PyObject *)self->reader->waiter);
	return PYGEN_NEXT;
}

/* The first step, and each after a pause. */
static PySendResult
advance(struct coroutine *self, PyObject **result)
{
	bool paused = self->stage == PAUSED, is_free;

	self->stage = CLOSED;
	if (paused && reader_wake(self->reader) && note_wakeup(self) < 0)
		return PYGEN_ERROR;
	is_free = may_take(self);
	if (is_free)
		*result = take(self);
	if (*result != NULL)
		return PYGEN_RETURN;
	if (is_free && PyErr_Occurred() == NULL && reader_may_wait(self->reader))
		return pause_for(self, result);
	if (go_on_slowly(self, is_free) < 0)
		return PYGEN_ERROR;
	return step_rest(self, Py_None, result);
}

static PySendResult
coroutine_send(PyObject *op, PyObject *value, PyObject **result)
{
	struct coroutine *self = (struct coroutine *)op;

	*result = NULL;
	if (self->stage == WAITING)
		return step_rest(self, value, result);
	if (self->stage != CLOSED)
		return advance(self, result);
	PyErr_SetString(PyExc_RuntimeError,
			"cannot reuse already awaited coroutine");
	return PYGEN_ERROR;
}

/* A pause ends, and nothing was read: 0, or -1 with an exception. */
static int
give_up(struct coroutine *self)
{
	PyObject *settled, *stretch = PyLong_FromLong(STRETCH);

	self->stage = CLOSED;
	reader_give_up(self->reader);
	if (stretch == NULL)
		return -1;
	settled = PyObject_CallMethodObjArgs(
		self->channel, reader_state(self->reader)->settle, stretch,
		NULL);
	Py_DECREF(stretch);
	Py_XDECREF(settled);
	return settled == NULL ? -1 : 0;
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

	if (self->stage == PAUSED && give_up(self) < 0)
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
	if (before == PAUSED && give_up(self) < 0)
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
	{"throw", throw, METH_VARARGS,
	 "throw($self, type, value=None, traceback=None, /)\n--\n\n"
	 "Raise an exception where it waits."},
	{"close", coroutine_close, METH_NOARGS,
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
