/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SEGMENT_H
#define AIOPROCKET_SEGMENT_H

#include "packet.h"

unsigned int segment_size(const struct packet *packet);
PyObject *segment_packet(struct packet *packet);

#endif
