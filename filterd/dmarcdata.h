/* What workers found of DMARC, kept for the reports to owners of domains: a line for each message in a file for each day (UTC), $state_directory/dmarc/YYYYMMDD, only
 * ever appended to, synced within DMARC_SYNC_MS. `postern dmarc` reads them and removes those of days that were reported.
 */
#ifndef FILTERD_DMARCDATA_H
#define FILTERD_DMARCDATA_H

#include "conf/conf.h"
#include "io/loop.h"

enum {
	DMARC_DAY_BYTES_MAX = 64 << 20,	/* what is more of one day is not kept, and the log says so */
	DMARC_DAYS_MAX = 14,		/* older files are removed, reported or not */
	DMARC_SYNC_MS = 5000,
};
#define DMARC_DATA_DIR "dmarc"

struct dmarc_data;
struct dmarc_data *dmarc_data_new(struct loop *l, const struct conf *conf);
/* line: as lib/authres/aggregate.h writes it, without its end. A worker's: what is no such line is told and dropped. */
void dmarc_data_keep(struct dmarc_data *d, struct str line);

#endif
