/* Further certificates of a server: those of tls_alt_cert_files, and tls_server_sni_maps: the files of the certificates that it shows by the name that a
 * client asks for (RFC 6066 3). Tables are texts that are read whole, "texthash:/file", of lines
 *	mail.example.net	CHAIN KEY
 *	.example.org		CHAIN KEY, CHAIN KEY
 * with absolute paths, blanks or commas between them: a certificate chain, its private key, and the same of another kind of key. Which process reads which of the two
 * files is the caller's business; here nothing but the table is read.
 */
#ifndef MAP_SNIMAP_H
#define MAP_SNIMAP_H

#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

enum { SNIMAP_BYTES_MAX = 8 << 20, SNIMAP_NAMES_MAX = 10000, SNIMAP_PAIRS_MAX = 1000, SNIMAP_OF_NAME_MAX = 3, SNIMAP_PATH_MAX = 1024 };

struct snimap_pair {
	const char *chain, *key;
};
struct snimap_name {
	struct str name;	/* as it stands there: tls_server_name() judges it */
	const char *file;	/* the table, */
	unsigned line;		/* and where in it */
	unsigned pairs[SNIMAP_OF_NAME_MAX];	/* indices into struct snimap's */
	size_t n_pairs;
};
struct snimap {
	struct snimap_pair *pairs;	/* each once */
	size_t n_pairs, n_alt;	/* the first n_alt of them are those of tls_alt_cert_files: shown where tls_cert_file's is */
	struct snimap_name *names;
	size_t n_names;
};

/* All that a configuration names. On failure of the tables *out has those of tls_alt_cert_files alone. */
int snimap_conf(const struct conf *c, struct arena *a, struct snimap *out, struct err *e) MUST_CHECK;
/* Everything lives in a. Files must be root's, where root reads them, and writable by nobody else: who writes them names keys. ERR_CONF with file and line. */
int snimap_read(struct conf_list tables, struct arena *a, struct snimap *out, struct err *e) MUST_CHECK;
/* One text, added to *map, which begins empty; file is borrowed. Pure. */
int snimap_parse(struct str text, const char *file, struct arena *a, struct snimap *map, struct err *e) MUST_CHECK;

#endif
