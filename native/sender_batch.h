/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SENDER_BATCH_H
#define AIOPROCKET_SENDER_BATCH_H

#include "batch_type.h"
#include "sender.h"

bool sender_batch_may(const struct sender *self, const struct batch *batch,
		      bool addressed);
Py_ssize_t sender_batch_send(struct sender *self, struct batch *batch,
			     Py_ssize_t start);

#endif
