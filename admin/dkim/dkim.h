/* Inside postern-dkim: the signing keys of $state_directory/dkim, their table and files, and what the DNS says of them. */
#ifndef ADMIN_DKIM_H
#define ADMIN_DKIM_H

#include "authres/dkim_table.h"
#include "conf/conf.h"

struct keyring {
	const struct conf *conf;
	struct arena *a;
	struct dkim_table table;
	int lock;		/* held while the table may be changed; -1: only read */
};

/* --- dkim_store.c --- */
int keyring_open(struct keyring *k, bool change, struct err *e) MUST_CHECK;
void keyring_close(struct keyring *k);
struct dkim_row *keyring_find(struct keyring *k, struct str domain, struct str selector);	/* NULL: none */
/* pem: the key's file, written before the row that names it. ERR_EXISTS: there is such a selector. */
int keyring_add(struct keyring *k, struct str domain, struct str selector, struct str pem, struct err *e) MUST_CHECK;
int keyring_remove(struct keyring *k, struct dkim_row *row, struct err *e) MUST_CHECK;		/* row and file; a credential stays where systemd has it from */
bool keyring_is_credential(const struct keyring *k, const struct dkim_row *row);
int keyring_save(struct keyring *k, struct err *e) MUST_CHECK;
int keyring_public(struct keyring *k, const struct dkim_row *row, struct buf *p_out, struct err *e) MUST_CHECK;	/* p= of its record, base64 */
/* authd loads the keys again. 1: it does not run, which is no failure. */
int keyring_tell(struct keyring *k, struct err *e) MUST_CHECK;

/* --- dkim_dns.c --- */
enum record_state { RECORD_GOOD, RECORD_MISSING, RECORD_OTHER, RECORD_UNKNOWN };
extern const char *const record_words[];
void record_print(const struct dkim_row *row, struct str p);	/* as a line of a zone file */
/* Ask the suite's own dns process. why: of RECORD_UNKNOWN. */
enum record_state record_check(const struct conf *conf, struct arena *a, const struct dkim_row *row, struct str p, const char **why);

#endif
