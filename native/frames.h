/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_FRAMES_H
#define AIOPROCKET_FRAMES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/if_packet.h>

/* Below there is no room for what the kernel says of a packet. */
enum { FRAMES_SMALLEST = 128 };

struct receiver;
struct scratch;

/* A TPACKET_V2 ring: a queue of frames of one size, which are shared. */
struct frames {
	unsigned char *memory;
	size_t frame_size;
	uint32_t count;
	uint32_t next;		/* the frame that comes next, ours or not yet */
	int error;		/* the socket's, found on the way; 0 for none */
	uint64_t process;	/* in a fork the ring is the parent's */
};

struct frames *frames_map(int fd, size_t frame_size, size_t count);
void frames_unmap(struct frames *frames);
bool frames_is_next(const struct frames *frames);
bool frames_next_is_whole(const struct frames *frames);
PyObject *frames_take(struct receiver *self);
int frames_fill(struct receiver *self, struct scratch *scratch, int wanted);
unsigned long long frames_queued(const struct frames *frames);
void frames_forget(struct receiver *self);

#endif
