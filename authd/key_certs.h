/* TLS servers' keys of the key worker, by their certificates. One pair is tls_cert_file's (key_main.c); those of tls_server_sni_maps are here: they come from the monitor all
 * together, and the set before is kept for fronts that still show its certificates.
 */
#ifndef AUTHD_KEY_CERTS_H
#define AUTHD_KEY_CERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "authd/scram.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "io/tls.h"
#include "ipc/helper.h"

enum { KEY_CERTS_MAX = 3000 };	/* of SNIMAP_PAIRS_MAX each: the set in use, the one before, the one that is coming */

/* A key that fits the certificate at the head of its chain; cert: the certificate's SHA-256. key_out is owned by the caller. */
int key_pair_load(const struct ipc_helper_KEYS *m, struct tls_key **key_out, uint8_t cert_out[SCRAM_HASH], struct err *e) MUST_CHECK;
/* One of a load, m->generation. -1: it is not taken; what was there before for its certificate stays. */
int key_certs_take(const struct ipc_helper_KEYS *m, struct err *e) MUST_CHECK;
/* Those were all. *forgotten_out: a certificate that fronts may show has lost its key. Nothing is forgotten while some of the new ones are missing. */
void key_certs_done(const struct ipc_helper_KEYS_DONE *m, struct ipc_helper_KEYS_RESULT *out, bool *forgotten_out);
struct tls_key *key_certs_find(struct str cert);	/* NULL: none */

#endif
