/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_MODERATION_H
#define AIOPROCKET_MODERATION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

/* What a stream of packets is like, and how long those to come may wait. */
struct moderation {
	PyObject_HEAD
	int64_t longest;	/* ns that a packet may wait */
	int64_t delay;		/* the present one; 0: every packet wakes */
	int64_t last;		/* when it was looked last */
	int64_t since;		/* when counting began: wakeups, packets */
	uint64_t packets;
	int wakeups;
	int needed;		/* wakeups before a stream is judged */
	int rests;		/* in a row */
	int lonely;		/* of them, the last in a row without company */
};

/* What a look finds. */
struct found {
	int64_t now;		/* ns, of any clock that never goes back */
	uint64_t packets;	/* that came since the last look */
	uint64_t bytes;		/* of the kernel's memory that they took */
	uint64_t room;		/* of the socket's, in the same bytes */
};

int64_t moderation_next(struct moderation *self, struct found found);

extern PyType_Spec moderation_spec;

#endif
