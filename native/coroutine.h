/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_COROUTINE_H
#define AIOPROCKET_COROUTINE_H

#include "reader.h"

PyObject *coroutine_new(struct reader *reader, PyObject *channel, bool next);
PyObject *iterator_new(struct reader *reader, PyObject *channel);

extern PyType_Spec coroutine_spec;
extern PyType_Spec iterator_spec;

#endif
