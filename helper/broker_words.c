/* SPDX-License-Identifier: MIT */
/* What a broker says on its standard error. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "broker_parts.h"

void broker_say(const char *text)
{
	struct pollfd error = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (poll(&error, 1, 0) == 1)
		(void)!write(STDERR_FILENO, text, strlen(text));
}

char *broker_write_number(char digits[BROKER_DIGITS], uint32_t number)
{
	char *at = digits + BROKER_DIGITS - 1;

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	return at;
}

int broker_complain(const char *what)
{
	char digits[BROKER_DIGITS];
	const char *number = broker_write_number(digits, (uint32_t)errno);

	broker_say("aioprocket-helper: ");
	broker_say(what);
	broker_say(": errno ");
	broker_say(number);
	broker_say("\n");
	return -1;
}
