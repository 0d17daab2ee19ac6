/* SPDX-License-Identifier: MIT */
#pragma once

/* For every function that can fail: a dropped result is a warning. */
#define MUST_CHECK __attribute__((warn_unused_result))
