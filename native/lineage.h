/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_LINEAGE_H
#define AIOPROCKET_LINEAGE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

uint64_t lineage_here(void);

#endif
