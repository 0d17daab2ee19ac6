/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_WAKEUP_H
#define AIOPROCKET_WAKEUP_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/*
 * Wakeups that find packets before one of them looks for errors as well: to
 * ask takes a system call, and an error that comes alone is looked for at once.
 */
enum { WAKEUP_UNLOOKED = 64 };

extern PyType_Spec wakeup_spec;

#endif
