/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_READER_H
#define AIOPROCKET_READER_H

#include "delivery.h"
#include "module.h"
#include "waiter.h"

enum {
	READER_STRETCH = 64,	/* packets between looks at the clock */
	READER_STREAK = 8,	/* in a row that did not have to be waited for */
};

/* What receives look at, before anything is awaited, and wait by. */
struct reader {
	PyObject_HEAD
	struct delivery *delivery;
	/* One of three; the first two without a call of Python's. */
	struct receiver *receiver;
	struct ring *ring;
	PyObject *receive;	/* up to so many packets, as a sequence */
	struct waiter *waiter;	/* NULL: whoever has to wait does it in Python */
	int ahead;		/* packets that may be read at once */
	int streak;		/* packets that were there when asked for */
	int turns;		/* receives before the next look at the clock */
	long long ends;		/* of the turn: monotonic clock, ns; 0: no turn */
	long long turn_ends;	/* of the turn that the last wait began */
	long long turn_ns;
	char reading;		/* a receive waits, or is about to */
	PyObject *spare;	/* memory of a coroutine that is over; or NULL */
};

struct module_state *reader_state(struct reader *self);
bool reader_is_free(struct reader *self);
PyObject *reader_take(struct reader *self);
PyObject *reader_take_list(struct reader *self, PyObject *count);
PyObject *reader_take_batch(struct reader *self, PyObject *count);
bool reader_may_wait(struct reader *self);
void reader_wait(struct reader *self);
bool reader_wake(struct reader *self);
void reader_give_up(struct reader *self);

extern PyType_Spec reader_spec;

#endif
