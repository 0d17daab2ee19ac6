/* SPDX-License-Identifier: MIT */
/* What rtnetlink says of a device. Pure: no system call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Whether the kernel's answer to RTM_GETLINK says: this is a tun or tap
 * device of several queues, it belongs to `owner` and to no group, there is
 * one queue, and it goes with it. Whatever it leaves unsaid, is not so.
 */
bool link_is_owners_alone(const uint8_t *message, size_t size,
			  uint32_t ifindex, uid_t owner);
