/* SPDX-License-Identifier: MIT */
/*
 * Moderator: lets a timer wake who reads a socket, while packets come densely.
 *
 * Both are in the private epoll that the event loop watches, so that to any loop
 * the one is as the other.  While the reader rests the socket is there for its
 * errors alone, which the kernel always reports; when the timer has fired all
 * that has come is read, and the next look is due.  The timer counts from the
 * beginning of a turn, so who is slow does not rest.
 */
#include "moderator.h"

#include "clock.h"
#include "delivery.h"
#include "lineage.h"
#include "moderation.h"
#include "module.h"
#include "receiver.h"
#include "waiter.h"

#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* A turn that took as long as this has packets behind it. */
enum { LONG_TURN = 1000000 };	/* ns */

struct moderator {
	PyObject_HEAD
	struct moderation *moderation;
	struct receiver *receiver;
	struct delivery *delivery;
	struct waiter *waiter;	/* NULL with epoll */
	PyObject *called;	/* by the loop, through this */
	int epoll;		/* -1: none yet, or none any more */
	int timer;		/* -1: none yet */
	uint64_t process;	/* whose they are */
	uint64_t counted;	/* of the receiver's packets */
	uint64_t bytes;		/* in the queue, when the turn began */
	uint64_t room;
	int64_t began;		/* what has not ended yet; or 0 */
	char resting;
};

static bool
is_here(const struct moderator *self)
{
	return self->epoll >= 0 && self->process == lineage_here();
}

/* The kernel's side */

static int
watch_socket(struct moderator *self, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = self->receiver->fd};

	return epoll_ctl(self->epoll, EPOLL_CTL_MOD, self->receiver->fd, &event);
}

/* At a moment of the monotonic clock; 0: never. */
static int
set_timer(struct moderator *self, int64_t when)
{
	struct itimerspec moment = {
		.it_value = {.tv_sec = (time_t)(when / 1000000000),
			     .tv_nsec = (long)(when % 1000000000)},
	};

	return timerfd_settime(self->timer, TFD_TIMER_ABSTIME, &moment, NULL);
}

static int
open_timer(struct moderator *self)
{
	struct epoll_event event = {.events = EPOLLIN};

	self->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (self->timer < 0)
		return -1;
	event.data.fd = self->timer;
	if (epoll_ctl(self->epoll, EPOLL_CTL_ADD, self->timer, &event) == 0)
		return 0;
	close(self->timer);
	self->timer = -1;
	return -1;
}

static void
close_timer(struct moderator *self)
{
	if (self->timer >= 0)
		close(self->timer);
	self->timer = -1;
	self->resting = 0;
	self->began = 0;
}

/* Where the system refuses, every packet goes on to wake. */
static void
rest_until(struct moderator *self, int64_t when)
{
	if (self->timer < 0 && open_timer(self) < 0)
		return;
	if (set_timer(self, when) < 0 || self->resting)
		return;
	self->resting = watch_socket(self, 0) == 0;
	if (!self->resting)
		set_timer(self, 0);
}

static void
rest_no_more(struct moderator *self)
{
	/* Refused where somebody has closed it: then it wakes nobody, as ever. */
	watch_socket(self, EPOLLIN);
	self->resting = 0;
	set_timer(self, 0);
}

/* What waits in the socket's queue, and what there is room for. */
static void
look_at_queue(struct moderator *self)
{
	uint32_t told[SK_MEMINFO_VARS] = {0};
	socklen_t length = sizeof(told);

	if (getsockopt(self->receiver->fd, SOL_SOCKET, SO_MEMINFO, told, &length) < 0)
		return;
	self->bytes = told[SK_MEMINFO_RMEM_ALLOC];
	self->room = told[SK_MEMINFO_RCVBUF];
}

/* A turn of reading */

static void
begin(struct moderator *self, int64_t now)
{
	if (!is_here(self))
		return;
	self->waiter->company = self->resting;
	/* Unless the turn before goes on: not all was read. */
	if (self->began == 0) {
		self->bytes = 0;
		if (self->resting)
			look_at_queue(self);
	}
	self->began = now;
}

/* All that was there has been read. */
static void
end(struct moderator *self)
{
	struct found found = {
		.now = self->began,
		.packets = self->receiver->packets - self->counted,
		.bytes = self->bytes,
		.room = self->room,
	};
	int64_t delay;

	if (self->began == 0 || !is_here(self))
		return;
	self->counted = self->receiver->packets;
	self->began = 0;
	delay = moderation_next(self->moderation, found);
	if (delay > 0)
		rest_until(self, found.now + delay);
	else if (self->resting)
		rest_no_more(self);
}

/*
 * Whether the last read found the queue empty: the task that found nothing
 * waits, or a protocol got less than it may have.
 */
static bool
is_all_read(const struct moderator *self, uint64_t came, int64_t called)
{
	const struct delivery *delivery = self->delivery;

	if (self->waiter == NULL || self->began == 0)
		return false;
	if (self->waiter->step != NULL)
		return true;
	return delivery->credit != 0 && !delivery->interrupted &&
	       !delivery->due && delivery->backlog->count == 0 &&
	       came < (uint64_t)delivery->budget &&
	       monotonic_ns() - called < LONG_TURN;
}

static PyObject *
run(PyObject *op, PyObject *unused)
{
	struct moderator *self = (struct moderator *)op;
	uint64_t before = self->receiver->packets;
	int64_t now = monotonic_ns();
	PyObject *called = self->called, *result;

	(void)unused;
	if (called == NULL)	/* the garbage collector was here */
		Py_RETURN_NONE;
	begin(self, now);
	/* What is called may let go of the channel, and that of this. */
	Py_INCREF(op);
	Py_INCREF(called);
	result = PyObject_CallNoArgs(called);
	if (result != NULL &&
	    is_all_read(self, self->receiver->packets - before, now))
		end(self);
	Py_DECREF(called);
	Py_DECREF(op);
	return result;
}

/* Python's side */

static PyObject *
method_begin(PyObject *op, PyObject *unused)
{
	(void)unused;
	begin((struct moderator *)op, monotonic_ns());
	Py_RETURN_NONE;
}

static PyObject *
method_end(PyObject *op, PyObject *unused)
{
	(void)unused;
	end((struct moderator *)op);
	Py_RETURN_NONE;
}

static PyObject *
around(PyObject *op, PyObject *called)
{
	PyObject *before = ((struct moderator *)op)->called;

	((struct moderator *)op)->called = Py_NewRef(called);
	Py_XDECREF(before);
	return PyObject_GetAttrString(op, "run");
}

static PyObject *
watch(PyObject *op, PyObject *args)
{
	struct module_state *state = PyType_GetModuleState(Py_TYPE(op));
	struct moderator *self = (struct moderator *)op;
	PyObject *waiter, *before = (PyObject *)self->waiter;
	int epoll;

	if (!PyArg_ParseTuple(args, "iO:watch", &epoll, &waiter))
		return NULL;
	if (!PyObject_TypeCheck(waiter, state->waiter_type)) {
		PyErr_SetString(PyExc_TypeError, "a moderator has a Waiter");
		return NULL;
	}
	close_timer(self);
	self->epoll = epoll;
	self->process = lineage_here();
	self->counted = self->receiver->packets;
	self->waiter = (struct waiter *)Py_NewRef(waiter);
	Py_XDECREF(before);
	Py_RETURN_NONE;
}

static int
moderator_clear(PyObject *op)
{
	struct moderator *self = (struct moderator *)op;
	PyObject *called = self->called, *waiter = (PyObject *)self->waiter;

	self->called = NULL;
	self->waiter = NULL;
	self->epoll = -1;
	Py_XDECREF(called);
	Py_XDECREF(waiter);
	return 0;
}

static PyObject *
method_close(PyObject *op, PyObject *unused)
{
	(void)unused;
	close_timer((struct moderator *)op);
	moderator_clear(op);
	Py_RETURN_NONE;
}

static PyObject *
moderator_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"moderation", "receiver", "delivery", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	PyObject *moderation, *receiver, *delivery;
	struct moderator *self;

	if (!PyArg_ParseTupleAndKeywords(
		    args, kwargs, "O!O!O!:Moderator", names,
		    state->moderation_type, &moderation, state->receiver_type,
		    &receiver, state->delivery_type, &delivery))
		return NULL;
	self = (struct moderator *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->moderation = (struct moderation *)Py_NewRef(moderation);
	self->receiver = (struct receiver *)Py_NewRef(receiver);
	self->delivery = (struct delivery *)Py_NewRef(delivery);
	self->epoll = -1;
	self->timer = -1;
	return (PyObject *)self;
}

static int
moderator_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct moderator *self = (struct moderator *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT((PyObject *)self->waiter);
	Py_VISIT(self->called);
	return 0;
}

static void
moderator_dealloc(PyObject *op)
{
	struct moderator *self = (struct moderator *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	close_timer(self);
	moderator_clear(op);
	Py_XDECREF((PyObject *)self->moderation);
	Py_XDECREF((PyObject *)self->receiver);
	Py_XDECREF((PyObject *)self->delivery);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static char moderator_doc[] =
"Moderator(moderation, receiver, delivery)\n"
"--\n"
"\n"
"Lets a timer wake who reads a socket, while its packets come densely.\n"
"\n"
"Args:\n"
"    moderation: Says when, and for how long.\n"
"    receiver: Reads the socket, and counts.\n"
"    delivery: What a protocol may get of it.";

static PyMemberDef moderator_members[] = {
	{"resting", T_BOOL, offsetof(struct moderator, resting), READONLY,
	 "Whether packets wait for the timer."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef moderator_methods[] = {
	{"watch", watch, METH_VARARGS,
	 "watch($self, epoll, waiter, /)\n--\n\n"
	 "Take the descriptor of the epoll that has the socket, for EPOLLIN, and "
	 "what a task waits by. Whatever was before is forgotten."},
	{"around", around, METH_O,
	 "around($self, called, /)\n--\n\n"
	 "Return what the loop shall call instead of called, until this is asked "
	 "for the next."},
	{"run", run, METH_NOARGS, "run($self, /)\n--\n\nTake a turn of reading."},
	{"begin", method_begin, METH_NOARGS,
	 "begin($self, /)\n--\n\nA turn of reading begins that is not run()."},
	{"end", method_end, METH_NOARGS,
	 "end($self, /)\n--\n\n"
	 "All that was there is read, and somebody is about to wait."},
	{"close", method_close, METH_NOARGS,
	 "close($self, /)\n--\n\nClose the timer, and forget the epoll."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot moderator_slots[] = {
	{Py_tp_doc, moderator_doc},
	{Py_tp_new, moderator_construct},
	{Py_tp_dealloc, moderator_dealloc},
	{Py_tp_traverse, moderator_traverse},
	{Py_tp_clear, moderator_clear},
	{Py_tp_members, moderator_members},
	{Py_tp_methods, moderator_methods},
	{0, NULL},
};

PyType_Spec moderator_spec = {
	.name = "aioprocket._system._native.Moderator",
	.basicsize = sizeof(struct moderator),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = moderator_slots,
};
