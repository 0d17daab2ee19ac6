/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_COROUTINE_H
#define AIOPROCKET_COROUTINE_H

#include "reader.h"

PyObject *coroutine_new(struct reader *reader, PyObject *channel, bool next);

extern PyType_Spec coroutine_spec;

#endif
