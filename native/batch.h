/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_BATCH_H
#define AIOPROCKET_BATCH_H

#include "receiver.h"

int batch_append(struct receiver *self, PyObject *packets,
		 struct mmsghdr *messages, int count);

#endif
