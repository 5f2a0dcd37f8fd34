/* A gzip file (RFC 1952) in memory: what aggregate reports are sent as. The time stamp in it is zero: the same input gives the same bytes. */
#ifndef IO_GZIP_H
#define IO_GZIP_H

#include <stdio.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Append the compressed form of in. -1: ERR_LIMIT when out is full (its max), ERR_TEMP when there is no memory. */
int gzip_pack(struct buf *out, struct str in, struct err *e) MUST_CHECK;
/* Open a file for reading, packed or plain. NULL: *e says why. */
FILE *gzip_fopen(const char *path, struct err *e);

#endif
