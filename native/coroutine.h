/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_COROUTINE_H
#define AIOPROCKET_COROUTINE_H

#include "reader.h"

/* What is awaited: a packet, the next of an iteration, a list, the next batch. */
enum what { ONE, NEXT, LIST, BATCH };

/* PAUSED: until the loop calls; WAITING: by a coroutine of the channel's. */
enum stage { CREATED, PAUSED, WAITING, CLOSED };

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

PySendResult coroutine_advance(struct coroutine *self, PyObject **result);
PySendResult coroutine_go_on(struct coroutine *self, PyObject *value,
			     PyObject **result);
int coroutine_give_up(struct coroutine *self);
PyObject *coroutine_new(struct reader *reader, PyObject *channel,
			enum what what, PyObject *count);

extern PyType_Spec coroutine_spec;

#endif
