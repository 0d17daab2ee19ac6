/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_COROUTINE_H
#define AIOPROCKET_COROUTINE_H

#include "reader.h"

/* What is awaited: a packet, the next of an iteration, a list, the next batch. */
enum what { ONE, NEXT, LIST, BATCH };

PyObject *coroutine_new(struct reader *reader, PyObject *channel,
			enum what what, PyObject *count);

extern PyType_Spec coroutine_spec;

#endif
