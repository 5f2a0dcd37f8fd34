/* The key of rewritten senders (lib/smtp/srs.h): state_directory/srs.key, made once by queued's root part, read by queued and resolve before they give up root. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/resolve/resolve.h"
#include "os/os.h"

static void path_of(const struct conf *c, char out[1100])
{
	(void)snprintf(out, 1100, "%s/srs.key", c->state_directory);
}

static int read_key(const struct conf *c, struct srs *out, struct err *e)
{
	char path[1100];
	struct buf b;
	int r;

	path_of(c, path);
	buf_init(&b, 256);
	r = file_read(path, SRS_KEY_BYTES, &b, e);
	if (r == 0 && b.n != SRS_KEY_BYTES)
		r = err_set(e, ERR_CONF, 0, "%s: not %d bytes", path, SRS_KEY_BYTES);
	if (r == 0)
		memcpy(out->key, b.p, SRS_KEY_BYTES);
	buf_wipe(&b);
	buf_fini(&b);
	return r;
}

int srs_key_make(const struct conf *c, struct err *e)
{
	unsigned char key[SRS_KEY_BYTES];
	char path[1100];
	struct srs unused;

	if (c->srs_domain[0] == '\0' || read_key(c, &unused, e) == 0)
		return 0;
	path_of(c, path);
	if (access(path, F_OK) == 0)	/* there, and not good: old bounces would come to nothing with another */
		return -1;
	err_clear(e);
	random_bytes(key, sizeof(key));
	return dir_make(c->state_directory, 0755, 0, 0, e) < 0 ? -1 : file_replace(path, str_n(key, sizeof(key)), 0600, 0, 0, e);
}

int srs_key_load(const struct conf *c, struct srs *out, struct err *e)
{
	*out = (struct srs){ 0 };
	if (c->srs_domain[0] == '\0')
		return 0;
	if (read_key(c, out, e) < 0)
		return -1;
	out->domain = str_c(c->srs_domain);
	return 0;
}
