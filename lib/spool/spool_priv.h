/* What the files of this library share. */
#ifndef SPOOL_SPOOL_PRIV_H
#define SPOOL_SPOOL_PRIV_H

#include "spool/spool.h"

#define SPOOL_SPARE "spare"	/* where empty files are kept, to be written again */

struct spool {
	int root, incoming, queue, corrupt;
	int spare;		/* -1: none are kept */
	int memory;		/* -1: no file system in memory is mounted there */
	dev_t memory_dev;	/* that file system */
	bool sync_dirs;		/* the file system does not make names durable with the file */
	size_t n_spare;		/* spare/0 … are there */
};

int spool_disk_error(int sys, const char *what, struct err *e);
void spool_name_of(char out[SPOOL_NAME_MAX], struct str qid, uint64_t size);	/* of its file in queue/ */

#endif
