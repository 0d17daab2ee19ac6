/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_GATHERER_H
#define AIOPROCKET_GATHERER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyType_Spec gatherer_spec;

#endif
