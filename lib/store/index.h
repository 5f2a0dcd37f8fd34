/* The index file's constants, for the two files that read (index.c, which says its layout) and write it (index_write.c). */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>

enum { INDEX_HEAD = 256, INDEX_CHUNK = 4096, INDEX_VERSION = 2 };
#define index_magic "PSTNIDX1"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const bool index_host_fits = true;
#else
static const bool index_host_fits = false;	/* the journal alone serves */
#endif

#endif
