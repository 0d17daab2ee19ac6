/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_CRITICAL_H
#define AIOPROCKET_CRITICAL_H

#include "module.h"

/* Around what one thread at a time may do to an object, where no GIL sees to it. */
#ifdef Py_GIL_DISABLED
#define BEGIN(op) Py_BEGIN_CRITICAL_SECTION(op)
#define END() Py_END_CRITICAL_SECTION()
#else
#define BEGIN(op) {
#define END() }
#endif

#endif
