/* The table of signing keys, $state_directory/dkim/table/keys: what is public about them. `postern dkim` writes it; filterd reads it to know with which keys to sign,
 * authd to know which key files to load (dkim_key_path, root's). One key a line, "#" begins a comment:
 *
 *	example.com 2026a rsa active 1795824000
 *
 * domain, selector, kind (rsa ed25519), state (dkim_states.def), and since when it is in that state.
 */
#ifndef AUTHRES_DKIM_TABLE_H
#define AUTHRES_DKIM_TABLE_H

#include "authres/sigcheck.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum {
	DKIM_TABLE_BYTES_MAX = 1 << 20,
	DKIM_TABLE_ROWS_MAX = 2000,
	DKIM_KEYS_PER_DOMAIN_MAX = 4,	/* active ones, and so signatures of a message */
	DKIM_KEY_FILE_MAX = 16384,
};
#define DKIM_TABLE_DIR "dkim/table"
#define DKIM_TABLE_FILE "dkim/table/keys"
#define DKIM_PRIVATE_DIR "dkim/private"
#define DKIM_CREDENTIAL "dkim_"		/* what stands before the name of a key's file among credentials */

enum dkim_state {
#define DKIM_STATE(name, signs, doc) DKIM_##name,
#include "authres/dkim_states.def"
#undef DKIM_STATE
};
const char *dkim_state_name(enum dkim_state s);	/* lower case */

struct dkim_row {
	struct str domain, selector;	/* lower case */
	enum sig_kind kind;
	enum dkim_state state;
	int64_t since;
};
struct dkim_table {
	struct dkim_row *v;
	size_t n;
};
const char *sig_kind_name(enum sig_kind k);	/* rsa ed25519: as k= of a key record */
/* Strings live in a. -1: ERR_CONF with the line's number. */
int dkim_table_parse(struct arena *a, struct str text, struct dkim_table *out, struct err *e) MUST_CHECK;
void dkim_table_format(const struct dkim_table *t, struct buf *out);
/* Where a private key is: $state_directory/dkim/private/SELECTOR._domainkey.DOMAIN.pem, or a credential of that name (dkim_credentials_directory; "": none) when
 * there is one. In a. */
const char *dkim_key_path(struct arena *a, const char *state_directory, const char *credentials, struct str domain, struct str selector);
/* The keys that sign for domain now: its own, or those of the nearest domain above it that has any. Returns how many. */
size_t dkim_table_signers(const struct dkim_table *t, struct str domain, const struct dkim_row *out[DKIM_KEYS_PER_DOMAIN_MAX]);

#endif
