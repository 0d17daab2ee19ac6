/* SPDX-License-Identifier: MIT */
/* Whose an account is: an ordinary user can have 65,536 that are his. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * An account that stands for all of one owner's: the first of the range of
 * subordinate accounts (subuid(5)) that this one is in, or itself. Of the
 * file, the first 64 KiB count.
 */
uid_t owner_of(uid_t uid);

/* The same, by the text of such a file. */
uid_t owner_in(const char *text, size_t size, uid_t uid);
