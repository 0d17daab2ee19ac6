/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SEGMENTED_H
#define AIOPROCKET_SEGMENTED_H

#include "sender.h"

int segmented_transmit(struct sender *self, struct mmsghdr *messages,
		       int count);

#endif
