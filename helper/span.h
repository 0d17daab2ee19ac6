/* SPDX-License-Identifier: MIT */
/* Parts of a policy's text, and the numbers in it. Pure: no system call. */
#pragma once

#include "policy.h"

/* Part of the text; it has no end mark. */
struct span {
	const char *at;
	size_t size;
};

bool span_is(struct span span, const char *text);
bool span_begins(struct span span, const char *text);
struct span span_without(struct span span, size_t head);

/* Up to the first `mark` or the end; `rest` begins behind the mark. */
struct span span_split(struct span *rest, char mark);

/* One way to write each number: no sign, no space, no zero in front. */
MUST_CHECK int span_number(struct span text, uint32_t high, uint32_t *number);

MUST_CHECK int span_range(struct span text, uint32_t low, uint32_t high,
			  struct range *range);

/* Behind the `count` that are there, up to POLICY_LIST_MAX. */
MUST_CHECK int span_ranges(struct span text, struct range limits,
			   struct range *ranges, size_t *count);

/* With NUL up to the end of `out`. */
MUST_CHECK int span_copy(struct span text, char *out, size_t room);
