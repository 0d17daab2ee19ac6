/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ITERATOR_H
#define AIOPROCKET_ITERATOR_H

#include "reader.h"

PyObject *iterator_new(struct reader *reader, PyObject *channel);

extern PyType_Spec iterator_spec;

#endif
