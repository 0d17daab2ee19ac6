/* SPDX-License-Identifier: MIT */
/*
 * What a coroutine of receive() and its kin does in a step: takes packets, waits
 * for the loop's call, or lets the channel go on.
 */
#include "coroutine.h"

#include "wakeup.h"

/* From here on it may outlive the moment. */
static void
keep_track(struct coroutine *self)
{
	if (!PyObject_GC_IsTracked((PyObject *)self))
		PyObject_GC_Track((PyObject *)self);
}

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
	keep_track(self);
	return 0;
}

PySendResult
coroutine_go_on(struct coroutine *self, PyObject *value, PyObject **result)
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
	keep_track(self);
	*result = Py_NewRef((PyObject *)self->reader->waiter);
	return PYGEN_NEXT;
}

/* The first step, and each after a pause. */
PySendResult
coroutine_advance(struct coroutine *self, PyObject **result)
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
	return coroutine_go_on(self, Py_None, result);
}

/* A pause ends, and nothing was read: 0, or -1 with an exception. */
int
coroutine_give_up(struct coroutine *self)
{
	PyObject *settled, *stretch = PyLong_FromLong(READER_STRETCH);

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
