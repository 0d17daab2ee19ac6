/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_MODULE_H
#define AIOPROCKET_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "arena.h"
#include "columns.h"
#include "pool_lock.h"
#include "scratch.h"

#include <stdatomic.h>

/* One per interpreter.  Types keep their module, and so this, alive. */
struct module_state {
	PyTypeObject *packet_type;
	PyTypeObject *receiver_type;
	PyTypeObject *sender_type;
	PyTypeObject *gatherer_type;
	PyTypeObject *wakeup_type;
	PyTypeObject *echo_type;
	PyTypeObject *echo_group_type;
	PyTypeObject *echo_watch_type;
	PyTypeObject *echo_table_type;
	PyTypeObject *echo_frames_type;
	PyTypeObject *backlog_type;
	PyTypeObject *delivery_type;
	PyTypeObject *reader_type;
	PyTypeObject *waiter_type;
	PyTypeObject *moderation_type;
	PyTypeObject *moderator_type;
	PyTypeObject *coroutine_type;
	PyTypeObject *iterator_type;
	/* Methods of a channel, which a Coroutine calls. */
	PyObject *slowly[4];	/* by what is awaited */
	PyObject *woken;
	PyObject *settle;
	/* Attributes of a packet that are found by the address of their name. */
	PyObject *data;
	PyObject *timestamp_ns;
	/* Of a bound method of Python: what is called, and with what first. */
	PyTypeObject *method_type;
	PyObject *method_func;
	PyObject *method_self;
	PyTypeObject *ring_type;
	PyTypeObject *batch_type;
	PyTypeObject *batch_iterator_type;
	PyTypeObject *column_type;
	struct columns *columns;	/* kept to be used again */
	int columns_kept;
	_Atomic uint64_t serial;	/* of the last packet of a batch */
	struct pool_lock columns_lock;
	struct scratch_pool scratch;
	struct arena_pool arenas;
};

#endif
