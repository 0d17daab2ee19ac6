/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_COLUMNS_H
#define AIOPROCKET_COLUMNS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

struct module_state;

enum { UNTAGGED = -1, COLUMNS_KEPT = 4 };

/*
 * One fact of every packet each, all in one piece of memory.  Of packets in a
 * slab, three are filled at first, and what the others would say is as a rule
 * the same for all of them.
 */
struct columns {
	struct columns *next;	/* of those that wait to be used again */
	struct module_state *state;
	Py_ssize_t users;
	Py_ssize_t capacity;
	int64_t *timestamps_ns;
	uint32_t *lens;
	uint32_t *offsets;
	uint32_t *wire_lens;	/* once they are filled; see cut */
	int32_t *vlan_tcis;	/* UNTAGGED, or 0 to 65535; the same */
	uint32_t *headers;	/* where the kernel's header of it is */
	uint32_t before;	/* bytes from header to data; 0: see headers */
	bool cut;		/* else wire_lens would be lens */
	bool tagged;		/* else none of them is */
	bool wire_lens_filled;
	bool vlan_tcis_filled;
};

struct columns *columns_new(struct module_state *state, Py_ssize_t count);
void columns_drop(struct columns *columns);
void columns_free_kept(struct module_state *state);

PyObject *column_view(struct columns *columns, void *items, Py_ssize_t count,
		      const char *format);
PyObject *column_new(struct module_state *state, Py_ssize_t count,
		     Py_ssize_t width, const char *format, void **items);

extern PyType_Spec column_spec;

#endif
