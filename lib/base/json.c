/* JSON (RFC 8259) as the tools print it. */
#include "base/json.h"

#include "base/enc.h"

/* Bytes that are no UTF-8 become U+FFFD. */
void json_string(FILE *to, struct str s)
{
	fputc('"', to);
	while (s.n) {
		const char *start = s.p;
		const uint32_t cp = utf8_next(&s);

		if (cp == '"' || cp == '\\')
			fprintf(to, "\\%c", (char)cp);
		else if (cp < 0x20)
			fprintf(to, "\\u%04x", cp);
		else if (cp == 0xfffd)
			fputs("\xef\xbf\xbd", to);
		else
			fwrite(start, 1, (size_t)(s.p - start), to);
	}
	fputc('"', to);
}

void json_name(FILE *to, const char *name, bool first)
{
	fprintf(to, "%s\"%s\": ", first ? "" : ", ", name);
}

void json_field(FILE *to, const char *name, struct str value, bool first)
{
	json_name(to, name, first);
	json_string(to, value);
}

void json_number(FILE *to, const char *name, long long value, bool first)
{
	json_name(to, name, first);
	fprintf(to, "%lld", value);
}

void json_bool(FILE *to, const char *name, bool value, bool first)
{
	json_name(to, name, first);
	fputs(value ? "true" : "false", to);
}
