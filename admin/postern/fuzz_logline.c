/* Any bytes as a line of the log: what is found lies in the line. */
#include <assert.h>
#include <stdint.h>

#include "admin/postern/logline.h"
#include "log/count.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct str s, struct str line)
{
	assert(s.n == 0 || (s.p >= line.p && s.p + s.n <= line.p + line.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str line = str_n(data, size);
	struct logline l;

	if (logline_parse(line, &l) < 0)
		return 0;
	inside(l.time, line);
	inside(l.program, line);
	inside(l.text, line);
	assert(l.id.n == 0 || event_is_id(l.id));
	for (size_t i = 0; i < l.n_fields; i++) {
		inside(l.fields[i].name, line);
		inside(l.fields[i].value, line);
	}
	const struct str other = logline_other(&l);
	assert(other.n == 0 || event_is_id(other));
	return 0;
}
