/* SPDX-License-Identifier: MIT */
/*
 * Waiter: what a task of asyncio awaits: as a future, but the task can go on
 * within the loop's call for its descriptor.
 *
 * A future would have the loop ask for events once more before it goes on with
 * the task, and both cost more than what is then done with a packet.  One
 * serves all waits for a descriptor's direction, for a new one costs as well.
 */
#include "waiter.h"

#include "critical.h"
#include "lineage.h"
#include "module.h"

#include <stddef.h>
#include <structmember.h>

/*
 * Calls for nobody, one after the other, before idle() is called: the first
 * may be the echo of what the last to wait is about to use up.
 */
enum { IDLE_FIRES = 2 };

/* For who waits */

/* Whether the loop that runs is the one that would call. */
bool
waiter_is_at_hand(struct waiter *self)
{
	PyObject *loop;

	if (self->loop == NULL || self->taken ||
	    self->process != lineage_here())
		return false;
	if (self->firing)
		return true;
	loop = PyObject_CallNoArgs(self->running);
	if (loop == NULL)
		PyErr_Clear();
	Py_XDECREF(loop);
	return loop == self->loop;
}

void
waiter_take(struct waiter *self)
{
	self->taken = 1;
	self->blocking = 1;
	self->fires = 0;
	self->fired = 0;
}

void
waiter_leave(struct waiter *self)
{
	BEGIN(self);
	self->taken = 0;
	Py_CLEAR(self->step);
	Py_CLEAR(self->context);
	Py_CLEAR(self->cancelled);
	END();
}

/* For the loop, and the task */

static PyObject *
fire_for_nobody(struct waiter *self)
{
	PyObject *idle = NULL, *called;

	BEGIN(self);
	if (!self->taken && ++self->fires >= IDLE_FIRES)
		idle = Py_XNewRef(self->idle);
	END();
	if (idle == NULL)
		Py_RETURN_NONE;
	called = PyObject_CallNoArgs(idle);
	Py_DECREF(idle);
	return called;
}

/* Who is to go on, and with what context, for the caller alone; or NULL. */
static void
take_over(struct waiter *self, PyObject **step, PyObject **context)
{
	BEGIN(self);
	*step = self->step;
	*context = self->context;
	self->step = NULL;
	self->context = NULL;
	END();
}

static PyObject *
fire(PyObject *op, PyObject *unused)
{
	struct waiter *self = (struct waiter *)op;
	PyObject *step, *context, *went_on;

	(void)unused;
	take_over(self, &step, &context);
	if (step == NULL)
		return fire_for_nobody(self);
	self->fired = 1;
	self->firing = 1;
	/* The task may let go of the channel, and that of this. */
	Py_INCREF(op);
	went_on = PyObject_CallMethodObjArgs(context, self->run, step, op, NULL);
	self->firing = 0;
	Py_DECREF(op);
	Py_DECREF(step);
	Py_DECREF(context);
	return went_on;
}

static PyObject *
add_done_callback(PyObject *op, PyObject *const *args, Py_ssize_t count,
		  PyObject *names)
{
	struct waiter *self = (struct waiter *)op;

	/* As tasks call it: a dictionary for one name takes longer than this. */
	if (count != 1 || names == NULL || PyTuple_Size(names) != 1 ||
	    PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0),
					     "context") != 0) {
		PyErr_SetString(PyExc_TypeError,
				"add_done_callback(step, *, context)");
		return NULL;
	}
	BEGIN(self);
	Py_CLEAR(self->step);
	Py_CLEAR(self->context);
	self->step = Py_NewRef(args[0]);
	self->context = Py_NewRef(args[1]);
	END();
	Py_RETURN_NONE;
}

/* What is left of a wait: who shall go on, and with what context. */
static PyObject *
take_step(PyObject *op, PyObject *unused)
{
	struct waiter *self = (struct waiter *)op;
	PyObject *step, *context;

	(void)unused;
	/* Also of one that goes on already: it has to see why. */
	self->fired = 0;
	take_over(self, &step, &context);
	if (step == NULL)
		Py_RETURN_NONE;
	return Py_BuildValue("(NN)", step, context);
}

static PyObject *
done(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(((struct waiter *)op)->step == NULL);
}

static PyObject *
get_loop(PyObject *op, PyObject *unused)
{
	PyObject *loop = ((struct waiter *)op)->loop;

	(void)unused;
	return Py_NewRef(loop != NULL ? loop : Py_None);
}

static PyObject *
result(PyObject *op, PyObject *unused)
{
	struct waiter *self = (struct waiter *)op;

	(void)unused;
	if (self->cancelled == NULL)
		Py_RETURN_NONE;
	PyErr_SetObject((PyObject *)Py_TYPE(self->cancelled), self->cancelled);
	return NULL;
}

static PyObject *
take(PyObject *op, PyObject *unused)
{
	(void)unused;
	waiter_take((struct waiter *)op);
	Py_RETURN_NONE;
}

static PyObject *
leave(PyObject *op, PyObject *unused)
{
	(void)unused;
	waiter_leave((struct waiter *)op);
	Py_RETURN_NONE;
}

static void
forget(struct waiter *self)
{
	PyObject *loop = self->loop, *idle = self->idle;

	self->loop = NULL;
	self->idle = NULL;
	Py_XDECREF(loop);
	Py_XDECREF(idle);
}

static PyObject *
arm(PyObject *op, PyObject *args)
{
	struct waiter *self = (struct waiter *)op;
	PyObject *loop, *idle;

	if (!PyArg_ParseTuple(args, "OO:arm", &loop, &idle))
		return NULL;
	forget(self);
	self->loop = Py_NewRef(loop);
	self->idle = Py_NewRef(idle);
	self->process = lineage_here();
	self->fires = 0;
	Py_RETURN_NONE;
}

static PyObject *
disarm(PyObject *op, PyObject *unused)
{
	(void)unused;
	forget((struct waiter *)op);
	Py_RETURN_NONE;
}

/* Life */

static PyObject *
waiter_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"running", NULL};
	PyObject *running;
	struct waiter *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Waiter", names,
					 &running))
		return NULL;
	self = (struct waiter *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->running = Py_NewRef(running);
	self->run = PyUnicode_InternFromString("run");
	if (self->run == NULL) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static int
waiter_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct waiter *self = (struct waiter *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->idle);
	Py_VISIT(self->running);
	Py_VISIT(self->loop);
	Py_VISIT(self->step);
	Py_VISIT(self->context);
	Py_VISIT(self->cancelled);
	return 0;
}

static int
waiter_clear(PyObject *op)
{
	struct waiter *self = (struct waiter *)op;

	waiter_leave(self);
	forget(self);
	return 0;
}

static void
waiter_dealloc(PyObject *op)
{
	struct waiter *self = (struct waiter *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	waiter_clear(op);
	Py_XDECREF(self->running);
	Py_XDECREF(self->run);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static char waiter_doc[] =
"Waiter(running)\n"
"--\n"
"\n"
"What a task awaits, again and again, until the loop calls for it.\n"
"\n"
"Args:\n"
"    running: Called without arguments; returns the loop that runs, or None.";

static PyMemberDef waiter_members[] = {
	{"_asyncio_future_blocking", T_BOOL, offsetof(struct waiter, blocking),
	 0, "As of any object that asyncio takes for a future."},
	{"taken", T_BOOL, offsetof(struct waiter, taken), READONLY,
	 "Whether a task waits."},
	{"cancelled", T_OBJECT, offsetof(struct waiter, cancelled), 0,
	 "What result() raises; None: nothing."},
	{NULL, 0, 0, 0, NULL},
};

DEFINE_ALONE(arm)
DEFINE_ALONE(disarm)
DEFINE_ALONE(get_loop)
DEFINE_ALONE(result)

static PyMethodDef waiter_methods[] = {
	{"arm", ALONE(arm), METH_VARARGS,
	 "arm($self, loop, idle, /)\n--\n\n"
	 "Say which loop calls fire() from here on, and what is to be called "
	 "where it has done so twice and nobody waits."},
	{"disarm", ALONE(disarm), METH_NOARGS,
	 "disarm($self, /)\n--\n\nSay that no loop calls any more."},
	{"take", take, METH_NOARGS,
	 "take($self, /)\n--\n\nBegin to wait; it is to be yielded then."},
	{"leave", leave, METH_NOARGS,
	 "leave($self, /)\n--\n\nEnd to wait, for whatever reason."},
	{"fire", fire, METH_NOARGS,
	 "fire($self, /)\n--\n\n"
	 "Let the task go on, now: called by the loop, and never by a task."},
	{"take_step", take_step, METH_NOARGS,
	 "take_step($self, /)\n--\n\n"
	 "Return what is to be called so that the task goes on, and its "
	 "context, once; None: nobody waits."},
	{"done", done, METH_NOARGS,
	 "done($self, /)\n--\n\nReturn whether the task goes on."},
	{"get_loop", ALONE(get_loop), METH_NOARGS,
	 "get_loop($self, /)\n--\n\nReturn the loop."},
	{"add_done_callback", (PyCFunction)(void (*)(void))add_done_callback,
	 METH_FASTCALL | METH_KEYWORDS,
	 "add_done_callback($self, step, *, context)\n--\n\n"
	 "Call step with this object where the task may go on."},
	{"result", ALONE(result), METH_NOARGS,
	 "result($self, /)\n--\n\nReturn None, or raise what cancelled it."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot waiter_slots[] = {
	{Py_tp_doc, waiter_doc},
	{Py_tp_new, waiter_construct},
	{Py_tp_dealloc, waiter_dealloc},
	{Py_tp_traverse, waiter_traverse},
	{Py_tp_clear, waiter_clear},
	{Py_tp_members, waiter_members},
	{Py_tp_methods, waiter_methods},
	{0, NULL},
};

PyType_Spec waiter_spec = {
	.name = "aioprocket._system._native.Waiter",
	.basicsize = sizeof(struct waiter),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
	.slots = waiter_slots,
};
