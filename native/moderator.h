/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_MODERATOR_H
#define AIOPROCKET_MODERATOR_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyType_Spec moderator_spec;

#endif
