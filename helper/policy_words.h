/* SPDX-License-Identifier: MIT */
/* The words of a rule, and what is behind them. Pure: no system call. */
#pragma once

#include "span.h"

/* One line of the text. */
struct line {
	struct policy *policy;
	struct rule *rule;
	const char *fault;
};

/* Says what is wrong with the line. Returns -1. */
int rule_fail(struct line *line, const char *fault);

MUST_CHECK int rule_read_word(struct line *line, struct span word);

/* Each part of a rule has to mean something to each kind of it. */
MUST_CHECK int rule_check(struct line *line);
