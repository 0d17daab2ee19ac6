/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_PIECE_H
#define AIOPROCKET_PIECE_H

#include "receiver.h"

PyObject *piece_take(struct receiver *self, Py_ssize_t count);

#endif
