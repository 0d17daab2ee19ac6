/* SPDX-License-Identifier: MIT */
/* One message with at most one descriptor, in and out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "must_check.h"

struct incoming {
	size_t size; /* 0: the session is over */
	bool whole;  /* false: more or other things came than fit */
	int fd;	     /* the caller's to close, close-on-exec; -1: none */
};

/* Waits for a message. -1 when the session is broken. */
MUST_CHECK int fdpass_receive(int session, void *buffer, size_t size,
			      struct incoming *incoming);

/* Never waits: -1 when the message cannot be queued. `fd` -1: none. */
MUST_CHECK int fdpass_send(int session, void *bytes, size_t size, int fd);
