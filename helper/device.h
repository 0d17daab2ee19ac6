/* SPDX-License-Identifier: MIT */
/* Nodes of character devices. */
#pragma once

#include "open.h"

/* Opens a device of the policy with the caller's own rights to the file. */
MUST_CHECK int device_open(struct job *job, const struct device *device);
