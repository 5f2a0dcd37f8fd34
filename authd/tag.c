/* The tag of a login, with the key that the monitor gave. */
#include "authd/helper.h"
#include "authd/scram.h"

int helper_tag(const struct helper *h, struct str given, struct str password, uint8_t tag_out[32], struct err *e)
{
	const struct str fields[] = { given, password };

	return tag_make(h->tag_key, fields, 2, tag_out, e);
}
