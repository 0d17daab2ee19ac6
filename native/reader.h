/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_READER_H
#define AIOPROCKET_READER_H

#include "delivery.h"
#include "module.h"

/* What the receives of one packet look at, before anything is awaited. */
struct reader {
	PyObject_HEAD
	struct delivery *delivery;
	PyObject *receive;	/* up to so many packets, as a sequence */
	int ahead;		/* packets that may be read at once */
	int streak;		/* packets that were there when asked for */
	int turns;		/* receives before the next look at the clock */
	long long ends;		/* of the turn: monotonic clock, ns; 0: no turn */
	PyObject *spare;	/* memory of a coroutine that is over; or NULL */
};

struct module_state *reader_state(struct reader *self);
bool reader_is_free(struct reader *self);
PyObject *reader_take(struct reader *self);

extern PyType_Spec reader_spec;

#endif
