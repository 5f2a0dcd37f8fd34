/* Any bytes as a configuration file: taken or refused, with problems in bounded, printable lines. */
#include <assert.h>
#include <stdint.h>

#include "base/enc.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *c = NULL;
	struct buf problems;
	struct err e = { 0 };

	buf_init(&problems, 1 << 17);
	if (conf_parse(str_n(data, size), "fuzz.conf", &c, &problems, &e) == 0) {
		assert(c->myhostname && c->smtpd_banner && c->hopcount_limit >= 1);
		conf_free(&c);
	} else {
		assert(e.code == ERR_CONF && c == NULL);
	}
	for (size_t i = 0; i < problems.n; i++)
		assert(problems.p[i] == '\n' || (problems.p[i] >= 0x20 && problems.p[i] < 0x7f));
	buf_fini(&problems);
	return 0;
}
