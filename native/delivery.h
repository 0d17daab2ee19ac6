/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_DELIVERY_H
#define AIOPROCKET_DELIVERY_H

#include "backlog.h"
#include "coalesced.h"

#include <stdbool.h>

enum { WITHOUT_END = -1 };

struct delivery {
	PyObject_HEAD
	struct backlog *backlog;
	long credit;		/* packets, or WITHOUT_END */
	Py_ssize_t budget;	/* packets of a wakeup at most */
	char interrupted;
	char calling;
	struct flight *flight;	/* of a dispatch(), else NULL */
	unsigned long thread;	/* whose that dispatch() is */
	unsigned long long wakeups;
	int unlooked;
	char found;
	char wary;
	char delivering;
	char due;
};

int delivery_land(struct delivery *self);

extern PyType_Spec delivery_spec;

#endif
