/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ITERATOR_H
#define AIOPROCKET_ITERATOR_H

#include "coroutine.h"

PyObject *iterator_new(struct reader *reader, PyObject *channel,
		       enum what what, PyObject *count);

extern PyType_Spec iterator_spec;

#endif
