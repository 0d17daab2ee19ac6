/* SPDX-License-Identifier: MIT */
/* What the parts of the broker have of each other. */
#pragma once

#include <stdint.h>
#include <unistd.h>

#include "caller.h"
#include "must_check.h"

enum {
	BROKER_LISTENER = STDIN_FILENO,
	BROKER_CONNECTION = STDIN_FILENO, /* in a child */
	BROKER_DIGITS = sizeof("4294967295"),
};

/* What is not said for want of a reader is not waited for. */
void broker_say(const char *text);

/* What could not be, and errno. Returns -1. */
int broker_complain(const char *what);

/* Returns where in digits it begins. */
char *broker_write_number(char digits[BROKER_DIGITS], uint32_t number);

/* Whether nobody else can put another socket there, and who can connect. */
MUST_CHECK int broker_look_at_socket(struct caller *caller);

/* All that a new process has to do before it can be told what to serve. */
MUST_CHECK int broker_become_child(int connection, struct caller *caller);
