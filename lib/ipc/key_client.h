/* The front's side of the key channel: what lib/io's TLS asks for signatures through.
 *
 *	tls_sign_through(key_client_sign);
 */
#ifndef IPC_KEY_CLIENT_H
#define IPC_KEY_CLIENT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "ipc/key.h"

enum { KEY_CLIENT_MS = 2000 };	/* longest wait for a signature */

/* A tls_sign_fn. Blocks up to KEY_CLIENT_MS. ERR_DENIED: the worker refused; ERR_TEMP, ERR_CLOSED: no answer. */
int key_client_sign(int channel, const char *scheme, struct str tbs, struct str cert_sha256, unsigned char *sig, size_t sig_max,
		    size_t *sig_n_out, struct err *e) MUST_CHECK;
/* The same for a TLS client (remote). */
int key_client_sign_client(int channel, const char *scheme, struct str tbs, struct str cert_sha256, unsigned char *sig, size_t sig_max,
			   size_t *sig_n_out, struct err *e) MUST_CHECK;

/* A template's, before its signatures: *known_out[i] is whether the key of the i-th certificate is there. certs: their SHA-256, one behind the other. */
int key_client_known(int channel, struct str certs, bool known_out[KEY_KNOWN_MAX], struct err *e) MUST_CHECK;

#endif
