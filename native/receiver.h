/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_RECEIVER_H
#define AIOPROCKET_RECEIVER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyType_Spec receiver_spec;

#endif
