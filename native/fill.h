/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_FILL_H
#define AIOPROCKET_FILL_H

#include "receiver.h"

enum { NO_FAILURE = 0 };

/* 64 full Ethernet frames, and some way below 128 KiB. */
enum { BATCH_BYTES = 112 * 1024 };

int fill(struct receiver *self, struct scratch *scratch, int wanted);
int fill_settle(struct receiver *self);
int fill_slots(const struct receiver *self, Py_ssize_t missing, size_t room);

#endif
