/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ECHO_WATCH_H
#define AIOPROCKET_ECHO_WATCH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "echo.h"

/* A host that gets one probe after the other: what became of the last ones. */
struct echo_watch {
	PyObject_HEAD
	PyObject *target;	/* (host, packed, scope) */
	PyObject *host;		/* of it, borrowed; NULL: by its address */
	double *rtts;		/* a ring; NaN: no reply */
	size_t window;
	size_t room;		/* of the ring so far, window at most */
	uint64_t sent;		/* probes that have had their end, */
	uint64_t received;	/* and replies to them */
	uint32_t sequence;	/* of the next probe */
	uint32_t scope;
	uint8_t version;
	unsigned char address[ECHO_ADDRESS];
};

extern PyType_Spec echo_watch_spec;

/* rtt is negative without a reply.  0, or -1 with an exception. */
int echo_watch_add(struct echo_watch *watch, double rtt);

#endif
