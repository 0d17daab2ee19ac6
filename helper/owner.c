/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "must_check.h"
#include "owner.h"

enum {
	FILE_MAX = 65536,
	/* A FIFO would make us wait, a terminal be ours. */
	CONTENT = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
};

static const char file_of_ranges[] = "/etc/subuid";

/* After the next colon of the line; false: there is none of 32 bits. */
static MUST_CHECK bool read_number(const char **at, const char *end,
				   uint32_t *number)
{
	const char *digit = memchr(*at, ':', (size_t)(end - *at));
	uint64_t value = 0;

	if (digit == NULL)
		return false;
	*at = ++digit;
	while (digit < end && '0' <= *digit && *digit <= '9' &&
	       value <= UINT32_MAX)
		value = value * 10 + (uint64_t)(*digit++ - '0');
	*number = (uint32_t)value;
	return digit > *at && value <= UINT32_MAX &&
	       (digit == end || *digit == ':');
}

uid_t owner_in(const char *text, size_t size, uid_t uid)
{
	const char *const end = text + size;
	uint32_t first, count;

	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		const char *at = text;

		/* What does not end may be half of a number. */
		if (line_end == NULL)
			break;
		if (read_number(&at, line_end, &first) &&
		    read_number(&at, line_end, &count) && uid >= first &&
		    uid - first < count)
			return first;
		text = line_end + 1;
	}
	return uid;
}

uid_t owner_of(uid_t uid)
{
	static char text[FILE_MAX];
	const int file = open(file_of_ranges, CONTENT);
	size_t size = 0;
	ssize_t some;

	if (file < 0)
		return uid;
	while (size < sizeof(text) &&
	       (some = read(file, text + size, sizeof(text) - size)) > 0)
		size += (size_t)some;
	close(file);
	return owner_in(text, size, uid);
}
