/* What each kind of listener demands: rows. */
#include "smtpd/session.h"

static const struct profile profiles[] = {
	/* the strictest first: for a profile that nobody knows */
	{ .name = "submission", .need_tls = true, .need_auth = true, .offer_auth = true },
	{ .name = "submissions", .need_tls = true, .need_auth = true, .offer_auth = true },
	{ .name = "smtp", .offer_auth = true },
	{ .name = "lmtp", .lmtp = true },
	{ .name = "local", .local = true },
};

const struct profile *profile_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(profiles); i++)
		if (str_eq(str_c(profiles[i].name), str_c(name)))
			return &profiles[i];
	return &profiles[0];
}
