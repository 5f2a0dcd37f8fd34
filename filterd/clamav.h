/* libclamav behind a small interface; clamav.c is the only file that includes clamav.h. Fails closed: whatever the library reports as an internal error
 * makes the message "not scanned" (it answers "clean" when its temporary directory is full or nesting is too deep).
 */
#ifndef FILTERD_CLAMAV_H
#define FILTERD_CLAMAV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

struct clamav;

/* Load virus_database_directory; while that holds no signatures, shipped_dir. tmp_dir: where parts are unpacked. Catches a canary before it returns.
 * Returns owned. */
int clamav_load(const struct conf *conf, const char *shipped_dir, const char *tmp_dir, struct clamav **out, struct err *e) MUST_CHECK;
void clamav_free(struct clamav **c);
/* After fork: unpack below dir, which is this process' alone. (The library draws its names from a generator that forked processes share.) */
int clamav_use_tmp(struct clamav *c, const char *dir, struct err *e) MUST_CHECK;
uint64_t clamav_signatures(const struct clamav *c);
bool clamav_shipped(const struct clamav *c);		/* only the shipped test signatures serve */
const char *clamav_version(void);
/* Bytes looked through since it was loaded, unpacked ones too, about. */
uint64_t clamav_scanned(const struct clamav *c);
uint64_t clamav_scans(const struct clamav *c);		/* how often something was handed over */
/* Scan bytes in memory. 0 clean; 1 infected (*name_out valid until the next scan); -1 not scanned (ERR_TEMP). */
int clamav_scan_mem(struct clamav *c, struct str data, const char **name_out, struct err *e) MUST_CHECK;
/* The same for what holds other files: met is set for those that were come upon, byte for byte, so that nothing is left to look at in them. */
struct clamav_inner {
	struct str data;	/* borrowed */
	bool met;
};
int clamav_scan_outer(struct clamav *c, struct str data, struct clamav_inner *inner, size_t n, const char **name_out, struct err *e) MUST_CHECK;
/* Mail of which all parts are handed over one by one, and its own parser finds none: it looks at the bytes alone. */
int clamav_scan_plain(struct clamav *c, struct str data, const char **name_out, struct err *e) MUST_CHECK;
/* Signatures are loaded that find something by way of its parser of mail alone, or may be. */
bool clamav_wants_mail(const struct clamav *c);
/* A message begins. */
void clamav_begin(struct clamav *c);
/* What libclamav said of something in it that is damaged and was not looked into; NULL: nothing is. Valid until the next scan. */
const char *clamav_damage(const struct clamav *c);
/* The canary: a zip with the standard test file, made at run time, must be found. */
int clamav_canary(struct clamav *c, struct err *e) MUST_CHECK;

#endif
