/* The tag of a login, with the key that the monitor gave. Of our own HMAC: a sasl or mux worker needs no more of libcrypto than this. */
#include "authd/helper.h"
#include "base/enc.h"
#include "base/num.h"
#include "base/sha256.h"

/* With its length before it: no two logins have the same bytes. */
static void add_field(struct hmac_sha256 *h, struct str field)
{
	uint8_t len[8];

	put_le64(len, field.n);
	hmac_sha256_add(h, str_n(len, sizeof len));
	hmac_sha256_add(h, field);
}

void helper_tag(const struct helper *h, struct str given, struct str password, uint8_t tag_out[32])
{
	struct hmac_sha256 mac;

	hmac_sha256_init(&mac, str_n(h->tag_key, sizeof h->tag_key));
	add_field(&mac, given);
	add_field(&mac, password);
	hmac_sha256_end(&mac, tag_out);
}
