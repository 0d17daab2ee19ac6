/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_FILL_H
#define AIOPROCKET_FILL_H

#include "receiver.h"

/* Besides the errnos, which are positive. */
enum { NO_FAILURE = 0, END_OF_FILE = -1 };

int fill(struct receiver *self, struct scratch *scratch, int wanted);
int fill_settle(struct receiver *self);
int fill_slots(const struct receiver *self, Py_ssize_t missing, size_t room);

#endif
