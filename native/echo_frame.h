/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ECHO_FRAME_H
#define AIOPROCKET_ECHO_FRAME_H

#include "echo_table.h"
#include "frames.h"

#include <net/ethernet.h>

enum {
	FRAME_BATCH = 64,	/* frames built before any is sent */
	FRAME_WAYS = 4096,	/* ways known at once */
	FRAME_JUDGED = 64,	/* frames looked at by one receive */
};

/* How addresses from one to another are reached. */
struct echo_way {
	unsigned char first[ECHO_ADDRESS];
	unsigned char last[ECHO_ADDRESS];
	unsigned char source[ECHO_ADDRESS];
	unsigned char link[ETH_HLEN];	/* the header of the frames */
	uint32_t scope;
	int ifindex;
	uint32_t mtu;
	int64_t until;			/* of the monotonic clock */
};

/* Probes as frames of one packet socket. */
struct echo_frames {
	PyObject_HEAD
	struct module_state *state;
	struct frames *ring;		/* NULL: closed */
	struct echo_way *ways;		/* in the order of scope and address */
	size_t ways_used;
	struct echo_way *last;		/* that was found; NULL: none */
	unsigned char *frames;		/* FRAME_BATCH of them */
	size_t room;			/* for each */
	PyObject *news;			/* list: frames about neighbours */
	int fd;
	uint8_t version;
	uint8_t ttl;
	uint8_t tos;
	bool df;
};

extern PyType_Spec echo_frames_spec;

/* echo_way.c */
struct echo_way *echo_way_find(struct echo_frames *self,
			       const unsigned char *address, uint32_t scope);
PyObject *echo_way_set(PyObject *op, PyObject *args);
PyObject *echo_way_forget(PyObject *op, PyObject *ignored);

/* echo_frame_send.c */
PyObject *echo_frames_send(PyObject *op, PyObject *args);
PyObject *echo_frames_begin(PyObject *op, PyObject *args);
PyObject *echo_frames_release(PyObject *op, PyObject *args);
PyObject *echo_frames_fail(PyObject *op, PyObject *args);

/* echo_frame_receive.c */
PyObject *echo_frames_receive(PyObject *op, PyObject *table);
PyObject *echo_frames_take_news(PyObject *op, PyObject *ignored);

extern const char echo_frames_send_doc[];
extern const char echo_frames_begin_doc[];
extern const char echo_frames_release_doc[];
extern const char echo_frames_receive_doc[];
extern const char echo_way_set_doc[];

#endif
