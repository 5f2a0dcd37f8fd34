/* What the files of a signature directory hold, before libclamav reads them: by their names, and of text files by what is in them. */
#ifndef FILTERD_SIGNATURES_H
#define FILTERD_SIGNATURES_H

#include <stdbool.h>
#include <stdint.h>

struct signatures {
	bool any;	/* not settings and exceptions alone */
	bool links;	/* perhaps lists of links that are forged or bad */
	bool mail;	/* perhaps signatures that want what libclamav's parser of mail makes of a message: of mails, or of what is in one */
};
struct signatures signatures_in(const char *dir);
/* Changes when files change that libclamav reads; 0: there are none. */
uint64_t signatures_fingerprint(const char *dir);

#endif
