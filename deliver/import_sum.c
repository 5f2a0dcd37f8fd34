/* SHA-256 of what is imported: OpenSSL's, which the program links for TLS anyway. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "deliver/import.h"

struct sum {
	EVP_MD_CTX *md;
};

static void begin(struct sum *s)
{
	if (EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) != 1)
		exit(71);	/* no memory, or no SHA-256 in this OpenSSL */
}

struct sum *sum_new(void)
{
	struct sum *const s = xzalloc(sizeof *s);

	s->md = EVP_MD_CTX_new();
	begin(s);
	return s;
}

void sum_free(struct sum **sp)
{
	if (*sp)
		EVP_MD_CTX_free((*sp)->md);
	free(*sp);
	*sp = NULL;
}

void sum_add(struct sum *s, struct str data)
{
	if (data.n > 0)
		(void)EVP_DigestUpdate(s->md, data.p, data.n);
}

void sum_end(struct sum *s, unsigned char out[SUM_LEN])
{
	(void)EVP_DigestFinal_ex(s->md, out, NULL);
	begin(s);
}
