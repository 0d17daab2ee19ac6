/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_WAITER_H
#define AIOPROCKET_WAITER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

struct waiter {
	PyObject_HEAD
	PyObject *idle;		/* called where nobody waits; NULL with loop */
	PyObject *running;	/* tells the loop that runs here */
	PyObject *loop;		/* that calls fire(); NULL: none */
	PyObject *step;		/* of the task; NULL: nobody waits */
	PyObject *context;	/* of the task */
	PyObject *cancelled;	/* what it gets instead; or NULL */
	PyObject *run;		/* a name */
	uint64_t process;	/* whose loop it is */
	int fires;		/* in a row, for nobody */
	char blocking;		/* what asyncio.isfuture() is about */
	char taken;		/* by a task that waits, or is about to */
	char fired;		/* the last to wait was let go on by the loop */
	char firing;		/* the loop is calling */
	char company;		/* it calls for several packets, likely */
};

bool waiter_is_at_hand(struct waiter *self);
void waiter_take(struct waiter *self);
void waiter_leave(struct waiter *self);

extern PyType_Spec waiter_spec;

#endif
